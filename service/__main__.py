"""``clarion``, or ``python -m service``."""

from importlib import import_module


def main() -> None:
    """The command line. Ctrl-C while it is loaded, or between two steps, is no fault that has to be traced."""
    try:
        import_module("service.cli").main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
