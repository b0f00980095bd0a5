from datetime import UTC, datetime, timedelta

import pytest

from service.domain.attachments import download_url, locked, mime_class

NOW = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("image/png", "image"),
        ("application/pdf", "pdf"),
        ("application/msword", "doc"),
        ("text/html; charset=utf-8", "html"),
        ("text/plain", "text"),
        ("application/octet-stream", "file"),
        ("", "file"),
        (None, "file"),
    ],
)
def test_the_kind_follows_the_type(content_type: str | None, kind: str) -> None:
    assert mime_class(content_type) == kind


def test_a_file_is_locked_before_it_opens_and_after_it_closes() -> None:
    assert not locked(NOW, unlock_at=None, lock_at=None)
    assert locked(NOW, unlock_at=NOW + HOUR, lock_at=None)
    assert not locked(NOW, unlock_at=NOW, lock_at=NOW + HOUR)
    assert locked(NOW, unlock_at=None, lock_at=NOW)


def test_the_address_carries_the_verifier() -> None:
    assert download_url("https://x.test", 5, "abc") == ("https://x.test/files/5/download?download_frd=1&verifier=abc")
    assert download_url("https://x.test", 5, None) == "https://x.test/files/5/download?download_frd=1"
