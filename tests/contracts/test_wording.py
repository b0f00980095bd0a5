"""What is wrong with a message, as operators read it: plain words, one line, whatever came."""

import pytest
from pydantic import ValidationError

from service.contracts.commands import parse_command
from service.contracts.wording import named, worded


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "body: is no JSON"),
        (b"[]", "body: is no object"),
        (b"{}", "body: does not say what it is"),
        (b'{"name": "explode"}', "body: explode is none of 'plan', 'deliver', 'reply', 'update'"),
        (b'{"name": "%s"}' % (b"x" * 5000), f"body: {'x' * 100} is none of 'plan', 'deliver', 'reply', 'update'"),
        (b'{"name": "plan"}', "plan.batch_id: is missing"),
        (b'{"name": "plan", "batch_id": "7a"}', "plan.batch_id: is no whole number"),
        (b'{"name": "plan", "batch_id": 1e400}', "plan.batch_id: is no number"),
        (b'{"name": "plan", "batch_id": "%s"}' % (b"9" * 5000), "plan.batch_id: is too large a number"),
        (b'{"name": "plan", "batch_id": 0}', "plan.batch_id: is less than 1"),
        (
            b'{"name": "plan", "version": 2}',
            "plan.version: version 2 is not known to this release, which reads 1; plan.batch_id: is missing",
        ),
    ],
)
def test_a_command_that_cannot_be_understood_is_said_to_be_so_in_plain_words(body: bytes, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_command(body)
    assert worded(caught.value) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LookupError("no\n  such thing"), "LookupError: no such thing"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("  "), "ValueError"),
    ],
)
def test_an_error_without_a_text_is_named_by_its_kind(error: Exception, words: str) -> None:
    assert named(error) == words
