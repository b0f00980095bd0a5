-- name: open_group :none
-- One conversation with everybody; the author has sent, the others have received (endpoints.md 4.2).
WITH opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    VALUES ($1::bigint, $2::bigint, $3::integer, $3::integer, $4::boolean, $5::boolean)
)
INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
                          tag_set, message_count, unread, has_attachments, has_media_objects)
SELECT $1::bigint, u.user_id,
       CASE WHEN u.user_id <> $6::bigint THEN $7::timestamptz END,
       CASE WHEN u.user_id = $6::bigint THEN $7::timestamptz END,
       CASE WHEN u.user_id = $6::bigint THEN $7::timestamptz END,
       u.tag_set, 1, u.user_id <> $6::bigint, $4::boolean, $5::boolean
FROM unnest($8::bigint[], $9::integer[]) AS u(user_id, tag_set)
ORDER BY u.user_id;

-- name: retag_participants :none
-- New tags of rows in reused threads, in the order of the rows' key.
UPDATE participants p SET tag_set = u.tag_set
FROM unnest($1::bigint[], $2::bigint[], $3::integer[]) AS u(conversation_id, user_id, tag_set)
WHERE p.conversation_id = u.conversation_id AND p.user_id = u.user_id;

-- name: conversation_tag_sets :many
-- What reused conversations were filed under so far.
SELECT id, tag_set FROM conversations WHERE id = ANY ($1::bigint[]);

-- name: retag_conversations :none
-- A conversation collects the tags of its messages (semantics.md 4.2 step 5).
UPDATE conversations c SET tag_set = u.tag_set
FROM unnest($1::bigint[], $2::integer[]) AS u(id, tag_set)
WHERE c.id = u.id;

-- name: order_of_new_threads :many
-- The order in which a synchronous bulk create answers (endpoints.md 4.2).
SELECT conversation_id
FROM participants
WHERE user_id = $1::bigint AND conversation_id = ANY ($2::bigint[])
ORDER BY visible_last_authored_at DESC, last_message_at DESC, conversation_id DESC;
