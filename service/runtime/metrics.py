"""Figures for Prometheus. Labels come from short fixed lists: a route's template, never a path."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("clarion_http_requests", "HTTP requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "clarion_http_request_seconds", "Time to answer a request", ["method", "route"], buckets=_SECONDS
)
REQUESTS_OPEN = Gauge("clarion_http_requests_open", "HTTP requests being answered")
THROTTLED = Counter("clarion_http_requests_throttled", "HTTP requests turned away by throttling")

BATCHES_ACCEPTED = Counter("clarion_batches_accepted", "Batches accepted")
CHUNKS_DELIVERED = Counter("clarion_chunks_delivered", "Chunks written by this process")
CHUNKS_FAILED = Counter("clarion_chunks_failed", "Attempts at a chunk that failed")
CHUNK_SECONDS = Histogram("clarion_chunk_seconds", "Time to write one chunk", buckets=_SECONDS)
RECIPIENTS_DELIVERED = Counter("clarion_recipients_delivered", "Recipients written by this process")
UPDATES_FINISHED = Counter("clarion_batch_updates_finished", "Batch updates at their end", ["state"])
DIRECTORY_EVENTS = Counter("clarion_directory_events", "Directory events taken off the queue", ["outcome"])
DIRECTORY_SET_SECONDS = Histogram(
    "clarion_directory_set_seconds", "Time to write one set of directory events", buckets=_SECONDS
)
REQUESTS_HANDLED = Counter(
    "clarion_requests_handled", "Requests over AMQP that were handled, by the status of the answer", ["status"]
)
ANSWERS_LOST = Counter("clarion_answers_lost", "Answers that the queue they were for did not take", ["reason"])
TOPOLOGY_FAULTS = Gauge(
    "clarion_topology_faults", "1 for each exchange or queue that is not as it should be", ["kind", "name", "problem"]
)
DEGRADED = Gauge("clarion_degraded", "1 for each part that this process does without right now", ["part"])
EVENTS_PUBLISHED = Counter("clarion_events_published", "Events confirmed by the broker", ["event"])
EVENTS_UNROUTABLE = Counter("clarion_events_unroutable", "Those of them that no queue wanted", ["event"])

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """Everything above in Prometheus's text format."""
    return generate_latest()
