"""Access tokens: opaque to clients, shown once, stored hashed (canvas/conventions.md 2)."""

import hashlib
import re
import secrets

_TOKEN_BYTES = 32
# One per documented route: url:GET|/api/v1/conversations/:id. A HEAD counts as GET.
_SCOPE = re.compile(r"^url:(GET|POST|PUT|PATCH|DELETE)\|/[!-~]{1,500}$", re.ASCII)


def new_token() -> str:
    """A fresh token: 64 hexadecimal digits, 256 random bits, never mistaken for an option of a command."""
    return secrets.token_hex(_TOKEN_BYTES)


def hash_token(token: str) -> bytes:
    """What is stored of a token. A token is random, so a plain SHA-256 cannot be turned round."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def is_scope(text: str) -> bool:
    """Whether a text is a scope: ``url:<METHOD>|<route path with :params>``."""
    return _SCOPE.fullmatch(text) is not None
