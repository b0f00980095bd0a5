"""Every rule that code, statements and pages cite is there (service/contracts/README.md)."""

from pathlib import Path

import pytest

from tests.support import citations
from tests.support.citations import BOOKS, CONTRACTS, PROMISES, ROOT, Citations

_CODE = CONTRACTS / "commands.py"
_PAGE = ROOT / "README.md"


def test_citations_lead_to_the_sections_they_name() -> None:
    assert not citations.faults(list(citations.files()))


def test_every_rule_book_is_cited_by_the_service() -> None:
    code = [path for path in citations.files() if path.suffix in {".py", ".sql"}]
    cited = {book for path in code for book, _ in Citations(path).cited}
    assert cited == {PROMISES, *BOOKS.values()}


@pytest.mark.parametrize(
    "text",
    [
        "(canvas/semantics.md 7.2)",
        "semantics.md 4.2, 4.3 and 5.",
        "(canvas/endpoints.md 3.2.2, CONTRACT 5, 6.7 and 6.14): 3 of them",
        "canvas/conventions.md 12, and acting as another user",
        "CONTRACT 6.2 to 6.7",
        "canvas/endpoints.md 4.2 validation steps 5 to 7 and 5.4",
        "(endpoints.md 4.9 check 1) and check 7 alone",
        "# this is (canvas/semantics.md\n    # 4.2 steps 5 and 6). Step 2 comes before",
        "-- (CONTRACT\n-- 6.10)",
    ],
)
def test_a_citation_that_leads_somewhere(text: str) -> None:
    found = Citations(_CODE, text)
    assert not found.faults
    assert found.cited


@pytest.mark.parametrize(
    "text",
    [
        "as semantics.md says",
        "as CONTRACT says",
        "canvas/semantics.md section 4",
        "semantics.md, 4.2",
        "semantics.md 17",
        "semantics.md 4.2, 4.9",
        "CONTRACT 6.99",
        "CONTRACT 4.1",
        "semantics.md 4.2 step 8",
        "semantics.md 4.2 steps 6 to 8",
        "semantics.md 4.3 step 1",
        "endpoints.md 4.2 step 5",
        "endpoints.md 4.2 validation step 5d",
        "endpoints.md 4.2 delivery step 1",
        "endpoints.md 2, step 3",
        'endpoints.md 4.2, "Recipient resolution", and 5',
        "endpoints.md 6 rule 2",
        "(semantics.md 4.2) and step 8 alone",
        "before step 1",
        "docs/semantics.md 4.2",
        "../canvas/semantics.md 4.2",
        "DESIGN.md 4",
        "service/contracts/canvas/semantics.md",
    ],
)
def test_anything_else_about_a_rule_book_is_a_fault(text: str) -> None:
    assert Citations(_CODE, f"first line\n{text}").faults[0][0] == 2


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("[errors](service/contracts/canvas/conventions.md#9-error-envelopes)", True),
        ("[Canvas](https://example.org/endpoints.md)", True),
        ("[errors](service/contracts/canvas/conventions.md#9-errors)", False),
        ("[errors](canvas/conventions.md)", False),
    ],
)
def test_a_page_may_link_to_a_rule_book(link: str, leads: bool) -> None:
    assert (not Citations(_PAGE, link).faults) is leads


def test_a_rule_book_names_only_sections_it_has() -> None:
    found = Citations(Path(BOOKS["events.md"]), "see section 1.2, section 7")
    assert found.faults == [(1, "section 7: there is no such section here")]
