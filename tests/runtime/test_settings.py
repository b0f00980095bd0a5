"""Settings from files, and those of sign-in: whatever is wrong is named in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.runtime import settings as configuration
from service.runtime.settings import DatabaseSettings, Settings, SettingsError

URL = "postgresql://clarion:secret@127.0.0.1/clarion"
SIGN_IN = {
    "CLARION_JWT_ISSUER": "https://login.institution.example",
    "CLARION_JWT_JWKS": "https://login.institution.example/jwks",
    "CLARION_JWT_AUDIENCE": "clarion",
}

Load = Callable[..., Settings]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads with these variables and both servers'; None takes one away."""

    def with_these(**variables: str | None) -> Settings:
        for name, value in {"CLARION_DATABASE_URL": URL, "CLARION_AMQP_URL": "amqp://127.0.0.1/", **variables}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return configuration.load()

    return with_these


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_variable_may_be_in_a_file(load: Load, tmp_path: Path, end: str) -> None:
    """An empty one counts as none, as a copy of env.example has it."""
    files = {name: tmp_path / name for name in ("CLARION_DATABASE_URL", "CLARION_AMQP_URL", "CLARION_JWT_AUDIENCE")}
    for file, content in zip(files.values(), (URL, "amqp://u:p%20 @127.0.0.1/", "clarion "), strict=True):
        file.write_bytes(f"{content}{end}".encode())

    loaded = load(
        **SIGN_IN
        | {"CLARION_DATABASE_URL": "", "CLARION_AMQP_URL": None, "CLARION_JWT_AUDIENCE": ""}
        | {f"{name}_FILE": str(file) for name, file in files.items()}
    )

    assert str(loaded.database_url) == URL
    assert loaded.amqp_url == "amqp://u:p%20 @127.0.0.1/"
    assert loaded.jwt_audience == "clarion "
    assert loaded.jwt_jwks == SIGN_IN["CLARION_JWT_JWKS"]


def test_an_empty_name_of_a_file_is_none(load: Load) -> None:
    assert str(load(CLARION_DATABASE_URL_FILE="").database_url) == URL


def test_a_command_reads_the_files_of_what_it_needs(load: Load, tmp_path: Path) -> None:
    (file := tmp_path / "url").write_text(URL)
    load(CLARION_DATABASE_URL_FILE="")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CLARION_DATABASE_URL")
        patch.setenv("CLARION_DATABASE_URL_FILE", str(file))
        patch.setenv("CLARION_AMQP_URL_FILE", str(tmp_path / "none"))
        assert str(configuration.load_part(DatabaseSettings).database_url) == URL


def test_both_are_too_many(load: Load, tmp_path: Path) -> None:
    (file := tmp_path / "url").write_text(URL)

    with pytest.raises(SettingsError, match=r"^CLARION_DATABASE_URL_FILE: CLARION_DATABASE_URL is set, too$"):
        load(CLARION_DATABASE_URL_FILE=str(file))


def test_each_file_that_cannot_be_read_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "long").write_bytes(b"x" * 70_000)

    with pytest.raises(SettingsError) as raised:
        load(
            CLARION_DATABASE_URL=None,
            CLARION_DATABASE_URL_FILE=str(tmp_path / "none"),
            CLARION_DATABASE_LISTEN_URL_FILE=str(tmp_path),
            CLARION_AMQP_URL=None,
            CLARION_AMQP_URL_FILE=str(tmp_path / "binary"),
            CLARION_JWT_ISSUER_FILE=str(tmp_path / "long"),
        )

    assert {part.split(":")[0] for part in str(raised.value).split("; ")} == {
        "CLARION_DATABASE_URL_FILE",
        "CLARION_DATABASE_LISTEN_URL_FILE",
        "CLARION_AMQP_URL_FILE",
        "CLARION_JWT_ISSUER_FILE",
    }


def test_what_is_in_a_file_is_checked_and_not_shown(load: Load, tmp_path: Path) -> None:
    (file := tmp_path / "url").write_text("secret")

    with pytest.raises(SettingsError, match=r"^CLARION_DATABASE_URL: [^\n]+$") as raised:
        load(CLARION_DATABASE_URL=None, CLARION_DATABASE_URL_FILE=str(file))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "jwks",
    ["https://a.example/jwks", "http://127.0.0.1:8081/jwks", "http://localhost/", "http://[::1]/", "/etc/keys.json"],
)
def test_keys_may_come_from_there(load: Load, jwks: str) -> None:
    assert load(**SIGN_IN | {"CLARION_JWT_JWKS": jwks}).jwt_jwks == jwks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLARION_JWT_JWKS", ""),
        ("CLARION_JWT_JWKS", "http://a.example/jwks"),
        ("CLARION_JWT_JWKS", "http://127.0.0.1.a.example/"),
        ("CLARION_JWT_JWKS", "http://localhost.a.example/"),
        ("CLARION_JWT_JWKS", "http://127.0.0.1@a.example/"),
        ("CLARION_JWT_JWKS", "ftp://a.example/jwks"),
        ("CLARION_JWT_JWKS", "file:///etc/keys.json"),
        ("CLARION_JWT_JWKS", "https://"),
        ("CLARION_JWT_AUDIENCE", ""),
        ("CLARION_JWT_USER_CLAIM", ""),
        ("CLARION_JWT_USER_KEY", "name"),
    ],
)
def test_what_is_wrong_with_sign_in_is_named(load: Load, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: [^\n]+$"):
        load(**SIGN_IN | {name: value})


def test_without_an_issuer_nothing_else_is_needed(load: Load) -> None:
    loaded = load()

    assert (loaded.jwt_issuer, loaded.jwt_user_claim, loaded.jwt_user_key) == ("", "sub", "uuid")
