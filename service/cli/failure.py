"""How a command says that it failed."""


class Failed(Exception):
    """The command could not do its work; the message is the one line the caller reads."""
