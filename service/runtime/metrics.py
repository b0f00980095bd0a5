"""Figures for Prometheus, each where it is counted: the table is in deploy/README.md.

Labels come from short fixed lists: a route's template, never a path.
"""

from math import nan
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    Summary,
    generate_latest,
)

ProcessKind = Literal["api", "worker"]

# A figure that a process never counts would stand at 0 there for ever.
API, WORKER = REGISTRIES = CollectorRegistry(), CollectorRegistry()
for _registry in REGISTRIES:
    ProcessCollector(registry=_registry)
    PlatformCollector(registry=_registry)
    GCCollector(registry=_registry)

UNKNOWN = nan  # of a figure that was read and cannot be now

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("clarion_http_requests", "HTTP requests answered", ["method", "route", "status"], registry=API)
REQUEST_SECONDS = Histogram(
    "clarion_http_request_seconds", "Time to answer a request", ["method", "route"], buckets=_SECONDS, registry=API
)
REQUESTS_OPEN = Gauge("clarion_http_requests_open", "HTTP requests being answered", registry=API)
REQUESTS_SLOW = Counter(
    "clarion_http_requests_slow",
    "Requests that took a second or more to answer, streams apart",
    ["method", "route"],
    registry=API,
)
BATCH_STREAMS_OPEN = Gauge("clarion_batch_streams_open", "Event streams of batches that are open", registry=API)
THROTTLED = Counter("clarion_http_requests_throttled", "HTTP requests turned away by throttling", registry=API)
QUEUE_MESSAGES = Gauge(
    "clarion_queue_messages", "Messages that wait in a queue, those apart that a consumer has", ["queue"], registry=API
)
QUEUE_CONSUMERS = Gauge("clarion_queue_consumers", "Workers that consume from a queue", ["queue"], registry=API)
JWT_KEYS = Gauge("clarion_jwt_keys", "Keys of the institution's issuer that can verify sign-ins", registry=API)
JWT_KEY_FETCHES = Counter(
    "clarion_jwt_key_fetches", "Looks for the issuer's keys, by whether there were any", ["outcome"], registry=API
)
for _outcome in ("fetched", "failed"):
    JWT_KEY_FETCHES.labels(_outcome)

BATCHES_ACCEPTED = Counter("clarion_batches_accepted", "Batches accepted", registry=None)
TOPOLOGY_FAULTS = Gauge(
    "clarion_topology_faults",
    "1 for each exchange or queue that is not as it should be",
    ["kind", "name", "problem"],
    registry=None,
)
DEGRADED = Gauge(
    "clarion_degraded", "1 for each part that this process does without right now", ["part"], registry=None
)
CHUNKS_DELIVERED = Counter("clarion_chunks_delivered", "Chunks written by this process", registry=None)
CHUNKS_FAILED = Counter("clarion_chunks_failed", "Attempts at a chunk that failed", registry=None)
CHUNK_SECONDS = Histogram("clarion_chunk_seconds", "Time to write one chunk", buckets=_SECONDS, registry=None)
RECIPIENTS_DELIVERED = Counter("clarion_recipients_delivered", "Recipients written by this process", registry=None)
POOL_WAIT_SECONDS = Histogram(
    "clarion_pool_wait_seconds", "Time to get a connection to the database", buckets=_SECONDS, registry=None
)
POOL_WAITING = Gauge("clarion_pool_waiting", "What waits for a connection to the database", registry=None)
POOL_TIMEOUTS = Counter(
    "clarion_pool_timeouts", "Waits for a connection to the database that were given up", registry=None
)
STATEMENT_SECONDS = Summary("clarion_statement_seconds", "Time of statements by name", ["statement"], registry=None)
STATEMENTS_SLOW = Counter(
    "clarion_statements_slow", "Statements that took a second or more", ["statement"], registry=None
)
BACKLOG = Gauge("clarion_backlog", "What was accepted and is not done", ["kind"], registry=None)
BACKLOG_AGE = Gauge("clarion_backlog_age_seconds", "For how long the first of it has waited", ["kind"], registry=None)
STUCK = Gauge("clarion_stuck", "What waits longer than it should", ["kind"], registry=None)
OUTBOX_LAG = Gauge("clarion_outbox_lag_seconds", "Age of the oldest event that is not published", registry=None)
for _registry in REGISTRIES:
    _registry.register(POOL_WAIT_SECONDS)
    _registry.register(POOL_WAITING)
    _registry.register(POOL_TIMEOUTS)
    _registry.register(STATEMENT_SECONDS)
    _registry.register(STATEMENTS_SLOW)
    _registry.register(BATCHES_ACCEPTED)
    _registry.register(TOPOLOGY_FAULTS)
    _registry.register(DEGRADED)
    _registry.register(CHUNKS_DELIVERED)
    _registry.register(CHUNKS_FAILED)
    _registry.register(CHUNK_SECONDS)
    _registry.register(RECIPIENTS_DELIVERED)
    _registry.register(BACKLOG)
    _registry.register(BACKLOG_AGE)
    _registry.register(STUCK)
    _registry.register(OUTBOX_LAG)

