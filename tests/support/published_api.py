"""What two published descriptions of the Conversations API name: an older one in Swagger and the newest in words.

Names only, copied from there: first what each route takes, then what its answers hold, ``a.b`` being b of each a.
"""

from collections.abc import Iterable

PARAMETERS: dict[str, frozenset[str]] = {
    "GET /conversations": frozenset(
        {"scope", "filter[]", "filter", "filter_mode", "interleave_submissions", "include_all_conversation_ids"}
        | {"include[]"}
    ),
    "POST /conversations": frozenset(
        {"recipients[]", "subject", "body", "force_new", "group_conversation", "bulk_message", "attachment_ids[]"}
        | {"media_comment_id", "media_comment_type", "mode", "scope", "filter[]", "filter_mode", "context_code"}
        | {"include[]", "user_note"}
    ),
    "GET /conversations/batches": frozenset(),
    "GET /conversations/:id": frozenset(
        {"interleave_submissions", "scope", "filter[]", "filter_mode", "auto_mark_as_read"}
    ),
    "PUT /conversations/:id": frozenset(
        {"conversation[workflow_state]", "conversation[subscribed]", "conversation[starred]"}
        | {"scope", "filter[]", "filter_mode"}
    ),
    "POST /conversations/mark_all_as_read": frozenset(),
    "DELETE /conversations/:id": frozenset(),
    "POST /conversations/:id/add_recipients": frozenset({"recipients[]"}),
    "POST /conversations/:id/add_message": frozenset(
        {"body", "attachment_ids[]", "media_comment_id", "media_comment_type", "recipients[]", "included_messages[]"}
    ),
    "POST /conversations/:id/remove_messages": frozenset({"remove[]"}),
    "PUT /conversations": frozenset({"conversation_ids[]", "event"}),
    "GET /conversations/find_recipients": frozenset(),
    "GET /conversations/unread_count": frozenset(),
}

PARTICIPANT = frozenset({"id", "name", "full_name"})
MEDIA_COMMENT = frozenset({"display_name", "content-type", "media_id", "media_type", "url"})
ATTACHMENT = frozenset({"id", "uuid", "display_name", "content-type", "filename", "url"})
MESSAGE = frozenset(
    {"id", "created_at", "body", "author_id", "generated", "media_comment", "forwarded_messages", "attachments"}
)
CONVERSATION = frozenset(
    {"id", "subject", "workflow_state", "last_message", "last_message_at", "message_count", "subscribed", "private"}
    | {"starred", "properties", "audience", "audience_contexts", "avatar_url", "participants", "visible"}
)
BATCH = frozenset({"id", "workflow_state", "completion", "tags", "message"})


def within(key: str, names: Iterable[str]) -> frozenset[str]:
    """The names as those of an object, or of each object of a list, under the key."""
    return frozenset(f"{key}.{name}" for name in names)


_CONVERSATION = CONVERSATION | within("audience_contexts", {"courses", "groups"}) | within("participants", PARTICIPANT)
_IN_FULL = within("participants", {"avatar_url", "uuid"})
_PARTS = within("media_comment", MEDIA_COMMENT) | within("attachments", ATTACHMENT - {"uuid"})
_FORWARDED = within("forwarded_messages", MESSAGE | _PARTS | within("forwarded_messages", MESSAGE | _PARTS))
_MESSAGE = MESSAGE | _PARTS | {"attachments.uuid"} | _FORWARDED

FIELDS: dict[str, frozenset[str]] = {
    "GET /conversations": _CONVERSATION | _IN_FULL | {"context_name"},
    "GET /conversations?include_all_conversation_ids": within("conversations", _CONVERSATION | {"context_name"})
    | {"conversations", "conversation_ids"},
    "POST /conversations": _CONVERSATION | {"messages"} | within("messages", _MESSAGE),
    "GET /conversations/batches": BATCH | within("message", _MESSAGE),
    "GET /conversations/:id": _CONVERSATION
    | _IN_FULL
    | {"context_name", "messages", "submissions"}
    | within("messages", _MESSAGE),
    "PUT /conversations/:id": _CONVERSATION,
    "POST /conversations/mark_all_as_read": frozenset(),
    "DELETE /conversations/:id": _CONVERSATION,
    "POST /conversations/:id/add_recipients": _CONVERSATION | {"messages"} | within("messages", MESSAGE),
    "POST /conversations/:id/add_message": _CONVERSATION | {"messages"} | within("messages", _MESSAGE),
    "POST /conversations/:id/remove_messages": _CONVERSATION,
    "PUT /conversations": frozenset(),  # a Progress, described elsewhere
    "GET /conversations/find_recipients": frozenset(),  # deprecated; described elsewhere
    "GET /conversations/unread_count": frozenset({"unread_count"}),
}

# Named, and in no answer of any Canvas.
UNANSWERED: dict[str, frozenset[str]] = {
    "GET /conversations": frozenset({"start_at"}),
    "GET /conversations/:id": frozenset({"start_at"}),
    "GET /conversations/batches": frozenset({"subject"}),
}
