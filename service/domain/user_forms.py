"""The forms in which a parameter may name a user (canvas/conventions.md 7)."""

from typing import NamedTuple

from service.domain.ids import parse_id


class UserForm(NamedTuple):
    """By what a user is to be found; one of them is not null."""

    user_id: int | None = None
    uuid: str | None = None
    sis_id: str | None = None
    login: str | None = None


def parse_user_form(text: str, own_id: int | None) -> UserForm | None:
    """What a text says about a user; None when no user can be meant.

    ``own_id`` is ``self``, which means no user where it is None. Integration ids and LTI ids are not in the directory,
    so these forms mean no user either.
    """
    text = text.strip()
    if text == "self":
        return None if own_id is None else UserForm(own_id)
    user_id = parse_id(text)
    return _by_key(text) if user_id is None else UserForm(user_id)


def _by_key(text: str) -> UserForm | None:
    form, _, value = (_decoded(text) or "").partition(":")
    forms = {"uuid": UserForm(uuid=value), "sis_user_id": UserForm(sis_id=value), "sis_login_id": UserForm(login=value)}
    return forms.get(form) if value and "\0" not in value else None


def _decoded(text: str) -> str | None:
    """The legacy form ``hex:sis_user_id:…`` writes its value in hexadecimal digits."""
    if not text.startswith("hex:"):
        return text
    form, _, value = text.removeprefix("hex:").partition(":")
    try:
        return f"{form}:{bytes.fromhex(value).decode()}"
    except ValueError:
        return None
