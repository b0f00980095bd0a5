-- name: claim_request :value
-- The second request with a key waits here for the end of the transaction of the first, and then claims nothing.
INSERT INTO idempotency_keys (user_id, key, fingerprint)
VALUES (:user_id::bigint, :key::text, :fingerprint::bytea)
ON CONFLICT (user_id, key) DO NOTHING
RETURNING true;

-- name: find_request :one
-- What was asked under a key, and the answer.
SELECT r.fingerprint, r.status, r.headers, r.body
FROM idempotency_keys r
WHERE r.user_id = :user_id::bigint AND r.key = :key::text;

-- name: keep_answer :none
-- The answer of a request that this transaction has claimed.
UPDATE idempotency_keys SET status = :status::smallint, headers = :headers::jsonb, body = :body::bytea
WHERE user_id = :user_id::bigint AND key = :key::text;

-- name: forget_requests :value
-- Old keys, up to a limit. Concurrent sweepers take different ones.
WITH old AS (
    SELECT r.user_id, r.key
    FROM idempotency_keys r
    WHERE r.created_at < clock_timestamp() - :older_than::interval
    ORDER BY r.created_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_keys r USING old WHERE r.user_id = old.user_id AND r.key = old.key RETURNING 1
)
SELECT count(*) FROM gone;