SCHEDULED_STARTS = Counter("clarion_scheduled_starts", "Scheduled batches whose time has come", registry=WORKER)
CHUNKS_DELIVERED_EARLY = Counter(
    "clarion_chunks_delivered_early", "Of those, chunks written because a recipient asked", registry=API
)
UPDATES_FINISHED = Counter("clarion_batch_updates_finished", "Batch updates at their end", ["state"], registry=WORKER)
DIRECTORY_EVENTS = Counter(
    "clarion_directory_events", "Directory events taken off the queue", ["outcome"], registry=WORKER
)
DIRECTORY_SET_SECONDS = Histogram(
    "clarion_directory_set_seconds", "Time to write one set of directory events", buckets=_SECONDS, registry=WORKER
)
REQUESTS_HANDLED = Counter(
    "clarion_requests_handled",
    "Requests over AMQP that were handled, by the status of the answer",
    ["status"],
    registry=WORKER,
)
ANSWERS_LOST = Counter(
    "clarion_answers_lost", "Answers that the queue they were for did not take", ["reason"], registry=WORKER
)
EVENTS_PUBLISHED = Counter("clarion_events_published", "Events confirmed by the broker", ["event"], registry=WORKER)
EVENTS_UNROUTABLE = Counter(
    "clarion_events_unroutable", "Those of them that no queue wanted", ["event"], registry=WORKER
)
EVENTS_UNCONFIRMED = Counter(
    "clarion_events_unconfirmed",
    "Events that were published and not confirmed in time, each time anew",
    ["event"],
    registry=WORKER,
)

AUDIT_BATCHES = Counter("clarion_audit_batches", "Ends of batches that were audited", registry=WORKER)
AUDIT_RECIPIENTS = Counter(
    "clarion_audit_recipients", "Recipients that were compared with their inboxes", registry=WORKER
)
AUDIT_DIFFERENCES = Counter(
    "clarion_audit_differences", "Differences that audits have found, by what differed", ["kind"], registry=WORKER
)
AUDIT_LAG = Gauge(
    "clarion_audit_lag_seconds",
    "How long ago the first batch ended that is not audited, as an auditor last saw it",
    registry=WORKER,
)
for _kind in ("missing", "counters", "unlisted"):
    AUDIT_DIFFERENCES.labels(_kind)  # at 0 from the start, so that the first one is an increase
for _reason in ("unroutable", "not confirmed"):
    ANSWERS_LOST.labels(_reason)
_MINUTES = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0)
LAST_INBOX_SECONDS = Histogram(
    "clarion_last_inbox_seconds",
    "From when a bulk send could begin to its last inbox, where it went through in one go",
    buckets=_MINUTES,
    registry=WORKER,
)
BATCH_SECONDS = Histogram(
    "clarion_batch_seconds",
    "From a bulk send's first delivery to its end",
    ["state"],
    buckets=_MINUTES,
    registry=WORKER,
)
DAY_RECIPIENTS = Gauge(
    "clarion_day_recipients", "Recipients of bulk sends that went through in one go", ["day"], registry=WORKER
)
DAY_IN_TIME = Gauge(
    "clarion_day_in_time_ratio", "Share of those recipients who had it within ten seconds", ["day"], registry=WORKER
)
FORGOTTEN = Counter("clarion_forgotten", "What was removed after CLARION_RETENTION_DAYS", ["kind"], registry=WORKER)
DEAD_LETTERS = Counter(
    "clarion_dead_letters", "Dead letters that were made, by their queue", ["source"], registry=WORKER
)
CONSUMER_ERRORS = Counter(
    "clarion_consumer_errors",
    "Attempts of consumers that did not end well, by what became of the work",
    ["consumer", "outcome"],
    registry=WORKER,
)
SWEEPS_FAILED = Counter("clarion_sweeps_failed", "Sweeps that an error ended", ["sweeper"], registry=WORKER)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def begin_consumer(name: str, queue: str) -> None:
    """Has the figures of a consumer stand at 0, so that the first of what they count is an increase."""
    for outcome in ("held", "blocked", "failed", "given_up"):
        CONSUMER_ERRORS.labels(name, outcome)
    DEAD_LETTERS.labels(queue)


def exposition(process: ProcessKind = "api") -> bytes:
    """What a process of that kind counts, in Prometheus's text format."""
    return generate_latest(API if process == "api" else WORKER)
