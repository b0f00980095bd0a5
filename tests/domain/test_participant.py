"""The state machine of a participant row, as far as its user drives it (canvas/semantics.md 7.1, 8)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import participant
from service.domain.errors import Code, Refusal
from service.domain.participant import NO_TAGS, Event, Participant, Remains, State

READ, UNREAD, ARCHIVED = State
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TIMES = st.integers(0, 10).map(lambda minutes: NOON + timedelta(minutes=minutes))
PARTICIPANTS = st.builds(
    Participant,
    conversation_id=st.just(1),
    private=st.booleans(),
    state=st.sampled_from(State),
    subscribed=st.booleans(),
    starred=st.booleans(),
    message_count=st.integers(0, 3),
    last_message_at=st.none() | TIMES,
    visible_last_authored_at=st.none() | TIMES,
    has_attachments=st.booleans(),
    has_media_objects=st.booleans(),
    tag_set=st.integers(0, 3),
)


@st.composite
def remains(draw: st.DrawFn, own: Participant) -> Remains:
    """Some messages that are left, as the database would sum them up."""
    times = sorted(draw(st.lists(TIMES, min_size=1, max_size=4)))
    before = [time for time in times if own.last_message_at is not None and time <= own.last_message_at]
    authored = draw(st.lists(st.sampled_from(times)))
    return Remains(
        message_count=len(times),
        newest=times[-1],
        oldest=times[0],
        nearest=before[-1] if before else None,
        authored=max(authored) if authored else None,
        has_attachments=draw(st.booleans()),
        has_media_objects=draw(st.booleans()),
        tag_sets=[0] * len(times),
    )


PARTICIPANTS_WITH_REMAINS = PARTICIPANTS.flatmap(lambda own: st.tuples(st.just(own), remains(own)))


def a_participant(
    state: State = UNREAD, *, private: bool = False, subscribed: bool = True, received: bool = True
) -> Participant:
    return Participant(
        conversation_id=1,
        private=private,
        state=state,
        subscribed=subscribed,
        starred=True,
        message_count=2,
        last_message_at=NOON if received else None,
        visible_last_authored_at=NOON,
        has_attachments=True,
        has_media_objects=True,
        tag_set=7,
    )


@pytest.mark.parametrize(
    ("event", "after"),
    [
        (Event.MARK_AS_READ, {READ: READ, UNREAD: READ, ARCHIVED: READ}),
        (Event.MARK_AS_UNREAD, {READ: UNREAD, UNREAD: UNREAD, ARCHIVED: UNREAD}),
        (Event.ARCHIVE, {READ: ARCHIVED, UNREAD: ARCHIVED, ARCHIVED: ARCHIVED}),
        (Event.STAR, {READ: READ, UNREAD: UNREAD, ARCHIVED: ARCHIVED}),
        (Event.UNSTAR, {READ: READ, UNREAD: UNREAD, ARCHIVED: ARCHIVED}),
        (Event.DESTROY, {READ: READ, UNREAD: READ, ARCHIVED: ARCHIVED}),
    ],
)
def test_states_after_events(event: Event, after: dict[State, State]) -> None:
    assert {state: participant.moved(a_participant(state), event).state for state in State} == after


@pytest.mark.parametrize(
    ("move", "after"),
    [
        (participant.muted, {READ: READ, UNREAD: READ, ARCHIVED: ARCHIVED}),
        (lambda v: participant.unmuted(replace(v, subscribed=False), NOON), {s: s for s in State}),
        (
            lambda v: participant.unmuted(replace(v, subscribed=False), NOON + timedelta(1)),
            dict.fromkeys(State, UNREAD),
        ),
        (lambda v: participant.recounted(v, None, 0), {READ: READ, UNREAD: READ, ARCHIVED: ARCHIVED}),
    ],
    ids=["unsubscribe", "subscribe, nothing new", "subscribe, something new", "delete the last message"],
)
def test_states_after_other_changes(move: object, after: dict[State, State]) -> None:
    assert callable(move)
    assert {state: move(a_participant(state)).state for state in State} == after


@given(PARTICIPANTS, st.sampled_from(Event))
def test_every_event_done_twice_is_done_once(own: Participant, event: Event) -> None:
    """So a command may come again."""
    once = participant.moved(own, event)
    assert participant.moved(once, event) == once


@given(PARTICIPANTS, st.sampled_from([e for e in Event if e is not Event.DESTROY]))
def test_events_change_their_own_field_only(own: Participant, event: Event) -> None:
    after = participant.moved(own, event)
    field = "starred" if event in (Event.STAR, Event.UNSTAR) else "state"
    assert replace(after, **{field: getattr(own, field)}) == own


@given(PARTICIPANTS)
def test_an_emptied_one_keeps_subscription_and_place(own: Participant) -> None:
    after = participant.emptied(own)
    assert (after.message_count, after.last_message_at, after.visible_last_authored_at) == (0, None, None)
    assert (after.starred, after.has_attachments, after.has_media_objects) == (False, False, False)
    assert after.tag_set == NO_TAGS
    assert after.state is not UNREAD
    assert (after.subscribed, after.private) == (own.subscribed, own.private)


@given(PARTICIPANTS, TIMES)
def test_a_private_conversation_cannot_be_muted(own: Participant, newest: datetime) -> None:
    private = replace(own, private=True)
    assert participant.muted(private) == private
    assert participant.unmuted(private, newest) == private


@given(PARTICIPANTS, st.none() | TIMES)
def test_subscribing_never_shows_what_was_never_received(own: Participant, newest: datetime | None) -> None:
    after = participant.unmuted(replace(own, private=False, subscribed=False, last_message_at=None), newest)
    assert after.subscribed
    assert after.last_message_at is None
    assert after.state is own.state


@given(PARTICIPANTS)
def test_muting_twice_is_muting_once(own: Participant) -> None:
    """One who is muted and marks as unread stays unread when the same is asked again."""
    muted = replace(participant.muted(replace(own, private=False)), state=UNREAD)
    assert participant.muted(muted) == muted


@given(PARTICIPANTS_WITH_REMAINS)
def test_recounting_follows_what_is_left(drawn: tuple[Participant, Remains]) -> None:
    own, left = drawn
    after = participant.recounted(own, left, 9)
    assert (after.message_count, after.tag_set) == (left.message_count, 9)
    assert after.visible_last_authored_at == left.authored
    assert (after.has_attachments, after.has_media_objects) == (left.has_attachments, left.has_media_objects)
    assert (after.state, after.starred, after.subscribed) == (own.state, own.starred, own.subscribed)
    if own.last_message_at is None:
        assert after.last_message_at is None
    elif own.subscribed:
        assert after.last_message_at == left.newest
    else:
        assert after.last_message_at == (left.nearest if left.nearest is not None else left.oldest)


@given(PARTICIPANTS_WITH_REMAINS)
def test_a_restored_thread_is_in_the_inbox_again(drawn: tuple[Participant, Remains]) -> None:
    own, left = drawn
    after = participant.restored(participant.emptied(own), left, 9)
    assert after.last_message_at == left.newest
    assert participant.restored(after, left, 9) == after or not own.subscribed


@given(PARTICIPANTS_WITH_REMAINS)
def test_a_message_given_back_to_a_thread_that_is_there_moves_it_no_further_than_any_other(
    drawn: tuple[Participant, Remains],
) -> None:
    """A muted one above all: what has come since does not show."""
    own, left = drawn
    listed = replace(own, last_message_at=own.last_message_at or NOON)
    assert participant.restored(listed, left, 9) == participant.recounted(listed, left, 9)


class TestTagsLeft:
    def test_are_those_of_the_messages_left(self) -> None:
        left = participant.remaining_tags(
            ["course_1", "course_2"], [["course_2"], ["course_2"]], {"course_1", "course_2"}
        )
        assert left == ("course_2",)

    def test_do_not_grow_by_what_was_only_the_others(self) -> None:
        assert participant.remaining_tags(["course_1"], [["course_1", "course_2"]], {"course_1", "course_2"}) == (
            "course_1",
        )

    def test_may_come_back_when_they_are_all_that_is_left(self) -> None:
        """A newer message under a current course had pushed out a concluded one."""
        assert participant.remaining_tags(["course_2"], [["course_1", "course_9"]], {"course_1", "course_2"}) == (
            "course_1",
        )


def test_states_by_name() -> None:
    assert [participant.parse_state(text) for text in ("read", "unread", "archived", None)] == [*State, None]


@pytest.mark.parametrize(
    ("text", "kind"), [("deleted", "inclusion"), ("Read", "inclusion"), ("", "blank"), (" ", "blank")]
)
def test_other_names_are_refused(text: str, kind: str) -> None:
    with pytest.raises(Refusal) as refused:
        participant.parse_state(text)
    assert (refused.value.code, refused.value.attribute, refused.value.kind) == (
        Code.INVALID_RECORD,
        "workflow_state",
        kind,
    )


def test_the_archive_hides_whether_a_conversation_was_read() -> None:
    assert participant.state_of(archived=True, unread=True) == "archived"
    assert participant.state_of(archived=True, unread=False) == "archived"
    assert participant.state_of(archived=False, unread=True) == "unread"
    assert participant.state_of(archived=False, unread=False) == "read"


@given(st.booleans(), st.booleans(), st.booleans())
def test_properties_are_what_holds_in_a_fixed_order(author: bool, files: bool, media: bool) -> None:
    shown = participant.properties(last_author=author, attachments=files, media_objects=media)

    order = ["last_author", "attachments", "media_objects"]
    assert shown == [name for name, holds in zip(order, (author, files, media), strict=True) if holds]
