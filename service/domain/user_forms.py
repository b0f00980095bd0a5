"""The forms in which a parameter may name a user (canvas/conventions.md 7)."""

import re
from typing import NamedTuple

from service.domain.contexts import MAX_ID

_ID = re.compile(r"\d{1,19}", re.ASCII)


class UserForm(NamedTuple):
    """By what a user is to be found; one of them is not null."""

    user_id: int | None = None
    uuid: str | None = None
    sis_id: str | None = None
    login: str | None = None


def parse_user_form(text: str, own_id: int) -> UserForm | None:
    """What a text says about a user; None when it can be nobody. ``own_id`` is ``self``.

    The directory tells neither integration ids nor LTI ids, so these forms are nobody's.
    """
    text = text.strip()
    if text == "self":
        return UserForm(own_id)
    if _ID.fullmatch(text):
        return UserForm(int(text)) if int(text) <= MAX_ID else None
    return _by_key(text)


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
