-- name: claim_request :one
-- Whoever comes second with a key waits here for the end of the transaction that came first, and then claims nothing.
INSERT INTO idempotency_keys (user_id, key, fingerprint)
VALUES ($1::bigint, $2::text, $3::bytea)
ON CONFLICT (user_id, key) DO NOTHING
RETURNING true AS claimed;

-- name: find_request :one
-- What was asked under a key, and the answer.
SELECT r.fingerprint, r.status, r.headers, r.body
FROM idempotency_keys r
WHERE r.user_id = $1::bigint AND r.key = $2::text;

-- name: keep_answer :none
-- The answer of a request that this transaction has claimed.
UPDATE idempotency_keys SET status = $3::smallint, headers = $4::jsonb, body = $5::bytea
WHERE user_id = $1::bigint AND key = $2::text;

-- name: forget_requests :one
-- Keys older than $1, $2 of them at most. Sweepers that meet take different ones.
WITH old AS (
    SELECT r.user_id, r.key
    FROM idempotency_keys r
    WHERE r.created_at < clock_timestamp() - $1::interval
    ORDER BY r.created_at
    LIMIT $2::integer
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_keys r USING old WHERE r.user_id = old.user_id AND r.key = old.key RETURNING 1
)
SELECT count(*)::integer AS forgotten FROM gone;
