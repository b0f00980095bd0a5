"""The locked requirements are whole."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_CHECKOUT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text("utf-8"))


def _locked(name: str) -> dict[str, str]:
    text = (_CHECKOUT / "deploy" / name).read_text("utf-8")
    return {canonicalize_name(package): version for package, version in re.findall(r"^(\S+)==(\S+) \\$", text, re.M)}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("requirements.txt", _PROJECT["project"]["dependencies"] + _PROJECT["build-system"]["requires"]),
        (
            "requirements-test.txt",
            _PROJECT["project"]["dependencies"] + _PROJECT["project"]["optional-dependencies"]["test"],
        ),
    ],
)
def test_everything_the_project_asks_for_is_locked(name: str, asked: list[str]) -> None:
    """deploy/lock writes the lock anew."""
    locked = _locked(name)

    wrong = [a for a in map(Requirement, asked) if not a.specifier.contains(locked.get(canonicalize_name(a.name), "0"))]

    assert wrong == []


def test_the_tests_run_on_what_is_shipped() -> None:
    runtime, test = _locked("requirements.txt"), _locked("requirements-test.txt")

    assert runtime.items() <= test.items()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_a_lock_holds_packages_with_hashes_and_nothing_else(name: str) -> None:
    text = (_CHECKOUT / "deploy" / name).read_text("utf-8")

    assert re.fullmatch(r"([\w.-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n)+", text)
