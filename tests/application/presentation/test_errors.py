"""Every refusal has Canvas's status and body."""

from datetime import UTC, datetime
from typing import Any

import pytest

from service.application.presentation.errors import answer_of
from service.domain.errors import Code, Refusal, invalid

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}


@pytest.mark.parametrize(
    ("refusal", "status", "body"),
    [
        (invalid("recipients", "blank"), 400, [{"attribute": "recipients", "message": "blank"}]),
        (invalid("Unable to send messages to users in X", ""), 400, None),
        (
            Refusal(Code.REPLY_REFUSED, "Course concluded", attribute="workflow_state"),
            401,
            [{"attribute": "workflow_state", "message": "Course concluded"}],
        ),
        (Refusal(Code.INVALID_BATCH_UPDATE, "no"), 400, {"message": "no"}),
        (
            Refusal(Code.INVALID_RECORD, attribute="subject", kind="too_long"),
            400,
            {"errors": {"subject": [{"attribute": "subject", "type": "too_long", "message": "too_long"}]}},
        ),
        (Refusal(Code.BAD_REQUEST, "no"), 400, {"errors": [{"message": "no"}]}),
        (Refusal(Code.NO_RECIPIENTS), 400, {}),
        (Refusal(Code.NOT_FOUND), 404, {"errors": [{"message": "The specified resource does not exist."}]}),
        (
            Refusal(Code.NOT_AUTHORISED),
            403,
            {
                "status": "unauthorized",
                "errors": [{"message": "user not authorized to perform that action"}],
            },
        ),
        (Refusal(Code.BAD_AS_USER), 401, {"errors": "Invalid as_user_id"}),
        (
            Refusal(Code.INSUFFICIENT_SCOPE),
            401,
            {"errors": [{"message": "Insufficient scopes on access token."}]},
        ),
    ],
)
def test_status_and_body(refusal: Refusal, status: int, body: Any) -> None:
    answer = answer_of(refusal)

    if body is None:
        body = [{"attribute": refusal.attribute, "message": ""}]
    assert (answer.status, answer.body, answer.headers) == (status, body, {})


@pytest.mark.parametrize(
    ("refusal", "body"),
    [
        (
            Refusal(Code.UNAUTHENTICATED),
            {"status": "unauthenticated", "errors": [{"message": "user authorization required"}]},
        ),
        (Refusal(Code.BAD_TOKEN), {"errors": [{"message": "Invalid access token."}]}),
        (
            Refusal(Code.BAD_TOKEN, "Expired access token.", details={"expired_at": datetime(2024, 5, 1, tzinfo=UTC)}),
            {"errors": [{"message": "Expired access token.", "expired_at": datetime(2024, 5, 1, tzinfo=UTC)}]},
        ),
    ],
)
def test_who_is_unknown_is_challenged(refusal: Refusal, body: Any) -> None:
    assert answer_of(refusal) == (401, body, CHALLENGE)


@pytest.mark.parametrize("code", Code)
def test_every_code_has_an_answer(code: Code) -> None:
    assert 400 <= answer_of(Refusal(code)).status < 500
