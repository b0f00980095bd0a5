"""What a request has to have besides its message."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.contracts.requests import Request

WHOLE: dict[str, Any] = {"as_user_id": "7", "idempotency_key": "order-1"}


def test_unknown_keys_are_none_of_its_business() -> None:
    assert Request.model_validate({**WHOLE, "body": "Hello"}) == Request(as_user_id="7", idempotency_key="order-1")


def test_numbers_are_good_names_of_users_and_requests() -> None:
    asked = Request.model_validate({"as_user_id": 7, "idempotency_key": 12, "version": 1})
    assert (asked.as_user_id, asked.idempotency_key) == ("7", "12")


UNUSABLE: dict[str, list[Any]] = {
    "as_user_id": [None, "", "  ", [], {}, True],
    "idempotency_key": [None, "", [], {"a": 1}, True, "k" * 256],
    "version": [0, 2, "1", None],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in UNUSABLE.items() for value in values])
def test_what_is_missing_or_unusable_is_named(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({**WHOLE, key: value})
    assert [fault["loc"] for fault in caught.value.errors()] == [(key,)]
