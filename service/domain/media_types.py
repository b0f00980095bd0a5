"""Which media type a client would rather have, by its header Accept (RFC 9110 12.5.1)."""

from collections.abc import Mapping


def quality(accept: str, *names: str) -> float:
    """How much a client wants what goes by these names, the most specific first: 0, not at all, to 1.

    The first of the names that the header has decides; 0 where it has none. A weight that is no number is 1.
    """
    weights = _weights(accept)
    return next((weights[name] for name in names if name in weights), 0.0)


def _weights(accept: str) -> Mapping[str, float]:
    """By media range without its parameters; of one that is there twice the greater weight."""
    found: dict[str, float] = {}
    for media_range in accept.lower().split(","):
        name, *parameters = (part.strip() for part in media_range.split(";"))
        found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 1.0
    return 1.0
