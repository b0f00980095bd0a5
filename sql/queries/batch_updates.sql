-- name: insert_progress :one
-- A batch update that was accepted; from here on it is carried out by the first worker that finds it.
INSERT INTO batch_updates (user_id, event, conversation_ids, created_at, updated_at, due_at, traceparent)
VALUES (:user_id::bigint, :event::text, :conversation_ids::text[], statement_timestamp(), statement_timestamp(),
        statement_timestamp() + :patience::interval, :traceparent::text)
RETURNING id, user_id, event, conversation_ids, state, done, refused, message, created_at, updated_at;

-- name: find_progress :one
-- One progress, of any user: another user's is refused, not hidden (endpoints.md 4.14).
SELECT id, user_id, event, conversation_ids, state, done, refused, message, created_at, updated_at
FROM batch_updates
WHERE id = :progress_id::bigint;

-- name: cancel_progress :one
-- Cancelling means failing, from whatever state (endpoints.md 4.14). An update in work is waited for.
UPDATE batch_updates SET state = 'failed', error = NULL, message = :message::text, updated_at = statement_timestamp()
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
SET done = :done::integer, refused = :refused::integer[], state = :state::text, error = NULL, message = :message::text,
    updated_at = statement_timestamp()
WHERE id = :progress_id::bigint;

-- name: postpone_progress :value
-- It could not be carried out, and the transaction that tried was rolled back: note why, and wait. No row: the failure
-- does not count, or the update has ended.
UPDATE batch_updates
SET attempts = attempts + 1, error = :error::text, tried_at = statement_timestamp(),
    due_at = next_attempt_at(attempts, :first_wait::interval, statement_timestamp())
WHERE id = :progress_id::bigint AND state IN ('queued', 'running')
  AND attempt_counts(attempts, tried_at, :first_wait::interval, statement_timestamp())
RETURNING attempts;

-- name: fail_progress :none
-- No attempt is left: it fails, and its message says to the user why.
UPDATE batch_updates
SET state = 'failed', error = :error::text, message = :message::text, updated_at = statement_timestamp()
WHERE id = :progress_id::bigint AND state IN ('queued', 'running');

-- name: count_progress_redelivery :one
-- A command came back unsettled, so the update may have killed its worker: count that before it is tried again.
WITH counted AS (
    UPDATE batch_updates SET redeliveries = redeliveries + 1
    WHERE id = :progress_id::bigint AND state IN ('queued', 'running')
    RETURNING redeliveries
)
SELECT (SELECT redeliveries FROM counted) AS redeliveries, CASE WHEN p.state = 'failed' THEN p.error END AS given_up
FROM batch_updates p
WHERE p.id = :progress_id::bigint;

-- name: take_due_progresses :many
-- Accepted, not finished, and left alone for too long: publish again. Several sweepers share the work; what
-- is being carried out just now is locked.
UPDATE batch_updates p SET due_at = statement_timestamp() + :patience::interval
FROM (
    SELECT id FROM batch_updates
    WHERE state IN ('queued', 'running') AND due_at <= statement_timestamp()
    ORDER BY due_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
) due
WHERE p.id = due.id
RETURNING p.id, p.traceparent;
