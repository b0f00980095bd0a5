"""deploy/compose.yaml, by the schema of the compose specification."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.manifests import unknown_settings
from tests.support.programs import program

_FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
_ROLES = ("migrate", "api", "worker")


def _rendered() -> dict[str, Any]:
    """As an engine reads it: variables filled in, anchors merged."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        return {"CLARION_PASSWORD": "password"}.get(name, rest if kind == ":-" else "")

    text = re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, _FILE.read_text("utf-8"))
    assert "$" not in text
    rendered: dict[str, Any] = yaml.safe_load(text)
    return rendered


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(_rendered()), "utf-8")

    done = subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_two_of_each_role_and_what_they_need() -> None:
    services = _rendered()["services"]

    assert set(services) == {*_ROLES, "database", "broker", "balancer"}
    assert {role: services[role]["deploy"]["replicas"] for role in ("api", "worker")} == {"api": 2, "worker": 2}
    assert {role: services[role]["command"] for role in _ROLES} == {role: [role] for role in _ROLES}
    for role in ("api", "worker"):
        assert services[role]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_its_processes_have_no_rights_and_no_password_stands_in_it() -> None:
    for role in _ROLES:
        service = _rendered()["services"][role]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert unknown_settings(service["environment"]) == set()
    assert re.findall(r"(?:PASS\w*: |//clarion:)(?!\$\{CLARION_PASSWORD:\?)", _FILE.read_text("utf-8")) == []


def test_the_files_that_it_mounts_are_there() -> None:
    mounted = [volume for service in _rendered()["services"].values() for volume in service.get("volumes", ())]

    assert [v for v in mounted if v.startswith(".") and not (_FILE.parent / v.split(":")[0]).is_file()] == []
    assert any(v.startswith("./compose/haproxy.cfg:") for v in mounted)
