"""``deploy/image/build``: the image from its Dockerfile, and a trial of it."""

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy import packages
from deploy.environment import CHECKOUT, STATE
from deploy.failure import CannotRun
from deploy.image.base import make_base
from deploy.image.content import check_content
from deploy.image.tools import Buildah, call
from deploy.image.trial import try_image
from deploy.lifetime import run_until_stopped
from deploy.servers import servers

_DOCKERFILE = CHECKOUT / "deploy" / "image" / "Dockerfile"
_LOCK = CHECKOUT / "deploy" / "requirements.txt"
_PROGRAMS = {
    "buildah": packages.Need("buildah", "buildah", "buildah"),
    "debootstrap": packages.Need("debootstrap", "debootstrap", "debootstrap"),
}


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    base: str | None
    build_base: str | None
    suite: str
    name: str
    trial: bool


def options(arguments: list[str]) -> Options:
    """SystemExit for a wrong command line, as argparse has it."""
    parser = argparse.ArgumentParser("deploy/image/build", description=__doc__)
    parser.add_argument("--base", help="base image; without it one is made of Debian's packages")
    parser.add_argument("--build-base", help="the same with pip; without it --base")
    parser.add_argument("--suite", default="bookworm", help="Debian's release, where the base is made (%(default)s)")
    parser.add_argument("--name", default="localhost/clarion", help="what to call the image (%(default)s)")
    parser.add_argument("--no-trial", dest="trial", action="store_false", help="build only, and run nothing in it")
    return Options(**vars(parser.parse_args(arguments)))


async def build(options: Options) -> int:
    """Builds, checks, tries, and writes the image as an archive that registries and engines take."""
    if os.geteuid():
        raise CannotRun("it mounts file systems: run it as root (sudo ./deploy/image/build)")
    if lacking := [need for program, need in _PROGRAMS.items() if not shutil.which(program)]:
        packages.install(lacking)
    folder = STATE / "image"
    folder.mkdir(parents=True, exist_ok=True)
    buildah = Buildah(folder)
    if options.base is None:
        base, build_base = await make_base(buildah, folder, options.suite)
    else:
        base, build_base = options.base, options.build_base or options.base
    await _fetch_wheels(buildah, folder / "wheels", build_base)
    print(f"Building {options.name} on {base}", flush=True)
    await _build(buildah, folder, options.name, base, build_base)
    container = await buildah("from", "--pull-never", options.name)
    try:
        root = Path(await buildah("mount", container))
        config = await buildah.config(options.name)
        for line in check_content(root, config):
            print(line, flush=True)
        if options.trial:
            for named in ("CLARION_DATABASE_URL", "CLARION_AMQP_URL"):  # those may serve others
                os.environ.pop(named, None)
            async with servers(STATE) as found:
                await try_image(root, config, found)
    finally:
        await buildah("rm", container)
    archive = folder / "clarion.tar"
    archive.unlink(missing_ok=True)
    await buildah("push", "--quiet", options.name, f"oci-archive:{archive}:{options.name.rsplit('/', 1)[-1]}")
    print(f"Written to {archive.relative_to(CHECKOUT)}", flush=True)
    return 0


async def _fetch_wheels(buildah: Buildah, wheels: Path, build_base: str) -> None:
    """Those of the lock, for the base's Python: this machine's pip knows where they are to be had."""
    container = await buildah("from", build_base)
    try:
        version = await buildah(
            "run", container, "--", "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"
        )
    finally:
        await buildah("rm", container)
    print(f"Fetching the locked packages for Python {version}", flush=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet")
    asked = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(_LOCK))
    await call(*pip, *asked, "--python-version", version, "--dest", str(wheels))


async def _build(buildah: Buildah, folder: Path, name: str, base: str, build_base: str) -> None:
    configuration = folder / "pip.conf"
    configuration.write_text("[global]\nno-index = true\nfind-links = /wheels\n", "utf-8")
    await buildah(
        "build",
        *("--build-arg", f"BASE={base}", "--build-arg", f"BUILD_BASE={build_base}"),
        *("--secret", f"id=pip.conf,src={configuration}", "--volume", f"{folder / 'wheels'}:/wheels:ro"),
        *("--ignorefile", str(CHECKOUT / ".dockerignore"), "--file", str(_DOCKERFILE), "--tag", name, str(CHECKOUT)),
    )


if __name__ == "__main__":
    asked = options(sys.argv[1:])
    run_until_stopped("image/build", build(asked))
