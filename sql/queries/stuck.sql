-- name: stuck_batches :many
-- Batches that stand still, the one that does for longest first.
SELECT s.id, s.sender_id, s.state, s.total, s.done,
       extract(epoch FROM statement_timestamp() - s.since)::float8 AS stuck_for, s.why
FROM stuck_batches(:retry_after::interval) s
ORDER BY s.since, s.id;

-- name: count_stuck :single
-- How much waits longer than it should: batches by what they wait for, replies and batch updates that were accepted and
-- are not done, lanes of the outbox whose oldest event is not published.
WITH batch AS MATERIALIZED (
    SELECT state FROM stuck_batches(:retry_after::interval)
)
SELECT (SELECT count(*) FROM batch WHERE state IN ('created', 'sending')) AS sending,
       (SELECT count(*) FROM batch WHERE state = 'scheduled') AS scheduled,
       (SELECT count(*) FROM batch WHERE state = 'cancelled') AS cancelled,
       (SELECT count(*) FROM pending_replies r
        CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = r.send_id OFFSET 0) s
        WHERE r.failed_at IS NULL AND r.due_at <= stuck_unless_due_after(:retry_after)
          AND greatest(s.created_at, r.tried_at) < statement_timestamp() - stuck_after(:retry_after)) AS replies,
       (SELECT count(*) FROM batch_updates u
        WHERE u.state IN ('queued', 'running') AND u.due_at <= stuck_unless_due_after(:retry_after)
          AND greatest(u.updated_at, u.tried_at) < statement_timestamp() - stuck_after(:retry_after)) AS updates,
       (SELECT count(*) FROM generate_series(0, 16) AS l(lane)
        CROSS JOIN LATERAL (SELECT o.recorded_at FROM outbox o WHERE o.lane = l.lane ORDER BY o.id LIMIT 1) oldest
        WHERE oldest.recorded_at < statement_timestamp() - stuck_after(:retry_after)) AS events;
