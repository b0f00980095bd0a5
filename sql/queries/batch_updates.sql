-- name: insert_progress :one
-- A batch update that was accepted; from here on it is carried out, whoever finds it.
INSERT INTO batch_updates (user_id, event, conversation_ids, created_at, updated_at, due_at, traceparent)
VALUES ($1::bigint, $2::text, $3::text[], $4::timestamptz, $4::timestamptz, $5::timestamptz, $6::text)
RETURNING *;

-- name: find_progress :one
-- One progress, whosever it is: another user's is refused, not hidden (endpoints.md 4.14).
SELECT * FROM batch_updates WHERE id = $1::bigint;

-- name: cancel_progress :one
-- Cancelling means failing, from whatever state (endpoints.md 4.14). An update in work is waited for.
UPDATE batch_updates SET state = 'failed', message = $2::text, updated_at = $3::timestamptz
WHERE id = $1::bigint
RETURNING *;

-- name: claim_progress :one
-- Locks a batch update that is not finished, so that of two workers the second finds it done. One that an earlier
-- release has left between two of its slices is gone on with from there: done and refused say where.
SELECT * FROM batch_updates WHERE id = $1::bigint AND state IN ('queued', 'running') FOR UPDATE;

-- name: finish_progress :none
-- The end of it, in the transaction that has changed the conversations.
UPDATE batch_updates
SET done = $2::integer, refused = $3::integer[], state = $4::text, message = $5::text, updated_at = $6::timestamptz
WHERE id = $1::bigint;

-- name: postpone_progress :one
-- It could not be carried out, and the transaction that tried was rolled back: wait twice as long as after the failure
-- before; after the last attempt it fails and tells its user why. A failure within that wait, of a command that came
-- twice, does not count.
UPDATE batch_updates
SET attempts = attempts + 1, tried_at = $3::timestamptz, due_at = $3::timestamptz + $4::interval * 2 ^ attempts,
    state = CASE WHEN attempts + 1 >= $5::integer THEN 'failed' ELSE state END,
    message = CASE WHEN attempts + 1 >= $5::integer THEN $2::text ELSE message END,
    updated_at = CASE WHEN attempts + 1 >= $5::integer THEN $3::timestamptz ELSE updated_at END
WHERE id = $1::bigint AND state IN ('queued', 'running')
  AND (tried_at IS NULL OR tried_at + $4::interval * 2 ^ (attempts - 1) <= $3::timestamptz)
RETURNING state = 'failed' AS given_up;

-- name: hand_out_progress :one
-- A command came back without a verdict: count that, and fail the update when it was too often. Returns why it was given
-- up, now or before; no row: it is to be tried, or ended in another way.
WITH counted AS (
    UPDATE batch_updates
    SET redeliveries = redeliveries + 1,
        state = CASE WHEN redeliveries >= $2::integer THEN 'failed' ELSE state END,
        message = CASE WHEN redeliveries >= $2::integer THEN $3::text ELSE message END,
        updated_at = CASE WHEN redeliveries >= $2::integer THEN $4::timestamptz ELSE updated_at END
    WHERE id = $1::bigint AND state IN ('queued', 'running')
    RETURNING id, state, message
)
SELECT coalesce(n.message, p.message) AS message
FROM batch_updates p
LEFT JOIN counted n ON n.id = p.id
WHERE p.id = $1::bigint AND coalesce(n.state, p.state) = 'failed'
  AND (n.id IS NOT NULL OR p.attempts >= $5::integer OR p.redeliveries > $2::integer);

-- name: take_due_progresses :many
-- Accepted, not finished, and nobody has been at it for too long: publish again. Several sweepers share the work; what
-- is being carried out just now is locked.
UPDATE batch_updates p SET due_at = $2::timestamptz
FROM (
    SELECT id FROM batch_updates
    WHERE state IN ('queued', 'running') AND due_at <= $1::timestamptz
    ORDER BY due_at
    LIMIT $3::integer
    FOR UPDATE SKIP LOCKED
) due
WHERE p.id = due.id
RETURNING p.id, p.traceparent;
