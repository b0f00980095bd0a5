"""Forms in which a user may be named (canvas/conventions.md 7)."""

import pytest

from service.domain.user_forms import UserForm, parse_user_form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("self", UserForm(5)),
        (" 12 ", UserForm(12)),
        ("uuid:a:b", UserForm(uuid="a:b")),
        ("sis_user_id:S 1", UserForm(sis_id="S 1")),
        ("sis_login_id:x", UserForm(login="x")),
        ("hex:sis_login_id:7a", UserForm(login="z")),
        *(
            (text, None)
            for text in ("", "x", "12x", str(2**63), "uuid:", "sis_user_id:\0", "hex:uuid:xx", "lti_user_id:1")
        ),
    ],
)
def test_forms(text: str, form: UserForm | None) -> None:
    assert parse_user_form(text, 5) == form
