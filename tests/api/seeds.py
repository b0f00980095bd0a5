"""What two published descriptions of the Conversations API name: an older one in Swagger and the newest in words.

Names only, copied from there: first what each route takes, then what objects hold. Left out are start_at of a
conversation and the subject of a batch, which no Canvas answers.
"""

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

CONVERSATION = frozenset(
    {"id", "subject", "workflow_state", "last_message", "last_message_at", "message_count", "subscribed", "private"}
    | {"starred", "properties", "audience", "audience_contexts", "avatar_url", "participants", "visible"}
)
NAMED_CONVERSATION = CONVERSATION | {"context_name"}
PARTICIPANT = frozenset({"id", "name", "full_name"})
MESSAGE = frozenset(
    {"id", "created_at", "body", "author_id", "generated", "media_comment", "forwarded_messages", "attachments"}
)
MEDIA_COMMENT = frozenset({"display_name", "content-type", "media_id", "media_type", "url"})
ATTACHMENT = frozenset({"id", "uuid", "display_name", "content-type", "filename", "url"})
BATCH = frozenset({"id", "workflow_state", "completion", "tags", "message"})
