"""Configuration: environment variables only, all listed in deploy/env.example (CONTRACT 2)."""

import re
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, UrlConstraints, ValidationError
from pydantic_core import MultiHostUrl, Url
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.domain.origins import Network, parse_networks

# What asyncpg reads; SQLAlchemy's names of drivers are none of its schemes.
DatabaseUrl = Annotated[MultiHostUrl, UrlConstraints(allowed_schemes=["postgres", "postgresql"], host_required=True)]
AmqpUrl = Annotated[Url, UrlConstraints(allowed_schemes=["amqp", "amqps"], host_required=True)]


def _networks(text: str) -> str:
    parse_networks(text)
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable."""


class Settings(BaseSettings):
    """One validated value, made at start and passed along."""

    model_config = SettingsConfigDict(env_prefix="CLARION_", frozen=True)

    database_url: DatabaseUrl
    amqp_url: AmqpUrl
    amqp_prefix: str = Field("clarion", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    public_url: str = Field("", pattern=r"^(https?://[^\s]+)?$")
    forwarded_allow: Annotated[str, AfterValidator(_networks)] = ""
    reply_to: Annotated[str, AfterValidator(_pattern)] = ".*"
    max_group_conversation_size: int = Field(100, ge=1)
    max_bulk_private_recipients: int = Field(100, ge=1)
    queued_reply_participants: int = Field(100, ge=1)
    root_account_id: int = Field(1, ge=1)
    throttle_maximum: float = Field(800, ge=0, le=1e9)
    throttle_high_water: float = Field(600, ge=0, le=1e9)
    throttle_outflow: float = Field(10, ge=0.001, le=1e9)
    throttle_preflight: float = Field(50, ge=0, le=1e9)
    throttle_status: Annotated[Literal[403, 429], BeforeValidator(int)] = 429
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: int = Field(10_000_000, ge=1024)
    database_pool_size: int = Field(8, ge=1)
    database_statement_cache: int = Field(512, ge=0)
    chunk_size: int = Field(2000, ge=1, le=2000)
    deliver_lanes: int = Field(1, ge=1)
    sweep_interval: float = Field(5.0, gt=0)
    retry_after: float = Field(30.0, gt=0)
    events: bool = True
    shard_id: int = Field(1, ge=1, le=900_000)
    relay_interval: float = Field(0.2, gt=0)
    relay_patience: float = Field(5.0, ge=0)

    @cached_property
    def trusted_proxies(self) -> tuple[Network, ...]:
        """Whose X-Forwarded-… headers are believed."""
        return parse_networks(self.forwarded_allow)

    @property
    def base_url(self) -> str:
        """Base of absolute URLs where no request says how it came here, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def load() -> Settings:
    """Settings from the environment; SettingsError names every wrong variable in one line."""
    try:
        return Settings()
    except ValidationError as error:
        parts = [f"CLARION_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("; ".join(parts)) from None
