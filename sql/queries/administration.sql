-- name: deleted_messages :many
-- What users have deleted from their views, newest deletion first (endpoints.md 4.15).
SELECT v.message_id AS id, v.conversation_id, m.send_id, v.user_id, v.deleted_at
FROM (SELECT DISTINCT u.id FROM unnest(:user_ids::bigint[]) AS u(id)) asked
CROSS JOIN LATERAL (
    SELECT conversation_id, message_id, user_id, deleted_at FROM message_views
    WHERE user_id = asked.id AND deleted_at IS NOT NULL
      AND (:conversation_id::bigint IS NULL OR conversation_id = :conversation_id::bigint)
      AND (:before::timestamptz IS NULL OR deleted_at < :before::timestamptz)
      AND (:after::timestamptz IS NULL OR deleted_at > :after::timestamptz)
    OFFSET 0
) v
CROSS JOIN LATERAL (
    SELECT send_id FROM conversation_messages
    WHERE conversation_id = v.conversation_id AND id = v.message_id OFFSET 0
) m
ORDER BY v.deleted_at DESC, v.message_id DESC, v.user_id;

-- name: restore_message :none
-- Gives a user back what they deleted; the row stays, because it may be what makes a restricted message theirs.
UPDATE message_views SET deleted_at = NULL
WHERE conversation_id = :conversation_id::bigint AND user_id = :user_id::bigint AND message_id = :message_id::bigint
  AND deleted_at IS NOT NULL;

-- name: delete_for_all :value
-- Takes a conversation from all of its participants. It stays stored with its messages, and is in no list any more; that
-- it was taken is noted, so that no audit gives it back.
WITH noted AS (
    INSERT INTO taken_conversations (conversation_id)
    SELECT id FROM conversations WHERE id = :conversation_id::bigint
    ON CONFLICT DO NOTHING
), taken AS (
    DELETE FROM participants WHERE conversation_id = :conversation_id::bigint
), views AS (
    DELETE FROM message_views WHERE conversation_id = :conversation_id::bigint
)
SELECT EXISTS (SELECT FROM conversations WHERE id = :conversation_id::bigint) AS known;
