"""Free loopback ports."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

_LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def reserved_port(wanted: int | None = None) -> Iterator[int]:
    """The wanted TCP port if it is free, else another, kept from other checkouts while the block runs.

    A server binds its port a second or more after it was chosen. Until then the UDP port of the same number
    says that it is taken: the system releases it with its holder, and it works between different users.
    """
    for port in (wanted, *(None for _ in range(20))):
        with socket.socket(type=socket.SOCK_DGRAM) as sign, socket.socket() as probe:
            # As servers do it: a port whose last connections linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sign.bind((_LOOPBACK, port or free_port()))
                probe.bind(sign.getsockname())
            except OSError:
                continue
            probe.close()
            yield int(sign.getsockname()[1])
            return
    raise OSError(f"no free port on {_LOOPBACK}")
