"""canvas/semantics.md 4.2: what a message is filed under."""

from hypothesis import given
from hypothesis import strategies as st

from service.domain.tags import Codes, infer, majority, participant_tags, union

CODES = st.sampled_from([f"{kind}_{n}" for kind in ("course", "group") for n in range(1, 5)])


@st.composite
def holdings(draw: st.DrawFn) -> Codes:
    """A user's codes; the active ones are among all."""
    held = draw(st.frozensets(CODES))
    active = draw(st.frozensets(st.sampled_from(sorted(held)))) if held else frozenset()
    return Codes(held, active, bool(active))


PEOPLE = st.dictionaries(st.integers(1, 6), holdings(), min_size=1, max_size=6)


def held(*codes: str, concluded: tuple[str, ...] = ()) -> Codes:
    """Current codes and concluded ones."""
    return Codes(frozenset(codes) | frozenset(concluded), frozenset(codes), bool(codes))


def test_request_tags_count_only_when_two_share_them() -> None:
    codes = {1: held("course_1", "course_2"), 2: held("course_1")}
    tagging = infer(["course_2", "course_1"], (), codes, codes)
    assert tagging.effective == ("course_1",)
    assert tagging.own == {1: ("course_1",), 2: ("course_1",)}


def test_without_request_tags_the_shared_ones_count() -> None:
    codes = {1: held("course_1", "course_2", "group_1"), 2: held("course_2", "group_1", "course_3")}
    assert infer([], (), codes, codes).effective == ("group_1", "course_2")


def test_a_tagged_conversation_takes_no_inferred_tags() -> None:
    codes = {1: held("course_1"), 2: held("course_1")}
    tagging = infer([], ("course_9",), codes, codes)
    assert tagging.effective == ()
    assert tagging.own == {1: ("course_1",), 2: ("course_1",)}


def test_the_widest_shared_come_first_and_half_is_not_enough() -> None:
    codes = {
        1: held("course_1", "course_2"),
        2: held("course_1", "course_2"),
        3: held("course_1", "course_3"),
        4: held("course_1", "course_2", "course_3"),
    }
    assert majority(codes) == ("course_1", "course_2")


def test_a_concluded_course_gives_way_to_any_current_one() -> None:
    codes = {1: held("course_2", concluded=("course_1",)), 2: held("course_1", "course_2")}
    assert infer(["course_1"], (), codes, codes).own == {1: ("course_2",), 2: ("course_1",)}


def test_a_concluded_course_counts_for_who_has_nothing_else() -> None:
    codes = {1: held(concluded=("course_1",)), 2: held("course_1")}
    assert infer(["course_1"], (), codes, codes).own == {1: ("course_1",), 2: ("course_1",)}


def test_old_tags_of_concluded_courses_go_once_there_is_a_current_one() -> None:
    assert participant_tags(["course_1"], ["course_2"], held("course_2", concluded=("course_1",))) == ("course_2",)
    assert participant_tags(["course_1"], [], held(concluded=("course_1",))) == ("course_1",)


@given(PEOPLE)
def test_a_monologue_is_filed_under_nothing_shared(people: dict[int, Codes]) -> None:
    user, codes = next(iter(people.items()))
    tagging = infer([*codes.all], (), {user: codes}, [user])
    assert tagging.effective == ()
    assert tagging.own == {user: ()}


@given(PEOPLE, st.lists(CODES))
def test_tags_come_from_what_people_hold(people: dict[int, Codes], asked: list[str]) -> None:
    tagging = infer(asked, (), people, people)
    counts = {code: sum(code in codes.all for codes in people.values()) for code in tagging.effective}
    assert all(n > 1 for n in counts.values())
    assert len(set(tagging.effective)) == len(tagging.effective)
    for user, own in tagging.own.items():
        assert set(own) <= people[user].counting


@given(st.lists(CODES), st.lists(CODES))
def test_union_keeps_order_and_is_idempotent(old: list[str], new: list[str]) -> None:
    merged = union(old, new)
    assert set(merged) == {*old, *new}
    assert union(merged, new) == merged
    assert [code for code in merged if code in old] == list(dict.fromkeys(old))
