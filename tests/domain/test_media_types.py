"""Which media type a client would rather have (service/domain/media_types.py)."""

import pytest

from service.domain.media_types import quality


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", 1.0),
        ("TEXT/CSV; charset=utf-8", 1.0),
        ("application/json, text/csv ; q=0.5", 0.5),
        ("text/csv;q=0", 0.0),
        ("text/csv;Q=0.25;header=present", 0.25),
        ("text/*;q=0.3", 0.3),
        ("text/*, text/csv;q=0.1", 0.1),  # the more specific one decides
        ("text/csv;q=0.2, text/csv;q=0.4", 0.4),
        ("text/csv;q=much", 1.0),
        ("text/csv;q=7, */*", 1.0),
        ("*/*", 0.0),
        ("", 0.0),
        (";,,=;q", 0.0),
    ],
)
def test_what_is_wanted_how_much(accept: str, expected: float) -> None:
    assert quality(accept, "text/csv", "text/*") == expected
