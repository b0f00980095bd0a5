-- name: insert_progress :one
-- A batch update that was accepted; from here on it is carried out by the first worker that finds it.
INSERT INTO batch_updates (user_id, event, conversation_ids, created_at, updated_at, due_at, traceparent)
VALUES (:user_id::bigint, :event::text, :conversation_ids::text[], :now::timestamptz, :now::timestamptz,
        :due_at::timestamptz, :traceparent::text)
RETURNING id, user_id, event, conversation_ids, state, done, refused, message, created_at, updated_at;

-- name: find_progress :one
-- One progress, of any user: another user's is refused, not hidden (endpoints.md 4.14).
SELECT id, user_id, event, conversation_ids, state, done, refused, message, created_at, updated_at
FROM batch_updates
WHERE id = :progress_id::bigint;

-- name: cancel_progress :one
-- Cancelling means failing, from whatever state (endpoints.md 4.14). An update in work is waited for.
UPDATE batch_updates SET state = 'failed', message = :message::text, updated_at = :now::timestamptz
WHERE id = :progress_id::bigint
RETURNING id, user_id, event, conversation_ids, state, done, refused, message, created_at, updated_at;

-- name: claim_progress :one
-- Locks a batch update that is not finished, so that of two workers the second finds it done. One that an earlier
-- release has left between two of its slices is gone on with from there: done and refused say where.
SELECT id, user_id, event, conversation_ids, state, done, refused, message, created_at, updated_at
FROM batch_updates
WHERE id = :progress_id::bigint AND state IN ('queued', 'running')
FOR UPDATE;

-- name: finish_progress :none
-- The end of it, in the transaction that has changed the conversations.
UPDATE batch_updates
SET done = :done::integer, refused = :refused::integer[], state = :state::text, message = :message::text,
    updated_at = :now::timestamptz
WHERE id = :progress_id::bigint;

-- name: postpone_progress :value
-- It could not be carried out, and the transaction that tried was rolled back: wait twice as long as after the failure
-- before; after the last attempt it fails and its message says why. A failure within that wait, of a command that came
-- twice, does not count.
UPDATE batch_updates
SET attempts = attempts + 1, tried_at = :now::timestamptz,
    due_at = :now::timestamptz + :first_wait::interval * 2 ^ attempts,
    state = CASE WHEN attempts + 1 >= :max_attempts::integer THEN 'failed' ELSE state END,
    message = CASE WHEN attempts + 1 >= :max_attempts::integer THEN :error::text ELSE message END,
    updated_at = CASE WHEN attempts + 1 >= :max_attempts::integer THEN :now::timestamptz ELSE updated_at END
WHERE id = :progress_id::bigint AND state IN ('queued', 'running')
  AND (tried_at IS NULL OR tried_at + :first_wait::interval * 2 ^ (attempts - 1) <= :now::timestamptz)
RETURNING state = 'failed' AS given_up;

-- name: count_redelivery :value
-- The broker delivered a command again, because the worker that had it gave no outcome: count that, and fail the update
-- when it was too often. Returns why it was given up, now or before; no row: it is to be tried, or ended in another
-- way.
WITH counted AS (
    UPDATE batch_updates
    SET redeliveries = redeliveries + 1,
        state = CASE WHEN redeliveries >= :max_redeliveries::integer THEN 'failed' ELSE state END,
        message = CASE WHEN redeliveries >= :max_redeliveries::integer THEN :error::text ELSE message END,
        updated_at = CASE WHEN redeliveries >= :max_redeliveries::integer THEN :now::timestamptz ELSE updated_at END
    WHERE id = :progress_id::bigint AND state IN ('queued', 'running')
    RETURNING id, state, message
)
SELECT coalesce(n.message, p.message) AS message
FROM batch_updates p
LEFT JOIN counted n ON n.id = p.id
WHERE p.id = :progress_id::bigint AND coalesce(n.state, p.state) = 'failed'
  AND (n.id IS NOT NULL OR p.attempts >= :max_attempts::integer OR p.redeliveries > :max_redeliveries::integer);

-- name: take_due_progresses :many
-- Accepted, not finished, and left alone for too long: publish again. Several sweepers share the work; what
-- is being carried out just now is locked.
UPDATE batch_updates p SET due_at = :due_at::timestamptz
FROM (
    SELECT id FROM batch_updates
    WHERE state IN ('queued', 'running') AND due_at <= :now::timestamptz
    ORDER BY due_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
) due
WHERE p.id = due.id
RETURNING p.id, p.traceparent;
