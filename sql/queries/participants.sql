-- name: lock_participant_rows :many
-- A user's rows that are going to change, locked in one order. What the next statement then counts is all there is: a
-- message that is being delivered is either committed, or waits here and adds itself to what will be written.
SELECT p.conversation_id, opening.private, p.archived, p.unread, p.subscribed, p.starred, p.message_count,
       p.last_message_at, p.visible_last_authored_at, p.has_attachments, p.has_media_objects, p.tag_set
FROM (SELECT DISTINCT u.id FROM unnest(:conversation_ids::bigint[]) AS u(id) ORDER BY u.id) asked
CROSS JOIN LATERAL (
    SELECT * FROM participants WHERE conversation_id = asked.id AND user_id = :user_id::bigint FOR UPDATE
) p
CROSS JOIN LATERAL (SELECT send_id FROM conversations WHERE id = p.conversation_id OFFSET 0) c
CROSS JOIN LATERAL (SELECT private FROM sends WHERE id = c.send_id OFFSET 0) opening;

-- name: save_participant_rows :none
-- Rows as they shall be. unread and touched_at stand in no index: where nothing else has changed, the row stays where
-- it is (a HOT update). The limit, here and elsewhere, cuts nothing off (sql/README.md).
UPDATE participants p
SET archived = v.archived, unread = v.unread, subscribed = v.subscribed, starred = v.starred,
    message_count = v.message_count, last_message_at = v.last_message_at,
    visible_last_authored_at = v.visible_last_authored_at, has_attachments = v.has_attachments,
    has_media_objects = v.has_media_objects, tag_set = v.tag_set, touched_at = statement_timestamp()
FROM (
    SELECT *
    FROM unnest(:conversation_ids::bigint[], :archived::boolean[], :unread::boolean[], :subscribed::boolean[],
                :starred::boolean[], :message_count::integer[], :last_message_at::timestamptz[],
                :visible_last_authored_at::timestamptz[], :has_attachments::boolean[], :has_media_objects::boolean[],
                :tag_set::integer[])
         AS u(conversation_id, archived, unread, subscribed, starred, message_count, last_message_at,
              visible_last_authored_at, has_attachments, has_media_objects, tag_set)
    LIMIT cardinality(:conversation_ids)
) v
WHERE p.conversation_id = v.conversation_id AND p.user_id = :user_id::bigint;

-- name: mark_all_read :none
-- Everything that waits in the inbox, or what of the given conversations does; a thread without an answer is in none
-- (endpoints.md 4.6). Locked in the order of lock_participant_rows first, because a delivery may be at the same rows.
WITH waiting AS (
    SELECT conversation_id FROM participants
    WHERE user_id = :user_id::bigint AND last_message_at IS NOT NULL AND NOT archived AND unread
      AND (:conversation_ids::bigint[] IS NULL OR conversation_id = ANY (:conversation_ids))
    ORDER BY conversation_id
    FOR UPDATE
)
UPDATE participants p SET unread = false, touched_at = statement_timestamp()
FROM waiting w
WHERE p.conversation_id = w.conversation_id AND p.user_id = :user_id::bigint;

-- name: hide_messages :column
-- Deletes messages for one user and for no other: the given ones, or with null all that the user has in these
-- conversations.
INSERT INTO message_views AS v (conversation_id, message_id, user_id, deleted_at)
SELECT m.conversation_id, m.id, m.user_id, statement_timestamp()
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT conversation_id, id, user_id FROM participant_messages
    WHERE conversation_id = asked.id AND user_id = :user_id::bigint AND deleted_at IS NULL
      AND (:message_ids::bigint[] IS NULL OR id = ANY (:message_ids::bigint[])) OFFSET 0
) m
ORDER BY m.conversation_id, m.id
ON CONFLICT (conversation_id, user_id, message_id) DO UPDATE SET deleted_at = excluded.deleted_at
RETURNING v.conversation_id;

-- name: remains :many
-- What a user still has of conversations, human messages only, for recounting their row (semantics.md 8). A
-- conversation of which nothing is left gives no row.
SELECT m.conversation_id, count(*)::integer AS message_count,
       max(m.created_at) AS newest, min(m.created_at) AS oldest,
       max(m.created_at) FILTER (WHERE m.created_at <= p.last_message_at) AS nearest,
       max(m.created_at) FILTER (WHERE m.author_id = m.user_id) AS authored,
       bool_or(s.has_attachments) AS has_attachments, bool_or(s.has_media_objects) AS has_media_objects,
       array_agg(m.tag_set ORDER BY m.created_at, m.send_id, m.id) AS tag_sets
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT last_message_at FROM participants
    WHERE conversation_id = asked.id AND user_id = :user_id::bigint OFFSET 0
) p
CROSS JOIN LATERAL (
    SELECT * FROM participant_messages
    WHERE conversation_id = asked.id AND user_id = :user_id::bigint AND deleted_at IS NULL AND NOT generated OFFSET 0
) m
CROSS JOIN LATERAL (SELECT has_attachments, has_media_objects FROM sends WHERE id = m.send_id OFFSET 0) s
GROUP BY m.conversation_id;

-- name: conversations_within :column
-- Those of some conversations that belong to these root accounts and to no other: what a caller who acts as another
-- user gets to see (semantics.md 13). A conversation belongs to those of all its messages (semantics.md 3).
SELECT asked.id
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT bool_and(s.root_account_ids <@ :account_ids::bigint[]) AS within,
           bool_or(s.root_account_ids <> '{}') AS belongs
    FROM (SELECT send_id FROM conversation_messages WHERE conversation_id = asked.id OFFSET 0) m
    CROSS JOIN LATERAL (SELECT root_account_ids FROM sends WHERE id = m.send_id OFFSET 0) s
) roots
WHERE roots.within AND roots.belongs;
