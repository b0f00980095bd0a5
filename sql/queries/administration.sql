-- name: deleted_messages :many
-- What users have deleted from their views, newest deletion first (endpoints.md 4.15).
SELECT v.message_id AS id, v.conversation_id, m.send_id, v.user_id, v.deleted_at
FROM message_views v
JOIN conversation_messages m ON m.conversation_id = v.conversation_id AND m.id = v.message_id
WHERE v.user_id = ANY ($1::bigint[]) AND v.deleted_at IS NOT NULL
  AND ($2::bigint IS NULL OR v.conversation_id = $2::bigint)
  AND ($3::timestamptz IS NULL OR v.deleted_at < $3::timestamptz)
  AND ($4::timestamptz IS NULL OR v.deleted_at > $4::timestamptz)
ORDER BY v.deleted_at DESC, v.message_id DESC, v.user_id;

-- name: restore_message :none
-- Gives a user back what they deleted; the row stays, because it may be what makes a restricted message theirs.
UPDATE message_views SET deleted_at = NULL
WHERE conversation_id = $1::bigint AND user_id = $2::bigint AND message_id = $3::bigint AND deleted_at IS NOT NULL;

-- name: delete_for_all :one
-- Takes a conversation from everybody. It stays stored with its messages, and nobody has any of it.
WITH taken AS (
    DELETE FROM participants WHERE conversation_id = $1::bigint
), views AS (
    DELETE FROM message_views WHERE conversation_id = $1::bigint
)
SELECT EXISTS (SELECT FROM conversations WHERE id = $1::bigint) AS known;
