"""Terms, and the dates of courses that follow from them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sql.arrays import array_text
from sql.connection import Connection
from sql.statements import Command, Many


class TermRow(NamedTuple):
    """A term and its dates."""

    id: int
    start_at: datetime | None
    end_at: datetime | None


class OwnDates(NamedTuple):
    """A course's terms and own dates."""

    course_id: int
    terms: tuple[int, ...]
    start_at: datetime | None
    end_at: datetime | None


class CourseDatesRow(NamedTuple):
    """The dates of a course."""

    course_id: int
    start_at: datetime | None
    end_at: datetime | None


class DatesRow(NamedTuple):
    """The dates for a question, by its position from 1."""

    position: int
    start_at: datetime | None
    end_at: datetime | None


_PUT_TERMS = Command("put_terms")
_PUT_COURSE_DATES = Command("put_course_dates")
_COURSES_OF_TERMS = Many("courses_of_terms", CourseDatesRow)
_DATES_OF_COURSES = Many("dates_of_courses", DatesRow)


async def put_terms(conn: Connection, terms: Sequence[TermRow]) -> int:
    """Terms, each once; returns how many are other than before."""
    ids, starts, ends = zip(*terms, strict=True)
    return await _PUT_TERMS(conn, ids=ids, start_ats=starts, end_ats=ends)


async def put_course_dates(conn: Connection, dates: Sequence[OwnDates]) -> None:
    """What courses say of their dates, each once."""
    ids, terms, starts, ends = zip(*dates, strict=True)
    texts = [array_text(each) for each in terms]
    await _PUT_COURSE_DATES(conn, course_ids=ids, terms=texts, start_ats=starts, end_ats=ends)


async def courses_of_terms(conn: Connection, terms: Collection[int]) -> list[CourseDatesRow]:
    """All courses of these terms, with their dates."""
    return await _COURSES_OF_TERMS(conn, terms=list(terms))


async def dates_of_courses(conn: Connection, dates: Sequence[OwnDates]) -> list[DatesRow]:
    """The dates that follow from what courses say."""
    _, terms, starts, ends = zip(*dates, strict=True)
    return await _DATES_OF_COURSES(conn, terms=[array_text(each) for each in terms], start_ats=starts, end_ats=ends)
