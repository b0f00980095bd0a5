-- name: visible_messages :many
-- The messages of conversations that a user has and has not deleted, newest first; only the given ones unless null.
SELECT m.id, m.conversation_id, m.send_id
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT id, conversation_id, send_id, created_at FROM participant_messages
    WHERE conversation_id = asked.id AND user_id = :user_id::bigint AND deleted_at IS NULL
      AND (:message_ids::bigint[] IS NULL OR id = ANY (:message_ids::bigint[])) OFFSET 0
) m
ORDER BY m.conversation_id, m.created_at DESC, m.send_id DESC, m.id DESC;

-- name: forwarded_messages :many
-- Everything that the given sends forward, and what that forwards in turn, each message once. A message can only
-- forward older ones, so this ends. Levels are worked out from the top, and no further than the limit is from there.
WITH RECURSIVE tree AS (
    SELECT s.forwarded_conversation_id AS conversation_id, f.id
    FROM unnest(:send_ids::bigint[]) AS asked(id)
    CROSS JOIN LATERAL (
        SELECT forwarded_conversation_id, forwarded_message_ids FROM sends WHERE id = asked.id OFFSET 0
    ) s
    CROSS JOIN unnest(s.forwarded_message_ids) AS f(id)
    UNION
    SELECT s.forwarded_conversation_id, f.id
    FROM tree t
    CROSS JOIN LATERAL (
        SELECT send_id FROM conversation_messages WHERE conversation_id = t.conversation_id AND id = t.id OFFSET 0
    ) m
    CROSS JOIN LATERAL (
        SELECT forwarded_conversation_id, forwarded_message_ids FROM sends WHERE id = m.send_id OFFSET 0
    ) s
    CROSS JOIN unnest(s.forwarded_message_ids) AS f(id)
)
SELECT t.id, t.conversation_id, m.send_id, s.size
FROM (SELECT * FROM tree LIMIT :limit::bigint) t
CROSS JOIN LATERAL (
    SELECT send_id FROM conversation_messages WHERE conversation_id = t.conversation_id AND id = t.id OFFSET 0
) m
CROSS JOIN LATERAL (SELECT octet_length(body) AS size FROM sends WHERE id = m.send_id OFFSET 0) s;

-- name: message_details :many
-- What messages say, and who has a row of each, deleted or not: participant_messages asked for a message that is known
-- already, so that nothing is joined that could be joined in a bad order. A batch's template has a send and no
-- conversation.
SELECT asked.id, s.created_at, s.author_id, s.body, s.added_user_ids, s.attachment_ids, s.forwarded_message_ids,
       s.media_id, media.media_type, media.title AS media_title,
       array(
           SELECT p.user_id FROM participants p
           WHERE p.conversation_id = asked.conversation_id
             AND (NOT restricted.it AND (p.history_from IS NULL OR s.created_at >= p.history_from)
                  OR EXISTS (SELECT FROM message_views v WHERE v.conversation_id = p.conversation_id
                             AND v.user_id = p.user_id AND v.message_id = asked.id OFFSET 0))
           ORDER BY p.user_id
       ) AS participating_user_ids
FROM unnest(:message_ids::bigint[], :conversation_ids::bigint[], :send_ids::bigint[])
     AS asked(id, conversation_id, send_id)
CROSS JOIN LATERAL (SELECT * FROM sends WHERE id = asked.send_id OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM messages m WHERE m.conversation_id = asked.conversation_id AND m.id = asked.id
                   AND m.restricted) AS it
) restricted
LEFT JOIN media_objects media ON media.media_id = s.media_id;

-- name: attachments_by_id :many
-- The files of messages, deleted ones too: a message keeps what it was sent with (CONTRACT 6.18).
SELECT a.id, a.uuid, a.folder_id, a.display_name, a.filename, a.content_type, a.url, a.size, a.created_at,
       coalesce(a.updated_at, a.as_of) AS updated_at, a.unlock_at, a.lock_at, a.thumbnail_url, statement_timestamp() AS seen_at
FROM attachments a
WHERE a.id = ANY (:attachment_ids::bigint[]);
