-- name: insert_progress :one
-- A batch update that was accepted; from here on it is carried out, whoever finds it.
INSERT INTO progresses (user_id, event, conversation_ids, created_at, updated_at, due_at)
VALUES ($1::bigint, $2::text, $3::text[], $4::timestamptz, $4::timestamptz, $5::timestamptz)
RETURNING *;

-- name: find_progress :one
-- One progress, whosever it is: another user's is refused, not hidden (endpoints.md 4.14).
SELECT * FROM progresses WHERE id = $1::bigint;

-- name: cancel_progress :one
-- Cancelling means failing, from whatever state (endpoints.md 4.14). The slice in work is waited for, and is the last.
UPDATE progresses SET state = 'failed', message = $2::text, updated_at = $3::timestamptz
WHERE id = $1::bigint
RETURNING *;

-- name: claim_progress :one
-- Locks a batch update that is not finished, so that of two workers the second goes on where the first one stopped.
SELECT * FROM progresses WHERE id = $1::bigint AND state IN ('queued', 'running') FOR UPDATE;

-- name: advance_progress :none
-- One slice further, in the transaction that has changed the slice's conversations.
UPDATE progresses
SET done = $2::integer, refused = $3::integer[], state = $4::text, message = $5::text, updated_at = $6::timestamptz,
    due_at = $7::timestamptz
WHERE id = $1::bigint;

-- name: fail_progress :none
-- It cannot be carried out; what is done stays done.
UPDATE progresses SET state = 'failed', message = $2::text, updated_at = $3::timestamptz
WHERE id = $1::bigint AND state IN ('queued', 'running');

-- name: take_due_progresses :many
-- Accepted, not finished, and nobody has moved it for too long: publish again. Several sweepers share the work.
UPDATE progresses p SET due_at = $2::timestamptz
FROM (
    SELECT id FROM progresses
    WHERE state IN ('queued', 'running') AND due_at <= $1::timestamptz
    ORDER BY due_at
    LIMIT $3::integer
    FOR UPDATE SKIP LOCKED
) due
WHERE p.id = due.id
RETURNING p.id;
