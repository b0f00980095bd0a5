"""Comments, docstrings and pages name files, modules and tests that exist."""

import pytest

from tests.support import references
from tests.support.citations import ROOT

_CODE = ROOT / "service" / "contracts" / "commands.py"
_PAGE = ROOT / "README.md"
_STATEMENTS = ROOT / "sql" / "queries" / "batches.sql"


def test_what_is_named_exists() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in references.files()
        for line, name in references.faults(path)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# see service/contracts/commands.py",
        "# see commands.py",
        "# service.contracts.commands.PlanBatch",
        "# a test is test_what_is_named_exists",
        "# a pattern: sql/queries/*.sql, service/api/NOUN.py",
        'NAME = "no/such/file.py"',
    ],
)
def test_a_name_of_something_that_exists(text: str) -> None:
    assert not references.faults(_CODE, text)


@pytest.mark.parametrize(
    "name",
    [
        "service/contracts/nothing.py",
        "nothing.sql",
        "../nothing.py",
        "service.contracts.nothing",
        "service.contracts.commands.Nothing",
        "test_of_nothing",
    ],
)
def test_a_name_of_nothing_is_a_fault(name: str) -> None:
    assert references.faults(_CODE, f'"""First line.\n\n{name}\n"""') == [(3, name)]
    assert references.faults(_CODE, f"x = 1\n# {name}\n") == [(2, name)]
    assert references.faults(_STATEMENTS, f"SELECT 1;\n-- {name}") == [(2, name)]
    assert references.faults(_PAGE, f"# Page\n`{name}`") == [(2, name)]
