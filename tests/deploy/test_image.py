"""What can be known of the image without building it; ``deploy/image/build`` builds and tries it."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.failure import CannotRun
from deploy.image.content import LARGEST, check_content
from tests.support.programs import program

_CHECKOUT = Path(__file__).parents[2]
_DOCKERFILE = _CHECKOUT / "deploy" / "image" / "Dockerfile"
_CONFIG = {"User": "10001:10001"}


def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    done = subprocess.run([program("hadolint"), str(_DOCKERFILE)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_only_hashed_wheels_are_installed_and_no_user_is_root() -> None:
    text = re.sub(r"\\\n\s*", "", _DOCKERFILE.read_text("utf-8"))
    installs = re.findall(r"pip \S+ \S+ install (.*?)(?: &&|$)", text, re.MULTILINE)

    assert len(installs) == 2
    assert all("--no-deps" in install for install in installs)
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]
    assert "--no-index" in installs[1]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]


def test_everything_that_is_copied_reaches_the_build() -> None:
    """.dockerignore leaves everything out but what it names."""
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", _DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    ignored, *let_in = [
        line for line in (_CHECKOUT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")
    ]

    assert ignored == "*"
    assert {f"!{path}" for line in copied for path in line.split()} == {x for x in let_in if x.startswith("!")}
    assert all((_CHECKOUT / path).exists() for line in copied for path in line.split())


def _large(root: Path) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(LARGEST + 1)


def _compiler(root: Path) -> None:
    (root / "bin").mkdir()
    (root / "bin" / "gcc").touch()


def _pip(root: Path) -> None:
    folder = root / "lib" / "site-packages" / "pip-24.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").touch()


def _open_file(root: Path) -> None:
    (root / "open").touch()
    (root / "open").chmod(0o666)


@pytest.mark.parametrize(
    ("spoil", "config", "complaint"),
    [
        (_large, _CONFIG, "250 MB"),
        (_compiler, _CONFIG, "build tool"),
        (_pip, _CONFIG, "build tool"),
        (_open_file, _CONFIG, "writable"),
        (lambda _: None, {"User": "0:0"}, "runs as"),
        (lambda _: None, {}, "runs as root"),
    ],
)
def test_an_image_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], config: dict[str, Any], complaint: str
) -> None:
    assert check_content(tmp_path, _CONFIG) == ["0 MB in 0 files, no build tools, user 10001:10001"]

    spoil(tmp_path)

    with pytest.raises(CannotRun, match=complaint):
        check_content(tmp_path, config)
