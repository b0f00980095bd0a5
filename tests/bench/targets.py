"""What the figures of a run have to reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A limit for one figure, by its name in the report."""

    figure: str
    limit: float
    at_least: bool = False

    def judge(self, figures: Mapping[str, float]) -> dict[str, Any]:
        """The line of the report."""
        value = figures[self.figure]
        met = value >= self.limit if self.at_least else value <= self.limit
        return {"target": f"{self.figure} {'≥' if self.at_least else '≤'} {self.limit:g}", "value": value, "met": met}


TARGETS = (
    Target("rate_to_raw_copy", 0.85, at_least=True),
    Target("rate_to_canvas_way", 60, at_least=True),
    Target("rate_to_message_per_recipient", 100, at_least=True),
    Target("wal_bytes_per_recipient", 1000),
    Target("stored_bytes_per_recipient", 600),
    Target("statements_per_chunk", 4),
    Target("redelivery_share", 0.05),
    Target("redelivery_rows_written", 0),
    Target("peak_megabytes_api", 150),
    Target("peak_megabytes_worker", 150),
    Target("rate_with_events_to_without", 0.9, at_least=True),
    Target("relay_to_bare_socket", 0.9, at_least=True),
    Target("sets_events_per_second", 60_000, at_least=True),
    Target("accept_share", 0.15),
    Target("reuse_to_new", 0.75, at_least=True),
    Target("reuse_while_relaying_to_new", 0.6, at_least=True),
    Target("rate_with_past_to_empty", 0.65, at_least=True),
    Target("list_page_large_to_small", 2),
    Target("unread_count_large_to_small", 10),
    Target("reading_unread_count_to_bare", 0.5, at_least=True),
    Target("reading_list_page_to_bare", 0.25, at_least=True),
    Target("reading_unread_count_p99_to_p50", 3),
    Target("reading_list_page_p99_to_p50", 3),
    Target("livez_beside_costly_bodies_max_ms", 100),
    Target("list_during_sends_to_idle", 2),
    Target("show_during_sends_to_idle", 2),
    Target("unread_count_during_sends_to_idle", 2),
    Target("post_during_sends_to_idle", 2),
    Target("seen_in_time_share", 1, at_least=True),
    Target("seen_in_time_p99_to_idle_and_chunk", 1),
    Target("million_accept_to_ten_times", 1.5),
    Target("million_rate_to_hundred_thousand", 0.9, at_least=True),
    Target("million_memory_api_to_hundred_thousand", 1.2),
    Target("million_memory_worker_to_hundred_thousand", 1.2),
    Target("senders_together_jain", 0.95, at_least=True),
    Target("small_send_without_chunk_to_idle", 2),
    Target("single_post_amid_big_to_idle", 2),
)
