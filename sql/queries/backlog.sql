-- name: count_backlog :many
-- What was accepted and is not done, by kind: how much, and for how many seconds the first of it has waited. Cheap however
-- large the tables are: what is done stands in none of these indexes. recipients: of bulk sends under way, also who was
-- taken out of a chunk that waits. events: rows of the outbox, at most, for of their ids only the first and the last are
-- looked at.
SELECT w.kind, coalesce(w.size, 0)::bigint AS size,
       coalesce(greatest(extract(epoch FROM statement_timestamp() - w.since), 0), 0)::float8 AS age
FROM (
    SELECT 'recipients', sum(b.total - b.delivered - b.failed - b.skipped),
           min(greatest(b.created_at, b.send_at, b.moved_at))
    FROM batches b WHERE b.state IN ('created', 'sending')
    UNION ALL
    SELECT 'scheduled', count(*), min(due_at) FROM scheduled_sends WHERE due_at <= statement_timestamp()
    UNION ALL
    SELECT 'replies', count(*), min(s.created_at)
    FROM pending_replies r
    CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = r.send_id OFFSET 0) s
    WHERE r.failed_at IS NULL
    UNION ALL
    SELECT 'updates', count(*), min(created_at) FROM batch_updates WHERE state IN ('queued', 'running')
    UNION ALL
    SELECT 'events', max(newest.id) - min(oldest.id) + 1, min(oldest.recorded_at)
    FROM generate_series(0, 16) AS l(lane)
    CROSS JOIN LATERAL (SELECT o.id, o.recorded_at FROM outbox o WHERE o.lane = l.lane ORDER BY o.id LIMIT 1) oldest
    CROSS JOIN LATERAL (SELECT o.id FROM outbox o WHERE o.lane = l.lane ORDER BY o.id DESC LIMIT 1) newest
    UNION ALL
    SELECT 'audits', count(*), min(finished_at) FROM batches WHERE finished_at > coalesce(audited_end, '-infinity')
) w(kind, size, since);
