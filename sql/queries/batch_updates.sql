-- name: insert_progress :single
-- A batch update that was accepted; from here on it is carried out by the first worker that finds it.
INSERT INTO batch_updates (user_id, event, conversation_ids, refused, created_at, updated_at, due_at, traceparent)
VALUES (:user_id::bigint, :event::text, :conversation_ids::text[], :refused::integer[], statement_timestamp(),
        statement_timestamp(), statement_timestamp() + :patience::interval, :traceparent::text)
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
-- A CTE, because a subquery with a limit may be run again for each row, and take more each time.
WITH due AS MATERIALIZED (
    SELECT id FROM batch_updates
    WHERE state IN ('queued', 'running') AND due_at <= statement_timestamp()
    ORDER BY due_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
UPDATE batch_updates p SET due_at = statement_timestamp() + :patience::interval
FROM due
WHERE p.id = due.id
RETURNING p.id, p.traceparent;

-- name: forgive_progress_redelivery :none
-- The attempt that followed has ended without killing its worker: a fault outside the update is not the update's.
UPDATE batch_updates SET redeliveries = redeliveries - 1 WHERE id = :progress_id::bigint AND redeliveries > 0;

-- name: defer_progress :none
-- Others held for too long what it needs to lock: it is commanded again soon, and that does not count. One that is
-- locked itself is in work.
UPDATE batch_updates p SET due_at = least(p.due_at, now() + :wait::interval)
FROM (
    SELECT id FROM batch_updates
    WHERE id = :progress_id::bigint AND state IN ('queued', 'running')
    FOR UPDATE SKIP LOCKED
) free
WHERE p.id = free.id;

-- name: revive_progresses :many
-- Dead letters name these updates and are requeued: those that were given up are queued again, with all their attempts
-- before them. Of each asked one its state as it was found, null where there is none, and whether it was given up: one
-- that failed otherwise was cancelled, or had nothing to do.
WITH asked AS MATERIALIZED (
    SELECT DISTINCT a.id FROM unnest(:progress_ids::bigint[]) a(id)
), found AS MATERIALIZED (
    SELECT p.id, p.state, p.state = 'failed' AND p.error IS NOT NULL AS given_up
    FROM batch_updates p JOIN asked a ON a.id = p.id
    ORDER BY p.id
    FOR UPDATE OF p
), revived AS (
    UPDATE batch_updates p
    SET state = 'queued', attempts = 0, tried_at = NULL, error = NULL, redeliveries = 0, message = NULL,
        due_at = now() + :due_after::interval, updated_at = now()
    FROM found f WHERE p.id = f.id AND f.given_up
)
SELECT a.id, f.state, coalesce(f.given_up, false) AS given_up FROM asked a LEFT JOIN found f ON f.id = a.id;
