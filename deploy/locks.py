"""File locks, which the kernel drops when their holder ends, however it ends. Standard library only."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path


def open_lock(path: Path) -> int:
    """A file descriptor to lock; the file is made when missing and never removed."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(fd: int) -> bool:
    """Take the lock alone if no other process has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held(path: Path) -> bool:
    """Whether a living process has the lock."""
    if not path.exists():
        return False
    fd = open_lock(path)
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


@asynccontextmanager
async def alone_here(path: Path) -> AsyncIterator[None]:
    """``alone`` for coroutines: can be cancelled while it waits, which a thread that is within flock cannot."""
    fd = open_lock(path)
    try:
        while True:
            if try_lock(fd):
                break
            await asyncio.sleep(0.05)
        yield
    finally:
        os.close(fd)


@contextmanager
def alone(path: Path, *, busy: str = "") -> Iterator[int]:
    """Hold the lock while the block runs; waits for other holders, after saying why where that takes long.

    The block gets its descriptor: a process that inherits it holds the lock, too, until it ends.
    """
    fd = open_lock(path)
    try:
        if not try_lock(fd):
            if busy:
                print(busy, flush=True)
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def share(fd: int) -> None:
    """Take the lock together with others; waits for one who has it alone."""
    fcntl.flock(fd, fcntl.LOCK_SH)
