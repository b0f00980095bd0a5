"""How long a gateway may take to stop (deploy/README.md): the sum of what it waits for, whatever the database does.

How long it does take says something about the machine; tests/faults/test_stopping.py has a request that hangs.
"""

from service.api import deadline, server, throttle
from service.runtime import broker, postgres
from service.runtime.settings import Settings

PROMISED = 30.0  # seconds


def test_the_waits_of_a_stop_keep_the_promise_together() -> None:
    default = {name: field.default for name, field in Settings.model_fields.items()}
    given_up = deadline.FINISH + deadline.UNDOING * default["request_timeout"]  # then its connection is cut

    requests = max(server.DRAIN, given_up)
    closing = throttle.FINISH + broker.CLOSE_TIMEOUT + postgres.CLOSE_TIMEOUT

    assert default["drain_delay"] + requests + closing < PROMISED
