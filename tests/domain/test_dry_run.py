"""Which named recipients bring nobody, and why."""

import pytest

from service.domain.contexts import Context, ContextType
from service.domain.dry_run import Findings, Reason, Rejected, rejections
from service.domain.recipients import parse

COURSE, GONE, OTHER = (Context(ContextType.COURSE, id_) for id_ in (1, 2, 3))
FINDINGS = Findings(
    sender_id=7,
    recipients=frozenset({10, 11}),
    users={12: False, 13: True, 14: False},
    uuids={"here": 10, "there": 14, "mine": 7},
    contexts={COURSE: False, GONE: True},
    reached=parse(["course_1_students"]).audiences,
)


def reasons(*recipients: str) -> list[tuple[str, str]]:
    """(recipient, reason) of those that are rejected."""
    return [(each.recipient, each.reason) for each in rejections(zip(recipients, recipients, strict=True), FINDINGS)]


@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        ("12", Reason.NOT_REACHABLE),
        ("13", Reason.DELETED),
        ("99", Reason.UNKNOWN),
        ("7", Reason.YOURSELF),
        ("uuid:there", Reason.NOT_REACHABLE),
        ("uuid:nowhere", Reason.UNKNOWN),
        ("uuid:mine", Reason.YOURSELF),
        ("course_1_tas", Reason.NOT_REACHABLE),
        ("course_2", Reason.DELETED),
        ("course_3", Reason.UNKNOWN),
        ("group_1", Reason.UNKNOWN),
        ("course_1_bananas", Reason.MALFORMED),
        ("banana", Reason.MALFORMED),
        ("", Reason.MALFORMED),
        ("99999999999999999999", Reason.MALFORMED),
        ("20000000000012", Reason.UNKNOWN),  # of another installation
        ("2~12", Reason.UNKNOWN),
        ("course_2~1_students", Reason.UNKNOWN),
        ("section_20000000000001", Reason.UNKNOWN),
        ("differentiation_tag_2~1", Reason.UNKNOWN),
        (" 2~12", Reason.MALFORMED),
        ("user_2~12", Reason.MALFORMED),
        ("2~", Reason.MALFORMED),
    ],
)
def test_each_has_one_reason(recipient: str, reason: Reason) -> None:
    assert reasons(recipient) == [(recipient, reason)]


def test_who_would_get_it_is_not_rejected_however_often_named() -> None:
    assert reasons("10", "10", "11", "uuid:here", "course_1_students") == []


def test_lists_with_commas_are_taken_apart_and_each_is_named_once() -> None:
    assert reasons("10,99,12", "99") == [("99", Reason.UNKNOWN), ("12", Reason.NOT_REACHABLE)]


def test_a_global_id_is_shown_as_it_was_sent() -> None:
    found = rejections([("10000000000099,1~12", "99,12")], FINDINGS)
    assert found == [Rejected("10000000000099", Reason.UNKNOWN), Rejected("1~12", Reason.NOT_REACHABLE)]
