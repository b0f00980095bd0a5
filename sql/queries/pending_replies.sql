-- name: queue_reply :one
-- A reply to a conversation of many, behind those that wait there already.
INSERT INTO pending_replies (conversation_id, message_id, send_id, recipients, included_message_ids, tags, user_note,
                             due_at)
VALUES ($1::bigint, $2::bigint, $3::bigint, $4::bigint[], $5::bigint[], $6::text[], $7::boolean, $8::timestamptz)
RETURNING id;

-- name: conversation_of_reply :one
-- Where a commanded reply waits; no row: delivered, or given up.
SELECT conversation_id FROM pending_replies WHERE id = $1::bigint AND failed_at IS NULL;

-- name: first_waiting_reply :one
-- The reply whose turn it is in a conversation that this transaction has locked, with all its delivery needs. One that
-- failed keeps its place, and all others wait behind it until it is due and commanded itself.
SELECT r.*, s.author_id, s.created_at, s.private, s.has_attachments, s.has_media_objects
FROM (
    SELECT * FROM pending_replies WHERE conversation_id = $1::bigint AND failed_at IS NULL ORDER BY id LIMIT 1
) r
JOIN sends s ON s.id = r.send_id
WHERE r.attempts = 0 OR r.id = $2::bigint;

-- name: finish_reply :none
-- Delivered in the same transaction; whoever is commanded to do it again finds nothing.
DELETE FROM pending_replies WHERE id = $1::bigint;

-- name: postpone_reply :one
-- A delivery failed: note why, and wait twice as long as after the failure before; after the last attempt, give it up
-- and let the others pass.
UPDATE pending_replies
SET attempts = attempts + 1, error = $2::text, due_at = $3::timestamptz + $4::interval * 2 ^ attempts,
    failed_at = CASE WHEN attempts + 1 >= $5::integer THEN $3::timestamptz END
WHERE id = $1::bigint AND failed_at IS NULL
RETURNING failed_at IS NOT NULL AS given_up;

-- name: take_due_replies :many
-- The first in the line of every conversation whose replies nobody delivers: publish again. Several sweepers share the
-- work. Those behind it come with it.
UPDATE pending_replies r SET due_at = $2::timestamptz
FROM (
    SELECT d.id FROM pending_replies d
    WHERE d.failed_at IS NULL AND d.due_at <= $1::timestamptz AND NOT EXISTS (
        SELECT FROM pending_replies before
        WHERE before.conversation_id = d.conversation_id AND before.failed_at IS NULL AND before.id < d.id
    )
    ORDER BY d.due_at
    LIMIT $3::integer
    FOR UPDATE OF d SKIP LOCKED
) due
WHERE r.id = due.id
RETURNING r.id;
