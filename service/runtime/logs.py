"""structlog set up once per process; lines go to stderr. Ids are bound as context variables at the edge."""

import logging
import sys

import structlog

from service.runtime.settings import Settings
from service.runtime.tracing import add_trace


def configure(settings: Settings) -> None:
    """JSON lines by default, coloured text for CLARION_LOG_FORMAT=console."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard library; their lines are written in the same way.
    handler = logging.StreamHandler(sys.stderr)
    finish = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[finish, renderer]))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    # A connection that cannot be had is logged by who wanted it, in plain words (service/runtime/broker.py).
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)


def silence() -> None:
    """For a command that says itself what went wrong, in one line: no other lines stand beside it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
