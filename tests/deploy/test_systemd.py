"""The units for machines without containers."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.manifests import unknown_settings

_UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
_SERVICES = ("clarion-api@8080.service", "clarion-worker@8091.service", "clarion-migrate.service")
_MOST_EXPOSED = 20  # of systemd's own measure, from 0 to 100; "OK" ends at 40


def _file(unit: str) -> Path:
    return _UNITS / re.sub(r"@\d+", "@", unit)


@pytest.mark.parametrize("unit", _SERVICES)
def test_a_unit_runs_one_role_with_settings_that_are_known(unit: str) -> None:
    text = _file(unit).read_text("utf-8")
    role = unit.removeprefix("clarion-").split("@")[0].removesuffix(".service")

    assert re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE) == [f"/opt/clarion/bin/clarion {role}"]
    assert unknown_settings(re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)) == set()
    assert {"DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(text.splitlines())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd to ask")
def test_systemd_understands_the_units_and_finds_little_exposed(tmp_path: Path) -> None:
    for path in _UNITS.iterdir():  # it looks for the program
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace("/opt/clarion/bin/clarion", "/bin/true"))
    units = [str(tmp_path / name) for name in (*_SERVICES, "clarion.target")]

    understood = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={_MOST_EXPOSED}"]
        + [str(_file(unit)) for unit in _SERVICES],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (understood.returncode, understood.stderr) == (0, "")
    assert exposed.returncode == 0, exposed.stdout
