"""Configuration: environment variables only, all listed in deploy/env.example (CONTRACT 2)."""

import ipaddress
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    UrlConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import MultiHostUrl, PydanticCustomError, Url
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.domain.jwt import UserKey
from service.domain.origins import Network, parse_networks

# The options of a database's URL that have their own words (libpq); the driver would find a wrong one much later.
_WORDS = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}


def _known_options(url: MultiHostUrl) -> MultiHostUrl:
    for name, value in url.query_params():
        if name in _WORDS and value not in _WORDS[name]:
            words = {"name": name, "known": ", ".join(_WORDS[name])}
            raise PydanticCustomError("database_url", "{name} is one of {known}", words)
    return url


# What asyncpg reads; SQLAlchemy's names of drivers are none of its schemes.
DatabaseUrl = Annotated[
    MultiHostUrl,
    UrlConstraints(allowed_schemes=["postgres", "postgresql"], host_required=True),
    AfterValidator(_known_options),
]
_NODE: TypeAdapter[Url] = TypeAdapter(
    Annotated[Url, UrlConstraints(allowed_schemes=["amqp", "amqps"], host_required=True)]
)


_BETWEEN = re.compile(r"\s*,\s*(?=amqps?://)")  # a password may have commas


def nodes_of(amqp_url: str) -> tuple[str, ...]:
    """The URLs of a cluster's nodes, of which any may be used: ``amqp://one/,amqp://other/``."""
    return tuple(_BETWEEN.split(amqp_url.strip()))


def _amqp_urls(urls: str) -> str:
    """Each of several URLs is checked for itself; hosts with commas between them are no host."""
    for url in nodes_of(urls):
        try:
            node = _NODE.validate_python(url)
        except ValidationError as error:
            raise PydanticCustomError("amqp_url", "{reason}", {"reason": error.errors()[0]["msg"]}) from None
        if "," in (node.host or "") or "://" in (node.path or ""):
            raise PydanticCustomError("amqp_url", "several nodes are several whole URLs: amqp://one/,amqp://other/")
    return urls


AmqpUrls = Annotated[str, BeforeValidator(str), AfterValidator(_amqp_urls)]


SettingsT = TypeVar("SettingsT", "Settings", "DatabaseSettings", "SnapshotSettings", "StuckSettings", "BrokerSettings")


def _networks(text: str) -> str:
    parse_networks(text)
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


def _none_if_empty(value: object) -> object:
    """An empty variable is no port and no URL."""
    return None if value == "" else value


_HTTP: TypeAdapter[Url] = TypeAdapter(
    Annotated[Url, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]
)


def _key_set(text: str) -> str:
    """A URL or the path of a file. What comes unencrypted from elsewhere could be anybody's keys."""
    if "://" not in text:
        return text
    try:
        url = _HTTP.validate_python(text)
    except ValidationError as error:
        raise PydanticCustomError("key_set", "{reason}", {"reason": error.errors()[0]["msg"]}) from None
    if url.scheme == "http" and not _is_loopback(url.host or ""):
        raise PydanticCustomError("key_set", "http is for this machine's own addresses; any other needs https")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


OptionalPort = Annotated[Annotated[int, Field(ge=1, le=65535)] | None, BeforeValidator(_none_if_empty)]


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable."""


_PREFIX = "CLARION_"
_LONGEST = 65_536  # bytes of a file; no setting is nearly as long


def from_file(name: str) -> str | None:
    """What stands instead of a variable in the file that NAME_FILE names, without the end of its last line.

    None where that names none; an empty variable counts as none. SettingsError for a file that cannot be read, and
    where the variable is set as well.
    """
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    if os.environ.get(name):
        raise SettingsError(f"{name}_FILE: {name} is set, too")
    try:
        return _content(Path(path)).rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{name}_FILE: the file cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{name}_FILE: {error}") from None


def _content(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise ValueError("the file is too long")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is no text in UTF-8") from None


class _Files(PydanticBaseSettingsSource):
    """Any variable may be the content of a file instead."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As the library asks for it: (content or None, name, whether it is JSON)."""
        return from_file(f"{_PREFIX}{field_name.upper()}"), field_name, False

    def __call__(self) -> dict[str, Any]:
        found, wrong = {}, []
        for name, field in self.settings_cls.model_fields.items():
            try:
                value, *_ = self.get_field_value(field, name)
            except SettingsError as error:
                wrong.append(str(error))
            else:
                found[name] = value
        if wrong:
            raise SettingsError("; ".join(wrong))
        return {name: value for name, value in found.items() if value is not None}


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code, the variables' files, the variables."""
        return init_settings, _Files(settings_cls), env_settings


class DatabaseSettings(_FromEnvironment):
    """All that a command needs which asks the database and nothing else."""

    database_url: DatabaseUrl
    database_statement_cache: int = Field(512, ge=0)


