-- name: claim_request :value
-- The key for this transaction, or null: another request has it, in work or answered. A row is seen by nobody else before
-- its transaction ends, so a lock says that it is in work; whoever may not wait for that gets null at once. What is older
-- than it is kept counts as forgotten.
WITH work AS MATERIALIZED (
    SELECT CASE WHEN :waits::boolean THEN pg_advisory_xact_lock(lock) IS NOT NULL
                ELSE pg_try_advisory_xact_lock(lock) END AS begun
    FROM hashtextextended(:key::text, :user_id::bigint) lock
)
INSERT INTO idempotency_keys AS r (user_id, key, fingerprint)
SELECT :user_id::bigint, :key::text, :fingerprint::bytea FROM work WHERE begun
ON CONFLICT (user_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, created_at = excluded.created_at, status = NULL, headers = NULL, body = NULL
WHERE r.created_at < clock_timestamp() - :kept_for::interval
RETURNING true;

-- name: find_request :one
-- What was asked under a key, and the answer, as long as it is kept.
SELECT r.fingerprint, r.status, r.headers, r.body
FROM idempotency_keys r
WHERE r.user_id = :user_id::bigint AND r.key = :key::text
  AND r.created_at >= clock_timestamp() - :kept_for::interval;

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
