"""Why the broker cannot be used, in plain words."""

from urllib.parse import unquote, urlsplit

from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.exceptions import (
    AMQPConnectionError,
    IncompatibleProtocolError,
    InvalidFrameError,
    ProbableAuthenticationError,
)


def unreachable(url: str, error: BaseException) -> str:
    """One line that names the variable, the node without its password, and the reason."""
    try:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        host = unquote(parts.path[1:]) or "/"
    except ValueError:
        place, host = "what it names", "/"
    why = reason_of(error)
    if isinstance(error, InvalidFrameError) and "OpenOk" in str(error):
        # The broker has said this, and aiormq does not pass it on.
        why = f"there is no virtual host {host!r}, or this user may not use it"
    return f"CLARION_AMQP_URL: cannot reach {place}: {why}"


def reason_of(error: BaseException) -> str:
    """What an error of the AMQP libraries means, in one line and never empty."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ProbableAuthenticationError():
            return "the login was refused: user or password is wrong"
        case IncompatibleProtocolError():
            return "what answers there is no RabbitMQ"
        case DeliveryError() if not isinstance(error, PublishError):
            return "a queue that it was routed to refused it: it is full, or cannot be used"
        case AMQPConnectionError() if "bytes expected" in str(error):
            return "the connection was closed: what answers there may be no RabbitMQ"
        case _:
            return " ".join(str(error).split()) or type(error).__name__
