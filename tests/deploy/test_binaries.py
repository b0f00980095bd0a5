"""Which of several installed servers the deploy scripts take."""

from pathlib import Path

from deploy.binaries import find_postgres, find_rabbitmq


def _program(path: Path, prints: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)


def _postgres(folder: Path, version: str) -> Path:
    _program(folder / "postgres", f"postgres (PostgreSQL) {version}")
    _program(folder / "initdb")
    return folder


def _rabbitmq(home: Path, version: str) -> Path:
    _program(home / "sbin" / "rabbitmq-server")
    (home / "sbin" / "rabbitmq-env").touch()
    (home / "plugins" / f"rabbit-{version}").mkdir(parents=True)
    return home / "sbin"


def test_the_newest_postgres_wins(tmp_path: Path) -> None:
    folders = [_postgres(tmp_path / v, v) for v in ("15.4", "17.1 (Debian 17.1-1)", "16.2")]

    found = find_postgres(folders)

    assert found is not None
    assert (found.folder, found.major) == (folders[1], 17)


def test_the_version_that_wrote_the_data_can_be_asked_for(tmp_path: Path) -> None:
    folders = [_postgres(tmp_path / v, v) for v in ("15.4", "17.1")]

    found = find_postgres(folders, major=15)

    assert found is not None
    assert found.folder == folders[0]


def test_a_postgres_that_is_too_old_or_only_a_client_does_not_count(tmp_path: Path) -> None:
    _program(tmp_path / "client" / "psql")

    assert find_postgres([_postgres(tmp_path / "old", "14.9"), tmp_path / "client", tmp_path / "absent"]) is None


def test_the_newest_rabbitmq_wins_and_versions_are_numbers(tmp_path: Path) -> None:
    _program(tmp_path / "erl")
    folders = [_rabbitmq(tmp_path / v, v) for v in ("3.9.1", "3.13.7", "3.10.8")]

    found = find_rabbitmq([tmp_path, *folders])

    assert found is not None
    assert found.version == (3, 13)


def test_a_wrapper_that_switches_users_is_passed_over(tmp_path: Path) -> None:
    _program(tmp_path / "rabbitmq-server")

    assert find_rabbitmq([tmp_path]) is None


def test_a_link_to_the_real_script_is_followed(tmp_path: Path) -> None:
    real = _rabbitmq(tmp_path / "cellar", "4.0.5")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rabbitmq-server").symlink_to(real / "rabbitmq-server")

    found = find_rabbitmq([tmp_path / "bin"])

    assert found is not None
    assert found.script == real / "rabbitmq-server"
