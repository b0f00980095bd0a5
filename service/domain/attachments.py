"""Files in messages: what is derived about them when they are shown (canvas/endpoints.md 3.2.2)."""

from datetime import datetime

_CLASSES = {
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "doc",
    "application/vnd.oasis.opendocument.text": "doc",
    "application/rtf": "doc",
    "text/rtf": "doc",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "ppt",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xls",
    "application/vnd.oasis.opendocument.spreadsheet": "xls",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
    "text/html": "html",
    "application/x-shockwave-flash": "flash",
    "text/x-csharp": "code",
    "text/x-python": "code",
    "application/javascript": "code",
}
_FAMILIES = {"image": "image", "audio": "audio", "video": "video", "text": "text"}


def mime_class(content_type: str | None) -> str:
    """The kind of icon a file gets: image, audio, video, text, pdf, doc, …, else file."""
    exact, _, _ = (content_type or "").partition(";")
    family, _, _ = exact.partition("/")
    return _CLASSES.get(exact) or _FAMILIES.get(family, "file")


def locked(now: datetime, *, unlock_at: datetime | None, lock_at: datetime | None) -> bool:
    """Whether the dates of a file keep people out now."""
    return (unlock_at is not None and now < unlock_at) or (lock_at is not None and lock_at <= now)


def download_url(base_url: str, attachment_id: int, uuid: str | None) -> str:
    """Where a file is fetched when its event brought no address of its own (CONTRACT 6.8)."""
    verifier = f"&verifier={uuid}" if uuid else ""
    return f"{base_url}/files/{attachment_id}/download?download_frd=1{verifier}"
