"""Rights of enrolments, administrators and overrides (canvas/endpoints.md 5.3, CONTRACT 5, 6.7, 6.14)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.contexts import Context, ContextType
from service.domain.recipients import DESIGNER, OBSERVER, STUDENT, TA, TEACHER
from service.domain.rights import AdminRecord, Course, Enrollment, Group, Override, Right, Roles

ROOT, FACULTY, INSTITUTE, ELSEWHERE = 1, 2, 3, 9
COURSE = Course(50, "Course", "available", (INSTITUTE, FACULTY, ROOT))
TYPES = (TEACHER, TA, DESIGNER, STUDENT, OBSERVER)


def enrolled(type_: str, standing: str = "active", **more: Any) -> Roles:
    return Roles(7, [Enrollment(COURSE.id, 60, type_, standing)], **more)


def account(id_: int, role: str, right: Right) -> Override:
    return Override(Context(ContextType.ACCOUNT, id_), role, right)


def on_course(role: str, right: Right) -> Override:
    return Override(Context(ContextType.COURSE, COURSE.id), role, right)


@pytest.mark.parametrize(
    ("right", "holders"),
    [
        (Right.SEND_MESSAGES, {TEACHER, TA, DESIGNER, STUDENT}),
        (Right.SEND_MESSAGES_ALL, {TEACHER, TA, DESIGNER}),
        (Right.READ_ROSTER, {TEACHER, TA, DESIGNER, STUDENT}),
        (Right.READ_AS_ADMIN, {TEACHER, TA, DESIGNER}),
        (Right.MANAGE_TAGS, {TEACHER, TA, DESIGNER}),
        (Right.MANAGE_STUDENTS, {TEACHER, TA}),
        (Right.BECOME_USER, set()),
    ],
)
def test_defaults_of_enrolments(right: Right, holders: set[str]) -> None:
    assert {type_ for type_ in TYPES if enrolled(type_).may(right, COURSE)} == holders


@pytest.mark.parametrize(("standing", "held"), [("active", True), ("invited", True), ("completed", False)])
def test_only_current_enrolments_write(standing: str, held: bool) -> None:
    assert enrolled(TEACHER, standing).may(Right.SEND_MESSAGES, COURSE) is held


def test_concluded_staff_still_read() -> None:
    assert enrolled(TEACHER, "completed").may(Right.READ_AS_ADMIN, COURSE)
    assert not enrolled(STUDENT, "completed").may(Right.READ_AS_ADMIN, COURSE)


def test_in_a_completed_course_staff_still_write_and_students_do_not() -> None:
    completed = Course(COURSE.id, "Course", "completed", COURSE.accounts)

    assert enrolled(TEACHER, "completed").may(Right.SEND_MESSAGES, completed)
    assert enrolled(TEACHER, "completed").may(Right.SEND_MESSAGES_ALL, completed)
    assert not enrolled(TEACHER, "completed").may(Right.MANAGE_TAGS, completed)
    assert not enrolled(STUDENT, "completed").may(Right.SEND_MESSAGES, completed)


def test_one_of_several_enrolments_is_enough() -> None:
    both = Roles(7, [Enrollment(50, 1, OBSERVER, "active"), Enrollment(50, 2, TA, "active")])

    assert both.may(Right.SEND_MESSAGES_ALL, COURSE)
    assert both.best_role(50) == TA
    assert both.best_role(51) is None


def test_of_two_enrolments_the_higher_is_the_best_role() -> None:
    """A student who observes another one is above all a student (canvas/endpoints.md 4.9 check 5, 5.1)."""
    ranking = (TEACHER, TA, DESIGNER, STUDENT, OBSERVER)

    for place, higher in enumerate(ranking):
        for lower in ranking[place:]:
            held = [Enrollment(50, 1, lower, "active"), Enrollment(50, 2, higher, "completed")]
            assert Roles(7, held).best_role(50) == higher


@pytest.mark.parametrize(
    ("by_hand", "standing", "over"),
    [((True, True), "completed", False), ((True, False), "completed", True), ((True, False), "active", False)],
)
def test_a_course_is_over_for_who_left_it_when_its_dates_say_so_too(
    by_hand: tuple[bool, bool], standing: str, *, over: bool
) -> None:
    """Whose every enrolment was completed for itself has left a course that goes on (CONTRACT 6.15)."""
    completed, other = (
        Enrollment(50, n, TA, state, by_hand=hand)
        for n, state, hand in ((1, "completed", by_hand[0]), (2, standing, by_hand[1]))
    )
    assert Roles(7, [completed, other]).concluded(COURSE) == over


def test_an_account_admin_of_the_site_is_one_of_every_account_and_any_other_of_those_below() -> None:
    of_site, of_faculty = (
        Roles(7, admin_records=[AdminRecord(account_id, "AccountAdmin", site_admin)])
        for account_id, site_admin in ((ELSEWHERE, True), (FACULTY, False))
    )
    reader = Roles(7, admin_records=[AdminRecord(ROOT, "Reader")])

    assert of_site.administers_fully([INSTITUTE, FACULTY, ROOT])
    assert of_faculty.administers_fully([INSTITUTE, FACULTY, ROOT])
    assert not of_faculty.administers_fully([ROOT])
    assert not reader.administers_fully([ROOT])


def test_a_deleted_course_grants_nothing() -> None:
    deleted = Course(COURSE.id, "Course", "deleted", COURSE.accounts)

    assert not enrolled(TEACHER).may(Right.SEND_MESSAGES, deleted)


def test_another_course_grants_nothing() -> None:
    assert not enrolled(TEACHER).may(Right.SEND_MESSAGES, Course(51, "Other", "available", COURSE.accounts))


def test_an_override_takes_and_gives() -> None:
    taken = {account(ROOT, STUDENT, Right.SEND_MESSAGES): False}
    given_ = {account(ROOT, OBSERVER, Right.SEND_MESSAGES): True}

    assert not enrolled(STUDENT, overrides=taken).may(Right.SEND_MESSAGES, COURSE)
    assert enrolled(OBSERVER, overrides=given_).may(Right.SEND_MESSAGES, COURSE)
    assert not enrolled(OBSERVER, overrides=taken).may(Right.SEND_MESSAGES, COURSE)


@given(st.lists(st.booleans() | st.none(), min_size=4, max_size=4))
def test_the_nearest_override_wins(settings: list[bool | None]) -> None:
    places = [
        on_course(STUDENT, Right.SEND_MESSAGES_ALL),
        *(account(id_, STUDENT, Right.SEND_MESSAGES_ALL) for id_ in COURSE.accounts),
    ]
    overrides = {place: enabled for place, enabled in zip(places, settings, strict=True) if enabled is not None}
    nearest = next((enabled for enabled in settings if enabled is not None), False)

    assert enrolled(STUDENT, overrides=overrides).may(Right.SEND_MESSAGES_ALL, COURSE) is nearest


def test_an_override_elsewhere_or_for_another_role_or_right_changes_nothing() -> None:
    overrides = {
        account(ELSEWHERE, STUDENT, Right.SEND_MESSAGES): False,
        account(ROOT, TEACHER, Right.SEND_MESSAGES): False,
        account(ROOT, STUDENT, Right.SEND_MESSAGES_ALL): False,
    }

    assert enrolled(STUDENT, overrides=overrides).may(Right.SEND_MESSAGES, COURSE)


@pytest.mark.parametrize("right", list(Right))
@pytest.mark.parametrize("where", [ROOT, FACULTY, INSTITUTE])
def test_an_account_admin_holds_every_right_on_and_below(right: Right, where: int) -> None:
    overrides = {account(where, "AccountAdmin", right): False}
    admin = Roles(7, admin_records=[AdminRecord(where, "AccountAdmin")], overrides=overrides)

    assert admin.may(right, COURSE)
    assert admin.may_in_account(right, (where, ROOT))
    assert not admin.may_in_account(right, (ELSEWHERE,))


def test_an_account_admin_beside_the_course_holds_nothing_there() -> None:
    admin = Roles(7, admin_records=[AdminRecord(ELSEWHERE, "AccountAdmin")])

    assert not admin.may(Right.SEND_MESSAGES, COURSE)


def test_a_custom_role_holds_only_what_overrides_grant() -> None:
    overrides = {account(FACULTY, "Registrar", Right.READ_ROSTER): True}
    registrar = Roles(7, admin_records=[AdminRecord(FACULTY, "Registrar")], overrides=overrides)

    assert registrar.may(Right.READ_ROSTER, COURSE)
    assert not registrar.may(Right.SEND_MESSAGES, COURSE)
    assert not registrar.may_in_account(Right.READ_ROSTER, (ROOT,))


def test_a_custom_role_loses_below_what_an_override_takes_there() -> None:
    overrides = {
        account(ROOT, "Registrar", Right.READ_ROSTER): True,
        on_course("Registrar", Right.READ_ROSTER): False,
    }
    registrar = Roles(7, admin_records=[AdminRecord(ROOT, "Registrar")], overrides=overrides)

    assert not registrar.may(Right.READ_ROSTER, COURSE)
    assert registrar.may_in_account(Right.READ_ROSTER, (INSTITUTE, FACULTY, ROOT))


def test_a_site_admin_is_an_admin_everywhere() -> None:
    admin = Roles(7, admin_records=[AdminRecord(ELSEWHERE, "AccountAdmin", site_admin=True)])

    assert admin.may(Right.SEND_MESSAGES, COURSE)
    assert admin.may_in_account(Right.BECOME_USER, (ROOT,))
    assert admin.site_wide(Right.SEND_MESSAGES)


def test_a_custom_role_of_the_site_holds_everywhere_what_it_is_granted_there() -> None:
    overrides = {account(ELSEWHERE, "Support", Right.SEND_MESSAGES): True}
    support = Roles(7, admin_records=[AdminRecord(ELSEWHERE, "Support", site_admin=True)], overrides=overrides)

    assert support.may(Right.SEND_MESSAGES, COURSE)
    assert support.site_wide(Right.SEND_MESSAGES)
    assert not support.site_wide(Right.READ_ROSTER)


def test_an_account_admin_of_the_root_is_no_site_admin() -> None:
    assert not Roles(7, admin_records=[AdminRecord(ROOT, "AccountAdmin")]).site_wide(Right.SEND_MESSAGES)


def test_members_of_an_accounts_group_write_in_it() -> None:
    group = Group(80, None, (ROOT,))

    assert Roles(7, group_ids=frozenset({80})).may_in_group(Right.SEND_MESSAGES_ALL, group, None)
    assert not Roles(7, group_ids=frozenset({80})).may_in_group(Right.BECOME_USER, group, None)
    assert not Roles(7, group_ids=frozenset({81})).may_in_group(Right.SEND_MESSAGES, group, None)


def test_a_courses_group_follows_its_course() -> None:
    group = Group(80, COURSE.id)

    assert enrolled(STUDENT).may_in_group(Right.SEND_MESSAGES, group, COURSE)
    assert not enrolled(OBSERVER, group_ids=frozenset({80})).may_in_group(Right.SEND_MESSAGES, group, COURSE)
    assert not enrolled(STUDENT).may_in_group(Right.SEND_MESSAGES, group, None)
