"""What a dry run is answered with (CONTRACT 3.2)."""

from service.application.messages.dry_run import Preview
from service.application.presentation.shapes import DryRun
from service.domain.dry_run import MOST_SHOWN


def present_preview(preview: Preview) -> DryRun:
    """The first of the rejected recipients, and how many there are."""
    return {
        "dry_run": True,
        "mode": "async" if preview.asynchronous else "sync",
        "kind": preview.kind,
        "total": preview.total,
        "new_conversations": preview.new_conversations,
        "reused_conversations": preview.reused_conversations,
        "limit": preview.limit,
        "rejected": [{"recipient": each.recipient, "reason": each.reason} for each in preview.rejected[:MOST_SHOWN]],
        "rejected_count": len(preview.rejected),
    }
