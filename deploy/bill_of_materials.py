"""What ``deploy/audit`` runs in the checkout: the list of all locked packages, and what is known of them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.environment import CHECKOUT, STATE
from deploy.failure import CannotRun

LOCK = CHECKOUT / "deploy" / "requirements.txt"
LIST = STATE / "sbom.json"
NONE_KNOWN, SOME_KNOWN, NOT_ASKED = 0, 1, 2  # exit status
_NAMED = 3  # of those of which nothing is known
_PATIENCE = 15  # seconds for one answer of the service


@dataclass(frozen=True)
class Weakness:
    """Of one package, under its number in the service's records; ``mended``: the versions that do not have it."""

    package: str
    version: str
    number: str
    mended: tuple[str, ...]

    def __str__(self) -> str:
        cure = f"mended in {', '.join(self.mended)}" if self.mended else "no version mends it"
        return f"{self.package} {self.version}: {self.number}, {cure}"


@dataclass(frozen=True)
class Findings:
    """``unknown``: packages of which the service says nothing at all."""

    weaknesses: tuple[Weakness, ...]
    unknown: tuple[str, ...]
    asked: int


def write_list(path: Path) -> int:
    """Writes the list in CycloneDX's JSON, the same for the same lock; how many packages it has."""
    program = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", str(LOCK)]
    options = [
        "--pyproject",
        str(CHECKOUT / "pyproject.toml"),
        "--output-reproducible",
        "--of",
        "JSON",
        "-o",
        str(path),
    ]
    done = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise CannotRun("the list could not be made, see above")
    return len(json.loads(path.read_text("utf-8"))["components"])


def ask() -> Findings:
    """What the service knows of the locked versions; CannotRun when it could not be asked."""
    program = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", str(_PATIENCE)]
    done = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise CannotRun(f"the service that knows of weaknesses could not be asked: {reason[:300]}") from None
    return findings(answer)


def findings(answer: Any) -> Findings:
    """pip-audit's JSON; a package that it skipped is one of which nothing is known, not one without a weakness."""
    packages = answer["dependencies"]
    return Findings(
        tuple(
            Weakness(each["name"], each["version"], found["id"], tuple(found["fix_versions"]))
            for each in packages
            for found in each.get("vulns", ())
        ),
        tuple(each["name"] for each in packages if "skip_reason" in each),
        len(packages),
    )


def verdict(found: Findings) -> tuple[int, str]:
    """The exit status, and a line for each weakness and one that sums up."""
    lines = [str(weakness) for weakness in found.weaknesses]
    if found.unknown:
        lines.append(
            f"not known: the service says nothing of {len(found.unknown)} of {found.asked} packages"
            f" ({', '.join(found.unknown[:_NAMED])}{', …' if len(found.unknown) > _NAMED else ''})"
        )
    elif not lines:
        lines.append(f"no weakness of any of {found.asked} packages is known")
    return SOME_KNOWN if found.weaknesses else NOT_ASKED if found.unknown else NONE_KNOWN, "\n".join(lines)


def main() -> int:
    """The exit status."""
    try:
        print(f"{LIST.relative_to(CHECKOUT)}: {write_list(LIST)} packages (CycloneDX)", flush=True)
        status, said = verdict(ask())
    except CannotRun as error:
        print(f"deploy/audit: {error}", file=sys.stderr)
        return NOT_ASKED
    print(said, file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
