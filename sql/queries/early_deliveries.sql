-- name: begin_early_delivery :value
-- The trace in which a batch was accepted. From here on the transaction waits for no lock longer than that: a reader waits
-- for its end.
SELECT b.traceparent FROM batches b
WHERE b.id = :batch_id::bigint AND set_config('lock_timeout', :lock_timeout::text, true) IS NOT NULL;

-- name: cut_slice :one
-- The pending chunk of a running batch that has this reader among its recipients; of one with more than so many, :size of
-- them, the reader among them, become a chunk of their own. They get the first of its ids: whoever has read the whole chunk
-- finds that its first id has changed, and reads it again. No row: there is none, or not any more, or others have cut the
-- reader out of it while this waited for them, and asking once more finds where to. Nothing is cut in a batch that was
-- stopped, since the move has looked at what is pending there. Waits for no lock longer than that, nor for the disk: what
-- is cut is lost with nothing that was delivered.
WITH whole AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.first_id, c.recipients, c.size > :whole::integer AS large,
           (array_position(c.recipients, :user_id::bigint) - 1) / :size::integer * :size AS before
    FROM chunks c
    WHERE c.batch_id = :batch_id::bigint AND c.state = 'pending' AND c.attempts = 0 AND c.redeliveries = 0
      AND c.lowest_user_id <= :user_id AND c.highest_user_id >= :user_id AND :user_id = ANY (c.recipients)
      AND EXISTS (SELECT FROM batches b WHERE b.id = :batch_id AND b.state IN ('created', 'sending'))
      AND set_config('lock_timeout', :lock_timeout::text, true) IS NOT NULL
      AND set_config('synchronous_commit', 'off', true) IS NOT NULL
    LIMIT 1
    FOR UPDATE OF c
), slice AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
    SELECT w.batch_id, nextval('slice_positions'), w.first_id, w.recipients[w.before + 1 : w.before + :size], 'infinity',
           statement_timestamp()
    FROM whole w WHERE w.large
    RETURNING position, recipients
), rest AS (
    UPDATE chunks c
    SET first_id = w.first_id + cardinality(s.recipients), updated_at = statement_timestamp(),
        recipients = w.recipients[: w.before] || w.recipients[w.before + :size + 1 :]
    FROM whole w, slice s
    WHERE c.batch_id = w.batch_id AND c.position = w.position
)
SELECT coalesce(s.position, w.position) AS position, coalesce(s.recipients, w.recipients) AS recipients
FROM whole w LEFT JOIN slice s ON true;
