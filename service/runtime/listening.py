"""What an operator reads when a process cannot listen where it should."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from service.runtime.settings import SettingsError

_OF_THE_PORT = {errno.EADDRINUSE: "it is in use", errno.EACCES: "this user may not"}


@contextmanager
def listening(host: str, port: int, *, variable: str = "CLARION_PORT") -> Iterator[None]:
    """SettingsError, which names CLARION_HOST or the variable of the port, when the block cannot listen there."""
    try:
        yield
    except UnicodeError:
        raise SettingsError(f"CLARION_HOST: {host!r} is not the name of a host") from None
    except OSError as error:
        if reason := _OF_THE_PORT.get(error.errno or 0):
            raise SettingsError(f"{variable}: cannot listen on port {port} of {host}: {reason}") from None
        reason = "it is not an address of this machine"
        if isinstance(error, socket.gaierror):
            reason = "there is no such host"
        raise SettingsError(f"CLARION_HOST: cannot listen on {host!r}: {reason}") from None
