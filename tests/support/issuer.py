"""The institution's issuer of JWTs: a process that publishes keys, and the keys with which the test signs."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from jwt.utils import base64url_encode

ISSUER = "https://login.institution.example/realms/main"
AUDIENCE = "clarion"
_CHECKOUT = Path(__file__).parents[2]


@cache
def private_key(algorithm: str, number: int) -> Any:
    """A key for that algorithm; RSA's take long to make."""
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP384R1() if algorithm == "ES384" else ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


class SigningKey:
    """One of the issuer's keys; ``number`` tells those of one algorithm apart."""

    def __init__(self, kid: str | None = "first", algorithm: str = "ES256", number: int = 1) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self._private = private_key(algorithm, number)

    @cached_property
    def jwk(self) -> dict[str, Any]:
        """What the issuer publishes."""
        public = self._private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            parts = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            parts = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            parts = OKPAlgorithm.to_jwk(public, as_dict=True)
        made = {"use": "sig", "alg": self.algorithm, **parts}
        return made if self.kid is None else {"kid": self.kid, **made}

    def token(self, sub: object, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A JWT that is valid for ten minutes; a claim of None is left out."""
        payload = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600, "sub": sub, **claims}
        kept = {name: value for name, value in payload.items() if value is not None}
        return self.signed(json.dumps(kept).encode(), header)

    def signed(self, content: bytes, header: Mapping[str, Any] | None = None) -> str:
        """Any content under any header, signed."""
        named = {"alg": self.algorithm} | ({} if self.kid is None else {"kid": self.kid})
        head = json.dumps({**named, **(header or {})}).encode()
        message = b".".join(base64url_encode(part) for part in (head, content))
        signature = get_default_algorithms()[self.algorithm].sign(message, self._private)
        return b".".join((message, base64url_encode(signature))).decode()


def key_set(keys: Sequence[SigningKey | Mapping[str, Any]]) -> str:
    """The document that an issuer with these keys publishes."""
    return json.dumps({"keys": [key.jwk if isinstance(key, SigningKey) else key for key in keys]})


class Issuer:
    """A running process that publishes keys at ``url``."""

    def __init__(self, session: aiohttp.ClientSession, process: asyncio.subprocess.Process, port: int) -> None:
        self._session = session
        self._process = process
        self.url = f"http://127.0.0.1:{port}/jwks"

    async def publish(self, *keys: SigningKey | Mapping[str, Any]) -> None:
        """Publish these keys and no others."""
        await self.answer(key_set(keys))

    async def answer(self, body: str, status: int = 200, **headers: str) -> None:
        """Answer with this from now on."""
        content = {"status": status, "headers": headers, "body": body}
        async with self._session.post(self.url.replace("/jwks", "/answer"), json=content) as said:
            assert said.status == 200

    async def asked(self) -> int:
        """How often the keys have been fetched."""
        async with self._session.get(self.url.replace("/jwks", "/asked")) as said:
            return int(await said.text())

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Takes connections and answers nothing, until the block ends."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def die(self) -> None:
        """Be gone."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    """A process that ends with the block, or with this process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.issuer_process"),
        cwd=_CHECKOUT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        made = Issuer(session, process, port)
        try:
            yield made
        finally:
            await made.die()
