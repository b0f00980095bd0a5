"""Kinds of send and the limits of text (canvas/endpoints.md 4.2, semantics.md 5)."""

import pytest

from service.domain.errors import Refusal
from service.domain.messages import Kind, check_record, kind_of


@pytest.mark.parametrize(
    ("group", "bulk", "force_new", "recipients", "kind"),
    [
        (False, False, False, 1, Kind.PRIVATE),
        (False, True, False, 1, Kind.PRIVATE),
        (False, False, False, 2, Kind.BULK_PRIVATE),
        (False, True, False, 2, Kind.BULK_PRIVATE),
        (True, False, False, 1, Kind.GROUP),
        (True, False, False, 9, Kind.GROUP),
        (True, True, False, 1, Kind.BULK_SEPARATE),
        (True, False, True, 9, Kind.BULK_SEPARATE),
        (False, False, True, 1, Kind.BULK_SEPARATE),
    ],
)
def test_what_a_create_makes(group: bool, bulk: bool, force_new: bool, recipients: int, kind: Kind) -> None:
    assert kind_of(group=group, bulk=bulk, force_new=force_new, recipients=recipients) is kind


@pytest.mark.parametrize(("subject", "body", "attribute"), [("s" * 256, "b", "subject"), (None, "b" * 65_536, "body")])
def test_text_that_cannot_be_stored_is_refused(subject: str | None, body: str, attribute: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_record(subject, body)
    assert (refused.value.attribute, refused.value.kind) == (attribute, "too_long")


def test_the_longest_text_counts_characters() -> None:
    check_record("é" * 255, "🎺" * 65_535)
