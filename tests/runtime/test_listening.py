"""Why a process cannot listen, in one line that names the setting to change."""

import errno
import socket

import pytest

from service.runtime.listening import listening
from service.runtime.settings import SettingsError

OF_THE_HOST = "CLARION_HOST: cannot listen on '10.9.8.7': "


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "no"), "CLARION_PORT: cannot listen on port 80 of 10.9.8.7: this user may not"),
        (OSError(errno.EADDRINUSE, "no"), "CLARION_PORT: cannot listen on port 80 of 10.9.8.7: it is in use"),
        (OSError(errno.EADDRNOTAVAIL, "no"), OF_THE_HOST + "it is not an address of this machine"),
        (socket.gaierror(socket.EAI_NONAME, "no"), OF_THE_HOST + "there is no such host"),
    ],
)
def test_the_reason_is_given_in_words(error: OSError, line: str) -> None:
    """Raised by hand: an administrator, as whom tests may run, may listen on every port."""
    with pytest.raises(SettingsError) as refused, listening("10.9.8.7", 80):
        raise error

    assert str(refused.value) == line
