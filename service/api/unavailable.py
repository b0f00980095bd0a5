"""Why a request is answered with 503."""


class Unavailable(Exception):
    """The request cannot be carried out now; nothing of it takes effect later, and it may be sent again."""
