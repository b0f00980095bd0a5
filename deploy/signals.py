"""The signals that end a script, from its first line to its last. Standard library only."""

import signal

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hold() -> None:
    """From now on they wait, in this process and in what it becomes.

    Python would answer them with a traceback while it loads a program, and again while it ends.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def release() -> None:
    """Those that have waited come now, and others at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def waiting() -> list[signal.Signals]:
    """Those that have come and were held."""
    return [number for number in STOPPING if number in signal.sigpending() and not ignored(number)]


def ignored(number: signal.Signals) -> bool:
    """Whether the caller wants it to change nothing, as nohup does of a terminal's end."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
