"""The demo institution, generated as directory events (CONTRACT 5), one JSON object a line on stdout.

    python deploy/demo_institution.py [--students N]    the events, for ``clarion directory load -``
    python deploy/demo_institution.py --facts           what a demonstration needs to know of it, as JSON

The same N always gives the same institution, so loading it again changes nothing.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from itertools import chain, count
from typing import Any, NamedTuple

Event = dict[str, Any]

SEED = 20260105
TOLD_AT = "2026-01-05T08:00:00Z"

ROOT, HUMANITIES, SCIENCES, ENGINEERING, BIOLOGY, SITE_ADMIN = 1, 2, 3, 4, 5, 9
SITE_ADMINISTRATOR, ADMINISTRATOR, ADVISOR, TEACHER = 1, 2, 3, 11
# The lecture everybody attends; the demo teacher's.
LECTURE = 1001
FIRST_STUDENT = 100_001
FIRST_OBSERVER = 50_001

# Drawn independently of each other.
FIRST_NAMES = """
Ada Adam Aisha Alba Alice Amir Ana Anders Anita Anton Astrid Aurel Beatriz Ben Bianca Boris Bruno Carla Cecil
Chen Chloe Clara Claudio Dalia Daniel Daria David Diego Dora Edda Edgar Elena Elias Elif Emil Emma Enzo Erik
Esther Eva Fatima Felix Fiona Flora Florian Franka Gabriel Gemma Georg Gina Greta Hana Hanna Hugo Ida Ines Ingrid
Laura Lea Leo Lina Linus Lucia Luis Lukas Maja Malik Manuel Mara Marco Maria Marta Mateo Maya Mei Milan Mina
Rania Ravi Rita Robin Rosa Ruben Ruth Samir Sara Sven Silvia Simon Sofia Sonja Stella Tara Theo Tobias Tomas
Uma Valentin Vera Victor Wanda Xenia Yara Yusuf Zoe
"""
LAST_NAMES = """
Abbas Abel Acker Adler Aguilar Albers Almeida Alonso Amari Andersen Arnold Baker Banerjee Barros Bauer Becker
Bello Berg Bianchi Blanc Bloom Boateng Brandt Braun Brooks Bruun Campos Carter Castro Chandra Cohen Conti Cooper
Flores Fontaine Fournier Franke Fuchs Garcia Gomez Graf Gray Greco Gruber Gupta Haas Haddad Hansen Hartmann Hayashi
Herrera Hoffmann Holm Horvat Huang Ibrahim Iversen Jansen Jensen Kaiser Kaplan Kato Keller Khan Kim Klein Koch
Medina Mehta Mendes Meyer Mori Moreau Moser Nakamura Navarro Neumann Nguyen Nielsen Novak Okafor Olsen Ortega
Tanaka Torres Tran Vargas Vidal Vogel Wagner Walker Weber Weiss Werner Winter Wolf Yamada Yilmaz Young Zhang
"""
PRONOUNS = ("she/her", "he/him", "they/them", None, None, None, None)


class Course(NamedTuple):
    """A course of ordinary size; section names are those beside the default section."""

    id: int
    account: int
    name: str
    state: str
    section_names: tuple[str, ...]
    students: int


COURSES = (
    Course(1002, BIOLOGY, "Cell Biology Laboratory", "available", ("Tuesday Lab", "Thursday Lab"), 60),
    Course(1003, SCIENCES, "Statistics for Scientists", "available", ("Group A", "Group B", "Group C"), 180),
    Course(1004, HUMANITIES, "Academic Writing", "available", ("Morning", "Evening"), 45),
    Course(1005, HUMANITIES, "History of Science", "available", ("Seminar",), 30),
    Course(1006, ENGINEERING, "Programming 1", "available", ("Lab 1", "Lab 2", "Lab 3", "Lab 4"), 240),
    Course(1007, ENGINEERING, "Robotics Project", "claimed", (), 12),
    Course(1008, BIOLOGY, "Field Ecology 2025", "completed", ("Coast", "Forest"), 40),
)
LAB, CONCLUDED = 1002, 1008
LECTURE_SECTIONS = ("Section A", "Section B", "Section C", "Section D")
OBSERVED_STUDENTS = 40


def event(name: str, /, **body: Any) -> Event:
    """One event in the subscriber form."""
    metadata = {"event_name": name, "event_time": TOLD_AT, "producer": "canvas", "root_account_id": str(ROOT)}
    return {"metadata": metadata, "body": body}


class Institution:
    """Generates the events; ids of rows that no other row refers to are counted up."""

    def __init__(self, students: int) -> None:
        self.students = range(FIRST_STUDENT, FIRST_STUDENT + students)
        self._random = random.Random(SEED)
        self._first_names = FIRST_NAMES.split()
        self._last_names = LAST_NAMES.split()
        self._sections = count(2001)
        self._enrollments = count(1)
        self._staff = count(TEACHER)
        self._memberships = count(1)

    def events(self) -> Iterator[Event]:
        """Everything, in an order in which nothing comes before what it refers to."""
        yield from self.accounts()
        yield from self.people()
        yield from self.rights()
        yield from self.lecture()
        for course in COURSES:
            yield from self.course(course)
        yield from self.groups()
        yield from self.attachments()

    def accounts(self) -> Iterator[Event]:
        """One root account with faculties and a department, and beside it the account of site admins."""
        rows = (
            (ROOT, None, "Northfield University"),
            (HUMANITIES, ROOT, "Faculty of Humanities"),
            (SCIENCES, ROOT, "Faculty of Natural Sciences"),
            (ENGINEERING, ROOT, "Faculty of Engineering"),
            (BIOLOGY, SCIENCES, "Department of Biology"),
            (SITE_ADMIN, None, "Site Admin"),
        )
        for account, parent, name in rows:
            yield event(
                "account_created",
                account_id=str(account),
                name=name,
                parent_account_id=parent and str(parent),
                root_account_id=str(ROOT) if parent else None,
                workflow_state="active",
                site_admin=account == SITE_ADMIN,
            )

    def person(self, user: int) -> Iterator[Event]:
        """A user and the membership in the root account that everybody has."""
        first, last = self._random.choice(self._first_names), self._random.choice(self._last_names)
        yield event(
            "user_created",
            user_id=str(user),
            uuid=f"{self._random.getrandbits(128):032x}",
            name=f"{first} {last}",
            short_name=self._random.choice((first, f"{first} {last[0]}.", f"{first} {last}")),
            sortable_name=f"{last}, {first}",
            pronouns=self._random.choice(PRONOUNS),
            workflow_state="registered",
            created_at=TOLD_AT,
            updated_at=TOLD_AT,
            user_login=f"{first}.{last}.{user}".lower(),
            user_sis_id=f"N{user:07d}",
        )
        yield event(
            "user_account_association_created",
            user_id=str(user),
            account_id=str(ROOT),
            created_at=TOLD_AT,
            updated_at=TOLD_AT,
            is_admin=user in (SITE_ADMINISTRATOR, ADMINISTRATOR, ADVISOR),
        )

    def people(self) -> Iterator[Event]:
        """Administrators and students; staff and observers come with their courses."""
        everybody = chain((SITE_ADMINISTRATOR, ADMINISTRATOR, ADVISOR), self.students)
        return chain.from_iterable(map(self.person, everybody))

    def rights(self) -> Iterator[Event]:
        """An administrator of the institution, one of the site, and advisors who may write to science students."""
        admins = (
            (1, SITE_ADMIN, SITE_ADMINISTRATOR, "AccountAdmin"),
            (2, ROOT, ADMINISTRATOR, "AccountAdmin"),
            (3, SCIENCES, ADVISOR, "Student Advisor"),
        )
        for account_user, account, user, role in admins:
            yield event(
                "account_user_created",
                account_user_id=str(account_user),
                account_id=str(account),
                user_id=str(user),
                role=role,
                workflow_state="active",
            )
        for override, permission in enumerate(("read_roster", "send_messages"), start=1):
            yield event(
                "role_override_created",
                role_override_id=str(override),
                context_type="Account",
                context_id=str(SCIENCES),
                role="Student Advisor",
                permission=permission,
                enabled=True,
                workflow_state="active",
            )

    def lecture(self) -> Iterator[Event]:
        """The course of all students: a section each, assistants per section, observers of some students."""
        yield self.course_itself(LECTURE, BIOLOGY, "Introduction to Biology", "available")
        default, *sections = self.section_ids(1 + len(LECTURE_SECTIONS))
        yield from self.sections(LECTURE, "Introduction to Biology", default, sections, LECTURE_SECTIONS)
        for role in ("Teacher", "Teacher", "Designer"):
            yield from self.employ(LECTURE, default, role)
        for section in sections:
            yield from self.employ(LECTURE, section, "Ta", limited=True)
        for position, student in enumerate(self.students):
            yield self.enrollment(LECTURE, sections[position % len(sections)], student, "Student")
        observed = self.students[:OBSERVED_STUDENTS]
        for position, student in enumerate(observed):
            observer = FIRST_OBSERVER + position // 2  # each looks after two
            if position % 2 == 0:
                yield from self.person(observer)
            section = sections[position % len(sections)]
            yield self.enrollment(LECTURE, section, observer, "Observer", associated_user_id=str(student))

    def course(self, course: Course) -> Iterator[Event]:
        """A teacher, an assistant per section, and a draw of the students."""
        yield self.course_itself(course.id, course.account, course.name, course.state)
        default, *others = self.section_ids(1 + len(course.section_names))
        yield from self.sections(course.id, course.name, default, others, course.section_names)
        state = "completed" if course.state == "completed" else "active"
        yield from self.employ(course.id, default, "Teacher", state=state)
        # The demo teacher teaches the laboratory too, and has a past.
        if course.id in (LAB, CONCLUDED):
            yield self.enrollment(course.id, default, TEACHER, "Teacher", state=state)
        for section in others:
            yield from self.employ(course.id, section, "Ta", state=state, limited=True)
        for position, student in enumerate(sorted(self.draw(course.students))):
            section = others[position % len(others)] if others else default
            yield self.enrollment(course.id, section, student, "Student", state=state)

    def groups(self) -> Iterator[Event]:
        """Lab groups, a group of the whole institution, and a differentiation tag in the lecture."""
        yield self.category(1, "Lab Groups", "Course", LAB)
        for position in range(8):
            group = 3001 + position
            yield self.group(group, f"Lab Group {position + 1}", 1, "Course", LAB, account=BIOLOGY)
            yield from self.memberships(group, 5)
        yield self.category(2, "Student Representation", "Account", ROOT)
        yield self.group(3101, "Student Council", 2, "Account", ROOT, account=ROOT)
        yield from self.memberships(3101, 12)
        yield self.category(3, "Learning Support", "Course", LECTURE)
        yield self.group(3201, "Extra Time", 3, "Course", LECTURE, account=BIOLOGY, non_collaborative=True)
        yield from self.memberships(3201, 25)

    def attachments(self) -> Iterator[Event]:
        """Files the demo teacher can send."""
        files = (
            ("Syllabus.pdf", "application/pdf", 182_344),
            ("Reading list.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 24_871),
            ("Campus map.png", "image/png", 512_009),
        )
        for attachment, (name, content_type, size) in enumerate(files, start=4001):
            yield event(
                "attachment_created",
                attachment_id=str(attachment),
                user_id=str(TEACHER),
                uuid=f"{self._random.getrandbits(128):032x}",
                display_name=name,
                filename=name.replace(" ", "+"),
                context_type="User",
                context_id=str(TEACHER),
                content_type=content_type,
                folder_id="5001",
                folder_name="conversation attachments",
                size=size,
                unlock_at=None,
                lock_at=None,
                updated_at=TOLD_AT,
            )

    def course_itself(self, course: int, account: int, name: str, state: str) -> Event:
        """The row of a course."""
        return event(
            "course_created",
            course_id=str(course),
            uuid=f"{self._random.getrandbits(128):032x}",
            account_id=str(account),
            name=name,
            workflow_state=state,
            created_at=TOLD_AT,
            updated_at=TOLD_AT,
        )

    def section_ids(self, how_many: int) -> list[int]:
        """Fresh section ids."""
        return [next(self._sections) for _ in range(how_many)]

    def sections(
        self, course: int, name: str, default: int, others: list[int], names: tuple[str, ...]
    ) -> Iterator[Event]:
        """The default section, called like its course, and the named ones."""
        for section, called in ((default, name), *zip(others, names, strict=True)):
            yield event(
                "course_section_created",
                course_section_id=str(section),
                course_id=str(course),
                root_account_id=str(ROOT),
                name=called,
                default_section=section == default,
                start_at=None,
                end_at=None,
                sis_source_id=f"S{section}",
                restrict_enrollments_to_section_dates=False,
                workflow_state="active",
            )

    def employ(
        self, course: int, section: int, role: str, *, state: str = "active", limited: bool = False
    ) -> Iterator[Event]:
        """A new member of staff, in one section of one course."""
        user = next(self._staff)
        yield from self.person(user)
        yield self.enrollment(course, section, user, role, state=state, limited=limited)

    def enrollment(
        self,
        course: int,
        section: int,
        user: int,
        role: str,
        *,
        state: str = "active",
        limited: bool = False,
        **more: str,
    ) -> Event:
        """One enrolment; role without the word Enrollment."""
        return event(
            "enrollment_created",
            enrollment_id=str(next(self._enrollments)),
            course_id=str(course),
            course_section_id=str(section),
            user_id=str(user),
            type=f"{role}Enrollment",
            limit_privileges_to_course_section=limited,
            workflow_state=state,
            created_at=TOLD_AT,
            updated_at=TOLD_AT,
            **more,
        )

    def category(self, category: int, name: str, context_type: str, context: int) -> Event:
        """A set of groups."""
        return event(
            "group_category_created",
            group_category_id=str(category),
            group_category_name=name,
            context_type=context_type,
            context_id=str(context),
        )

    def group(
        self,
        group: int,
        name: str,
        category: int,
        context_type: str,
        context: int,
        *,
        account: int,
        non_collaborative: bool = False,
    ) -> Event:
        """A group, or with non_collaborative a differentiation tag."""
        return event(
            "group_created",
            group_id=str(group),
            uuid=f"{self._random.getrandbits(128):032x}",
            group_name=name,
            group_category_id=str(category),
            context_type=context_type,
            context_id=str(context),
            account_id=str(account),
            non_collaborative=non_collaborative,
            workflow_state="available",
        )

    def memberships(self, group: int, members: int) -> Iterator[Event]:
        """Students of the lecture in a group; the last one has not accepted yet."""
        drawn = self.draw(members)
        for position, user in enumerate(drawn, start=1):
            invited = position == len(drawn) > 1
            yield event(
                "group_membership_created",
                group_membership_id=str(next(self._memberships)),
                group_id=str(group),
                user_id=str(user),
                workflow_state="invited" if invited else "accepted",
            )

    def draw(self, how_many: int) -> list[int]:
        """Some of the students, or all if there are not enough."""
        return self._random.sample(self.students, min(how_many, len(self.students)))


def main() -> None:
    """Events or facts on stdout."""
    parser = argparse.ArgumentParser(description="Generate the demo institution as directory events.")
    parser.add_argument("--students", type=int, default=10_000, metavar="N", help="of the big lecture")
    parser.add_argument("--facts", action="store_true", help="print who and what to try instead of the events")
    options = parser.parse_args()
    if options.students < 1:
        parser.error("--students must be at least 1")
    if options.facts:
        facts = {"teacher_id": TEACHER, "administrator_id": ADMINISTRATOR, "course_id": LECTURE}
        print(json.dumps(facts | {"students": options.students}))
        return
    write = sys.stdout.write
    for each in Institution(options.students).events():
        write(json.dumps(each, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
