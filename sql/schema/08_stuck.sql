-- What waits longer than it should: what operators are told of, and what nothing else in the service looks at.

-- For how long nothing may happen to work that is not done, before it counts as stuck: ten times CLARION_RETRY_AFTER.
-- The longest wait between two attempts is eight times that.
CREATE OR REPLACE FUNCTION stuck_after(retry_after interval) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN retry_after * 10;

-- What is not due before then waits on purpose: a sweeper puts off what it commands by CLARION_RETRY_AFTER.
CREATE OR REPLACE FUNCTION stuck_unless_due_after(retry_after interval) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE RETURN statement_timestamp() + retry_after * 2;

-- Batches that stand still. One that is paused, or is to start later, is not stuck.
-- A running batch moves when a chunk is settled or tried, and when its sender moves it. Chunks that wait for their turn
-- (due_at = 'infinity') say nothing: one of which all wait is not gone on with. A cancelled one that is not at
-- its end has chunks in work that do not end. A scheduled one starts within two seconds, or its start has failed: it is
-- stuck when it is late by twice CLARION_RETRY_AFTER.
CREATE OR REPLACE FUNCTION stuck_batches(retry_after interval) RETURNS TABLE (
    id bigint, sender_id bigint, state text, total integer, done integer, since timestamptz, why text
) LANGUAGE sql STABLE AS $$
    SELECT b.id, b.sender_id, b.state, b.total, b.delivered + b.failed + batch_skipped(b), moved.since,
           coalesce(chunk.error, CASE WHEN chunk.pending = 0 THEN 'nothing is pending, and it has not ended'
                                      WHEN b.state = 'cancelled' THEN 'chunks that were in work have not ended'
                                      ELSE 'no worker has taken a chunk' END)
    FROM (
        -- Chunks are read of those only that were not accepted, started or moved just now.
        SELECT * FROM (
            SELECT * FROM batches WHERE batches.state IN ('created', 'sending')
            UNION ALL
            SELECT * FROM batches WHERE batches.state = 'cancelled' AND finished_at IS NULL
        ) running
        WHERE greatest(running.created_at, running.send_at, running.moved_at)
              < statement_timestamp() - stuck_after(retry_after)
        OFFSET 0
    ) b
    CROSS JOIN LATERAL (
        SELECT max(c.updated_at) AS updated_at, min(c.due_at) FILTER (WHERE c.state = 'pending' AND c.due_at < 'infinity') AS due_at,
               count(*) FILTER (WHERE c.state = 'pending') AS pending,
               (array_agg(c.error ORDER BY c.updated_at DESC)
                    FILTER (WHERE c.state = 'pending' AND c.error IS NOT NULL))[1] AS error
        FROM chunks c WHERE c.batch_id = b.id OFFSET 0
    ) chunk
    CROSS JOIN LATERAL (SELECT greatest(b.created_at, b.send_at, b.moved_at, chunk.updated_at) AS since) moved
    WHERE moved.since < statement_timestamp() - stuck_after(retry_after)
      AND (b.state = 'cancelled' OR coalesce(chunk.due_at, '-infinity') <= stuck_unless_due_after(retry_after))
    UNION ALL
    SELECT b.id, b.sender_id, b.state, b.total, 0, b.send_at, coalesce(s.error, 'no worker has started it')
    FROM batches b
    LEFT JOIN scheduled_sends s ON s.batch_id = b.id
    WHERE b.state = 'scheduled' AND b.send_at < statement_timestamp() - retry_after * 2
$$;
