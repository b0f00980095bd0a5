"""When a send that is to start later may start (CONTRACT 3.2)."""

from datetime import UTC, datetime, timedelta

from service.domain.errors import invalid

LONGEST = timedelta(days=366)  # that a send may be scheduled ahead


def parse_start(text: str) -> datetime | None:
    """The moment that ``send_at`` names, in UTC; None unless it is ISO 8601 with a time of day and a zone.

    A number, a date alone and a time without a zone are none: who means another zone would not notice.
    """
    text = text.strip()
    if not text.isascii() or not any(separator in text for separator in "Tt "):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):  # a moment of the year 1 or 9999 may lie in no year of UTC
        return None


def start_of(send_at: str | None) -> datetime | None:
    """The moment of the parameter ``send_at``; None when it is absent or blank, Refusal for what is no moment."""
    if send_at is None or not send_at.strip():
        return None
    moment = parse_start(send_at)
    if moment is None:
        raise invalid("send_at", "invalid")
    return moment
