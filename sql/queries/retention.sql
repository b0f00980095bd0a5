-- What is removed after its time (CONTRACT 2, CLARION_RETENTION_DAYS): who the recipients of a batch were, and batch
-- updates. In bites: each of these takes so many rows at most, and is committed by itself. Several sweepers share the
-- work. Messages are never removed.

-- name: begin_forgetting :value
-- Batches that ended so long ago are forgotten from now on: none is tried again, and their recipients
-- are not shown any more. Not those whose end is not audited yet, nor before all their events are published, which name recipients.
WITH horizon AS MATERIALIZED (
    SELECT least(statement_timestamp() - :older_than::interval, min(oldest.recorded_at)) AS ended_before
    FROM generate_series(0, 16) AS l(lane)
    LEFT JOIN LATERAL (SELECT o.recorded_at FROM outbox o WHERE o.lane = l.lane ORDER BY o.id LIMIT 1) oldest ON true
), ended AS MATERIALIZED (
    SELECT id FROM batches
    WHERE finished_at IS NOT NULL AND forgotten_at IS NULL AND finished_at < (SELECT ended_before FROM horizon)
      AND audited_end >= finished_at
    ORDER BY finished_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
), begun AS (
    UPDATE batches b SET forgotten_at = 'infinity' FROM ended WHERE b.id = ended.id RETURNING 1
)
SELECT count(*) FROM begun;

-- name: forget_recipients :value
-- A bite of their chunks, and one of those who were taken out of a chunk. How many of both.
WITH chunk AS MATERIALIZED (
    SELECT c.batch_id, c.position
    FROM (SELECT id FROM batches WHERE forgotten_at = 'infinity' ORDER BY id LIMIT :limit::integer) b
    CROSS JOIN LATERAL (
        SELECT batch_id, position FROM chunks WHERE batch_id = b.id ORDER BY position FOR UPDATE SKIP LOCKED
    ) c
    LIMIT :limit
), skipped AS MATERIALIZED (
    SELECT s.batch_id, s.user_id
    FROM (SELECT id FROM batches WHERE forgotten_at = 'infinity' ORDER BY id LIMIT :limit) b
    CROSS JOIN LATERAL (
        SELECT batch_id, user_id FROM skipped_recipients WHERE batch_id = b.id ORDER BY user_id FOR UPDATE SKIP LOCKED
    ) s
    LIMIT :limit
), gone AS (
    DELETE FROM chunks c USING (SELECT * FROM chunk LIMIT :limit) old
    WHERE c.batch_id = old.batch_id AND c.position = old.position
    RETURNING 1
), skipped_gone AS (
    DELETE FROM skipped_recipients s USING (SELECT * FROM skipped LIMIT :limit) old
    WHERE s.batch_id = old.batch_id AND s.user_id = old.user_id
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM skipped_gone);

-- name: finish_forgetting :value
-- Nothing is left of these; their counters stay. How many.
WITH emptied AS MATERIALIZED (
    SELECT b.id FROM batches b
    WHERE b.forgotten_at = 'infinity'
      AND NOT EXISTS (SELECT FROM chunks c WHERE c.batch_id = b.id OFFSET 0)
      AND NOT EXISTS (SELECT FROM skipped_recipients s WHERE s.batch_id = b.id OFFSET 0)
    ORDER BY b.id
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
), done AS (
    UPDATE batches b SET forgotten_at = statement_timestamp() FROM emptied e WHERE b.id = e.id RETURNING 1
)
SELECT count(*) FROM done;

-- name: forget_progresses :value
-- Batch updates that ended so long ago. How many.
WITH old AS MATERIALIZED (
    SELECT id FROM batch_updates
    WHERE state IN ('completed', 'failed') AND updated_at < statement_timestamp() - :older_than::interval
    ORDER BY updated_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM batch_updates p USING old WHERE p.id = old.id RETURNING 1
)
SELECT count(*) FROM gone;
