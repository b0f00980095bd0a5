"""The issuer's keys: the set that serves now, and the task that fetches the next one.

Requests never fetch. One whose key is not in the set waits, for seconds, while the task looks for it, and that once a
minute at most; all others go on with the keys that are there, also while the issuer is away.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress
from functools import cached_property

import orjson
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from pydantic import BaseModel, ValidationError

from service.domain.jwt import Unacceptable
from service.runtime.jwt.source import Source, SourceError
from service.runtime.metrics import JWT_KEY_FETCHES, JWT_KEYS

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
PATIENCE = 6.0  # seconds that a request waits for its key; a fetch takes at most five
ASK_AGAIN = 60.0  # seconds until an unknown key is looked for again
# By type of key and, where it has one, its curve.
_SUITABLE = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}

log = structlog.get_logger(__name__)


class UnknownKey(Unacceptable):
    """The key is not in the set; a newer set may have it."""


class Key(BaseModel, frozen=True):
    """A public key as it is published (RFC 7517); whatever else is published with it is left out."""

    kty: str
    kid: str | None = None
    alg: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None

    @cached_property
    def algorithms(self) -> tuple[str, ...]:
        """Those with which it may have signed; none for a key of another purpose."""
        if self.use not in (None, "sig") or (self.key_ops is not None and "verify" not in self.key_ops):
            return ()
        return tuple(name for name in _SUITABLE.get((self.kty, self.crv), ()) if self.alg in (None, name))

    @cached_property
    def _made(self) -> dict[str, PyJWK]:
        return {}

    def verifying(self, algorithm: str) -> PyJWK:
        """The key as the library takes it, made when it is first used; Unacceptable where it is broken."""
        if algorithm not in self._made:
            parts = self.model_dump(include={"kty", "crv", "n", "e", "x", "y"}, exclude_none=True)
            try:
                self._made[algorithm] = PyJWK(parts, algorithm)
            except PyJWTError as error:
                raise Unacceptable(f"its key is broken: {error}") from None
        return self._made[algorithm]


class KeySet:
    """The keys of one document."""

    def __init__(self, document: bytes = b'{"keys": []}') -> None:
        """SourceError when it is no key set. Keys that no JWT could be signed with are no fault of the others."""
        self.document = document
        try:
            content = orjson.loads(document)
        except ValueError:
            raise SourceError("it is no JSON") from None
        listed = content.get("keys") if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise SourceError("it is no key set (RFC 7517)")
        self._by_id: defaultdict[str | None, list[Key]] = defaultdict(list)
        for each in listed:
            with suppress(ValidationError):
                key = Key.model_validate(each)
                self._by_id[key.kid].append(key)
        self._usable = [key for keys in self._by_id.values() for key in keys if key.algorithms]

    def __len__(self) -> int:
        return len(self._usable)

    def find(self, kid: str | None, algorithm: str) -> PyJWK:
        """The only key of that id for that algorithm, or of the set for a token that names none; Unacceptable.

        Keys of different types may share an id (RFC 7517 4.5).
        """
        found = self._usable if kid is None else self._by_id.get(kid, [])
        if not found:
            raise UnknownKey("there is no such key")
        if kid is None and len(found) > 1:
            raise Unacceptable("it may be one of several keys")
        suitable = [key for key in found if algorithm in key.algorithms]
        if not suitable:
            raise Unacceptable("its key is for something else")
        if len(suitable) > 1:
            raise Unacceptable("it may be one of several keys")
        return suitable[0].verifying(algorithm)


class Keys:
    """The key set of a source, kept up to date from ``start`` to ``close``."""

    def __init__(self, source: Source) -> None:
        self.current = KeySet()
        self.failure = ""  # of the last fetch
        self._source = source
        self._begun = self._ended = self._awaited = 0  # numbers of fetches
        self._change = asyncio.Condition()
        self._asked = asyncio.Event()
        self._asked_at = -ASK_AGAIN
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fetches from now on; returns at once."""
        self._awaited = self._begun + 1
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Fetches no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Reads the source once; SourceError when there are no keys to be had, which leaves the present ones."""
        document = await self._source.read()
        if document != self.current.document:
            self.current = KeySet(document)
            JWT_KEYS.set(len(self.current))
            log.info("jwt_keys_changed", keys=len(self.current))

    async def renewed(self, known: KeySet) -> KeySet:
        """The keys, where ``known`` lacks one: others, if the fetch under way or one more brings some in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), self._change:
                await self._change.wait_for(lambda: self._ended >= self._awaited)
                if self.current is known and self._may_ask():
                    self._awaited = self._begun + 1
                    self._asked.set()
                    await self._change.wait_for(lambda: self._ended >= self._awaited)
        return self.current

    def _may_ask(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < ASK_AGAIN:
            return False
        self._asked_at = now
        return True

    async def _keep(self) -> None:
        first, most = self._source.retry
        retry = first
        while True:
            self._asked.clear()
            self._begun += 1
            self._awaited = max(self._awaited, self._begun)
            fetched = await self._fetch()
            async with self._change:
                self._ended = self._begun
                self._change.notify_all()
            pause, retry = (self._source.interval, first) if fetched else (retry, min(retry * 2, most))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._asked.wait()

    async def _fetch(self) -> bool:
        failure = ""
        try:
            await self.look()
        except SourceError as error:
            failure = str(error)
        except Exception as error:
            log.exception("jwt_keys_fault")
            failure = repr(error)
        JWT_KEY_FETCHES.labels("failed" if failure else "fetched").inc()
        if failure and failure != self.failure:
            log.warning("jwt_keys_not_fetched", error=failure, kept=len(self.current))
        self.failure = failure
        return not failure