class SnapshotSettings(DatabaseSettings):
    """With it, where what a snapshot puts below no account belongs."""

    root_account_id: int = Field(1, ge=1)


class StuckSettings(DatabaseSettings):
    """With it, by what is measured whether something is stuck."""

    retry_after: float = Field(30.0, gt=0)


class BrokerSettings(_FromEnvironment):
    """All that a command needs which asks the broker and nothing else."""

    amqp_url: AmqpUrls
    amqp_prefix: str = Field("clarion", pattern=r"^[A-Za-z0-9_.-]{1,64}$")


class Settings(SnapshotSettings, StuckSettings, BrokerSettings):
    """All of a process that serves: one validated value, made at start and passed along."""

    database_listen_url: Annotated[DatabaseUrl | None, BeforeValidator(_none_if_empty)] = None
    database_read_url: Annotated[DatabaseUrl | None, BeforeValidator(_none_if_empty)] = None
    host: str = Field("127.0.0.1", min_length=1)  # an empty one would be every address of the machine
    port: int = Field(8080, ge=0, le=65535)
    public_url: str = Field("", pattern=r"^(https?://[^\s]+)?$")
    forwarded_allow: Annotated[str, AfterValidator(_networks)] = ""
    reply_to: Annotated[str, AfterValidator(_pattern)] = ".*"
    metrics_port: OptionalPort = None
    worker_port: OptionalPort = None
    request_timeout: float = Field(30.0, ge=1, le=3600)
    drain_delay: float = Field(5.0, ge=0, le=3600)
    max_group_conversation_size: int = Field(100, ge=1)
    max_bulk_private_recipients: int = Field(100, ge=1)
    max_synchronous_recipients: int = Field(1000, ge=1)
    sender_recipients_per_day: int = Field(0, ge=0)
    sender_recipients_per_minute: int = Field(0, ge=0, le=1_000_000_000)
    account_recipients_per_minute: int = Field(0, ge=0, le=1_000_000_000)
    queued_reply_participants: int = Field(100, ge=1)
    jwt_issuer: str = ""
    jwt_jwks: Annotated[str, AfterValidator(_key_set), Field(validate_default=True)] = ""
    jwt_audience: str = Field("", validate_default=True)
    jwt_user_claim: str = Field("sub", min_length=1)
    jwt_user_key: UserKey = UserKey.UUID
    throttle_maximum: float = Field(800, ge=0, le=1e9)
    throttle_high_water: float = Field(600, ge=0, le=1e9)
    throttle_outflow: float = Field(10, ge=0.001, le=1e9)
    throttle_preflight: float = Field(50, ge=0, le=1e9)
    throttle_status: Annotated[Literal[403, 429], BeforeValidator(int)] = 429
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: int = Field(10_000_000, ge=1024)
    database_pool_size: int = Field(8, ge=1)
    chunk_size: int = Field(1000, ge=1, le=2000)
    deliver_lanes: int = Field(1, ge=1)
    batch_chunks_in_flight: int = Field(4, ge=1, le=1_000_000)
    retention_days: int = Field(0, ge=0, le=36_500)
    sweep_interval: float = Field(5.0, gt=0)
    events: bool = True
    shard_id: int = Field(1, ge=1, le=900_000)
    relay_interval: float = Field(0.2, gt=0)
    relay_patience: float = Field(30.0, ge=0)

    @field_validator("jwt_jwks", "jwt_audience")
    @classmethod
    def _needed_with_an_issuer(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("jwt_issuer") and not value:
            raise PydanticCustomError("needed", "needed where CLARION_JWT_ISSUER is set")
        return value

    @cached_property
    def trusted_proxies(self) -> tuple[Network, ...]:
        """Whose X-Forwarded-… headers are believed."""
        return parse_networks(self.forwarded_allow)

    @property
    def pace(self) -> int:
        """Recipients a minute by the slower of the two paces; 0: there is none."""
        return min(filter(None, (self.sender_recipients_per_minute, self.account_recipients_per_minute)), default=0)

    @property
    def listen_url(self) -> str:
        """Where PostgreSQL itself answers, for notifications."""
        return str(self.database_listen_url or self.database_url)

    @property
    def base_url(self) -> str:
        """Base of absolute URLs where no request says how it came here, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def silence(self) -> float:
        """Seconds that a connection may take for a head, for a body, or between two requests."""
        return min(2 * self.request_timeout, 60.0)


def load() -> Settings:
    """All settings from the environment; SettingsError names every wrong variable in one line."""
    return load_part(Settings)


def load_part(kind: type[SettingsT]) -> SettingsT:
    """``load`` for a command that does not need them all."""
    try:
        return kind()
    except ValidationError as error:
        parts = [f"CLARION_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("; ".join(parts)) from None
