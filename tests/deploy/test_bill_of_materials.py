"""``deploy/audit``: a list of all that is installed, and no word more of its weaknesses than is known."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy import bill_of_materials
from deploy.bill_of_materials import findings, verdict, write_list
from deploy.failure import CannotRun

GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "3.0"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


def test_the_list_has_every_locked_package_with_its_version(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"

    count = write_list(path)

    listed = json.loads(path.read_text("utf-8"))
    locked = re.findall(r"^(\S+)==(\S+) \\$", bill_of_materials.LOCK.read_text("utf-8"), re.MULTILINE)
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "clarion"
    assert {(each["name"], each["version"]) for each in listed["components"]} == set(locked)
    assert count == len(locked)


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([GOOD, GOOD], 0, "no weakness of any of 2 packages is known"),
        ([GOOD, BAD], 1, "bad 2.0: PYSEC-1, mended in 2.1, 3.0"),
        ([GOOD, UNKNOWN], 2, "not known: the service says nothing of 1 of 2 packages (unknown)"),
        ([BAD, UNKNOWN], 1, "bad 2.0: PYSEC-1, mended in 2.1, 3.0\nnot known: "),
    ],
    ids=["none", "some", "not asked", "some and not asked"],
)
def test_what_could_not_be_asked_is_no_good_news(packages: list[Any], status: int, said: str) -> None:
    found = verdict(findings({"dependencies": packages}))

    assert found[0] == status
    assert found[1].startswith(said)


def test_a_service_that_is_away_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask() -> None:
        raise CannotRun("the service that knows of weaknesses could not be asked: no route")

    monkeypatch.setattr(bill_of_materials, "ask", ask)
    monkeypatch.setattr(bill_of_materials, "CHECKOUT", tmp_path)
    monkeypatch.setattr(bill_of_materials, "LIST", tmp_path / "sbom.json")
    monkeypatch.setattr(bill_of_materials, "write_list", lambda path: 3)

    assert bill_of_materials.main() == 2
    out, err = capsys.readouterr()
    assert out == "sbom.json: 3 packages (CycloneDX)\n"
    assert err == "deploy/audit: the service that knows of weaknesses could not be asked: no route\n"
