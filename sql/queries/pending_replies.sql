-- name: queue_reply :value
-- A reply to a conversation of many, behind those that wait there already.
INSERT INTO pending_replies (conversation_id, message_id, send_id, recipients, included_message_ids, tags, user_note,
                             due_at, traceparent)
VALUES (:conversation_id::bigint, :message_id::bigint, :send_id::bigint, :recipients::bigint[],
        :included_message_ids::bigint[], :tags::text[], :user_note::boolean, statement_timestamp() + :patience::interval, :traceparent::text)
RETURNING id;

-- name: conversation_of_reply :one
-- Where a commanded reply waits, or was given up; no row: delivered.
SELECT conversation_id, failed_at IS NOT NULL AS given_up FROM pending_replies WHERE id = :reply_id::bigint;

-- name: first_waiting_reply :one
-- The reply whose turn it is in a conversation that this transaction has locked, with all its delivery needs. One that
-- failed, or that a worker may have died of, keeps its place, and all others wait behind it until it is due and
-- commanded itself.
SELECT r.id, r.conversation_id, r.message_id, r.recipients, r.included_message_ids, r.tags, r.user_note,
       r.traceparent, r.send_id, s.author_id, s.created_at, s.private, s.has_attachments, s.has_media_objects
FROM (
    SELECT * FROM pending_replies WHERE conversation_id = :conversation_id::bigint AND failed_at IS NULL
    ORDER BY id LIMIT 1
) r
JOIN sends s ON s.id = r.send_id
WHERE r.attempts = 0 AND r.redeliveries = 0 OR r.id = :commanded_id::bigint;

-- name: given_up_reply :one
-- One that was given up and is commanded again, since its dead letter was requeued: the others have long passed it.
SELECT r.id, r.conversation_id, r.message_id, r.recipients, r.included_message_ids, r.tags, r.user_note,
       r.traceparent, r.send_id, s.author_id, s.created_at, s.private, s.has_attachments, s.has_media_objects
FROM pending_replies r
JOIN sends s ON s.id = r.send_id
WHERE r.id = :reply_id::bigint AND r.failed_at IS NOT NULL;

-- name: finish_reply :none
-- Delivered in the same transaction; a command that comes again finds nothing.
DELETE FROM pending_replies WHERE id = :reply_id::bigint;

-- name: postpone_reply :value
-- A delivery failed: note why, and wait. No row: the failure does not count, or the reply no longer waits.
UPDATE pending_replies
SET attempts = attempts + 1, error = :error::text, tried_at = statement_timestamp(),
    due_at = next_attempt_at(attempts, :first_wait::interval, statement_timestamp())
WHERE id = :reply_id::bigint AND failed_at IS NULL
  AND attempt_counts(attempts, tried_at, :first_wait::interval, statement_timestamp())
RETURNING attempts;

-- name: fail_reply :none
-- No attempt is left: it is kept, because a user wrote it, and lets the others pass.
UPDATE pending_replies SET failed_at = statement_timestamp(), error = :error::text
WHERE id = :reply_id::bigint AND failed_at IS NULL;

-- name: count_reply_redelivery :one
-- A command came back unsettled: count that against the first reply in its line, which is what was being written.
WITH commanded AS (
    SELECT id, conversation_id, failed_at, error FROM pending_replies WHERE id = :reply_id::bigint
), first AS (
    SELECT w.id
    FROM commanded c
    JOIN pending_replies w ON w.conversation_id = c.conversation_id AND w.failed_at IS NULL
    WHERE c.failed_at IS NULL
    ORDER BY w.id
    LIMIT 1
), counted AS (
    UPDATE pending_replies r
    SET redeliveries = r.redeliveries + 1
    FROM first
    WHERE r.id = first.id AND r.failed_at IS NULL
    RETURNING r.id, r.redeliveries
)
SELECT n.redeliveries, CASE WHEN c.failed_at IS NOT NULL THEN c.error END AS given_up
FROM commanded c
LEFT JOIN counted n ON n.id = c.id;

-- name: take_due_replies :many
-- The first in the line of every conversation whose replies were not delivered in time: publish again. Several sweepers
-- share the work. Those behind it come with it.
-- A CTE, because a subquery with a limit may be run again for each row, and take more each time.
WITH due AS MATERIALIZED (
    SELECT d.id FROM pending_replies d
    WHERE d.failed_at IS NULL AND d.due_at <= statement_timestamp() AND NOT EXISTS (
        SELECT FROM pending_replies before
        WHERE before.conversation_id = d.conversation_id AND before.failed_at IS NULL AND before.id < d.id
    )
    ORDER BY d.due_at
    LIMIT :limit::integer
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE pending_replies r SET due_at = statement_timestamp() + :patience::interval
FROM due
WHERE r.id = due.id
RETURNING r.id, r.traceparent;

-- name: forgive_reply_redelivery :none
-- The attempt that followed has ended without killing its worker: taken back from the reply it was counted against.
UPDATE pending_replies r SET redeliveries = r.redeliveries - 1
FROM (
    SELECT w.id
    FROM pending_replies c
    JOIN pending_replies w ON w.conversation_id = c.conversation_id AND w.failed_at IS NULL
    WHERE c.id = :reply_id::bigint AND c.failed_at IS NULL
    ORDER BY w.id
    LIMIT 1
) first
WHERE r.id = first.id AND r.redeliveries > 0;

-- name: defer_reply :none
-- Others held its conversation's lock for too long: it is commanded again soon, and that does not count.
UPDATE pending_replies SET due_at = least(due_at, now() + :wait::interval)
WHERE id = :reply_id::bigint AND failed_at IS NULL;

-- name: known_replies :column
-- Which of these replies still wait, or were given up: dead letters of the others have nothing left to do.
SELECT id FROM pending_replies WHERE id = ANY (:reply_ids::bigint[]);
