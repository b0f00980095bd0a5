-- name: begin_early_delivery :value
-- The trace in which a batch was accepted. From here on the transaction waits for no lock longer than that: a reader waits
-- for its end.
SELECT b.traceparent FROM batches b
WHERE b.id = :batch_id::bigint AND set_config('lock_timeout', :lock_timeout::text, true) IS NOT NULL;

-- name: lock_awaited :one
-- The pending chunk of a batch that has this reader among its recipients, locked. No row: there is none, or not any more,
-- or others have cut the reader out of it while this waited for them, and asking once more finds where to. Its recipients
-- unless it has more than so many.
SELECT c.position, CASE WHEN c.size <= :whole::integer THEN c.recipients END AS recipients FROM chunks c
WHERE c.batch_id = :batch_id::bigint AND c.state = 'pending' AND c.attempts = 0 AND c.redeliveries = 0
  AND c.lowest_user_id <= :user_id::bigint AND c.highest_user_id >= :user_id AND :user_id = ANY (c.recipients)
ORDER BY c.position LIMIT 1
FOR UPDATE;

-- name: lock_running :value
-- Keeps new positions of a running batch free for this transaction, which need not wait for the disk: what it cuts is lost
-- with nothing that was delivered.
SELECT id FROM batches
WHERE id = :batch_id::bigint AND state IN ('created', 'sending')
  AND set_config('synchronous_commit', 'off', true) IS NOT NULL
FOR NO KEY UPDATE;

-- name: cut_slice :single
-- So many recipients of a locked chunk, a reader among them, become a chunk of their own at the end of the batch. They get
-- the first of its ids: whoever has read the whole chunk finds that its first id has changed, and reads it again.
WITH whole AS MATERIALIZED (
    SELECT c.batch_id, c.first_id, c.recipients,
           (array_position(c.recipients, :user_id::bigint) - 1) / :size::integer * :size AS before
    FROM chunks c
    WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer AND :user_id = ANY (c.recipients)
), slice AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
    SELECT w.batch_id, (SELECT max(position) + 1 FROM chunks WHERE batch_id = :batch_id), w.first_id,
           w.recipients[w.before + 1 : w.before + :size], 'infinity', statement_timestamp()
    FROM whole w
    RETURNING position, recipients
), rest AS (
    UPDATE chunks c
    SET first_id = c.first_id + cardinality(s.recipients), updated_at = statement_timestamp(),
        recipients = w.recipients[: w.before] || w.recipients[w.before + :size + 1 :]
    FROM whole w, slice s
    WHERE c.batch_id = :batch_id AND c.position = :position
)
SELECT position, recipients FROM slice;
