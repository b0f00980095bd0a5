-- name: measure_ended :many
-- Bulk sends that have ended and were not measured, so many at most: how long each took, in seconds, from the moment at
-- which it could begin to the last inbox, and from its first delivery to its end. Each end is measured once, by whichever
-- worker takes it. What went through in one go is counted by its day; what was paused, cancelled or tried again took as
-- long as its sender wanted. Read from the chunks, of which there are few hundred even of the largest.
WITH ended AS MATERIALIZED (
    SELECT id, state, moves, greatest(created_at, send_at) AS begun_at, started_at, finished_at
    FROM batches
    WHERE finished_at > coalesce(measured_end, '-infinity')
    ORDER BY finished_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
), measured AS MATERIALIZED (
    SELECT e.*, c.recipients, c.in_time, c.last_at
    FROM ended e
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(size), 0) AS recipients,
               coalesce(sum(size) FILTER (WHERE state = 'delivered' AND updated_at <= e.begun_at + :in_time::interval), 0)
                   AS in_time,
               max(updated_at) FILTER (WHERE state = 'delivered') AS last_at
        FROM chunks WHERE batch_id = e.id AND state IN ('delivered', 'failed')
        OFFSET 0
    ) c
), counted AS (
    INSERT INTO punctuality AS p (day, batches, recipients, in_time)
    SELECT (m.begun_at AT TIME ZONE 'UTC')::date, count(*), sum(m.recipients), sum(m.in_time)
    FROM measured m WHERE m.moves = 0 AND m.recipients > 0
    GROUP BY 1 ORDER BY 1
    ON CONFLICT (day) DO UPDATE
    SET batches = p.batches + excluded.batches, recipients = p.recipients + excluded.recipients,
        in_time = p.in_time + excluded.in_time
), marked AS (
    UPDATE batches b SET measured_end = b.finished_at FROM ended e WHERE b.id = e.id
)
SELECT m.state, m.moves > 0 AS moved, extract(epoch FROM m.last_at - m.begun_at)::float8 AS to_last_inbox,
       extract(epoch FROM m.finished_at - m.started_at)::float8 AS duration
FROM measured m
ORDER BY m.finished_at;

-- name: punctual_days :many
-- Today (UTC) and yesterday, the newest first.
SELECT day::text, batches, recipients, in_time,
       day = (statement_timestamp() AT TIME ZONE 'UTC')::date AS today
FROM punctuality
WHERE day >= (statement_timestamp() AT TIME ZONE 'UTC')::date - 1
ORDER BY day DESC;
