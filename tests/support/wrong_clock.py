"""A process whose clock is wrong, as a machine's may be: what it asks its own clock is so many seconds ahead."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# Python imports a module of this name before anything else.
_SITECUSTOMIZE = """
import datetime, time

right, ahead = datetime.datetime, {ahead}


class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, right)


class Wrong(right, metaclass=Kind):
    def __new__(cls, *parts, **named):
        return right(*parts, **named)

    @classmethod
    def now(cls, tz=None):
        return right.now(tz) + datetime.timedelta(seconds=ahead)


datetime.datetime = Wrong
right_time = time.time
time.time = lambda: right_time() + ahead
"""


@contextmanager
def wrong_clock(ahead: float) -> Iterator[dict[str, str]]:
    """The environment of such a process; ``ahead`` in seconds, negative for a clock that is late."""
    with TemporaryDirectory(prefix="clarion-clock-") as folder:
        Path(folder, "sitecustomize.py").write_text(_SITECUSTOMIZE.format(ahead=ahead))
        yield {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}
