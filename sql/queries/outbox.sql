-- name: take_events :many
-- The oldest rows of a lane without another relay, and that is not resting, deleted: until this transaction commits the
-- others see them, and if it does not, they stay. max_copies is how many messages they stand for, to within one row. While a bulk send is being
-- written, rows younger than patience wait, so that it has the processors for itself; those of its progress do not. One
-- of which nothing was written for as long as still does not hold them up: it waits for something itself. Only the newest
-- sends are looked at.
-- Whose the copies of a chunk are stands in the chunk: recipient i has the message of its first id + i.
-- A row holds the global id of its account; what else the account is known by is looked up here, once for all copies of
-- the row.
-- The lock is tried on one lane after the other until one is free: OFFSET keeps the planner from trying them all first.
-- Another relay may have deleted rows after this statement began and before the lock was free: DELETE notices.
-- A deletion that is forgotten in a crash of the server costs events that come twice, so it does not wait for the disk.
-- Nor does the server end the transaction while a slow broker confirms 4000 events, as it would any other that idles so
-- long; nor is it ended at its end for waiting until another relay has counted the same names.
WITH ready AS MATERIALIZED (
    SELECT l.lane, oldest.recorded_at
    FROM generate_series(0, 16) AS l(lane)
    CROSS JOIN LATERAL (SELECT o.recorded_at FROM outbox o WHERE o.lane = l.lane ORDER BY o.id LIMIT 1) oldest
    WHERE l.lane <> ALL (:resting::smallint[])
      AND (l.lane = 16 OR oldest.recorded_at <= clock_timestamp() - :patience::interval
           OR NOT EXISTS (
               SELECT FROM (
                   SELECT id, created_at, send_at, started_at FROM batches
                   WHERE state IN ('created', 'sending') ORDER BY id DESC LIMIT 20
               ) b
               WHERE (greatest(b.created_at, b.send_at, b.started_at) > clock_timestamp() - :still::interval OR EXISTS (
                   SELECT FROM chunks c
                   WHERE c.batch_id = b.id AND c.state IN ('delivered', 'failed')
                     AND c.updated_at > clock_timestamp() - :still
               ))
           ))
), mine AS MATERIALIZED (
    SELECT r.lane, set_config('synchronous_commit', 'off', true),
           set_config('idle_in_transaction_session_timeout', '300s', true), set_config('lock_timeout', '0', true)
    FROM (
        SELECT ready.lane FROM ready ORDER BY ready.lane = ANY (:doubtful::smallint[]), ready.recorded_at OFFSET 0
    ) r
    WHERE pg_try_advisory_xact_lock(:lock_class::integer, r.lane)
    LIMIT 1
), oldest AS MATERIALIZED (
    SELECT o.lane, o.id, coalesce(o.copies, cardinality(o.message_ids), 1) AS copies
    FROM outbox o
    WHERE o.lane = (SELECT mine.lane FROM mine)
    ORDER BY o.id
    LIMIT :max_rows::integer
), taken AS (
    SELECT n.lane, n.id
    FROM (SELECT lane, id, sum(copies) OVER (ORDER BY id) - copies AS before FROM oldest) n
    WHERE n.before < :max_copies::integer
)
DELETE FROM outbox o USING taken t WHERE o.lane = t.lane AND o.id = t.id
RETURNING o.lane, o.id, o.event, o.recorded_at, o.author_id, o.created_at, o.first_id, o.copies, o.conversation_ids,
          o.message_ids, o.body, o.moves, o.traceparent, o.batch_id,
          (SELECT c.first_id FROM chunks c WHERE c.batch_id = o.batch_id AND c.position = o.position) AS chunk_first_id,
          (SELECT c.recipients FROM chunks c WHERE c.batch_id = o.batch_id AND c.position = o.position) AS recipients,
          o.cause || coalesce((SELECT jsonb_build_object('root_account_uuid', a.root_account_uuid) FROM accounts a
                               WHERE a.id = (o.cause ->> 'root_account_id')::bigint % 10000000000000
                                 AND a.root_account_uuid IS NOT NULL), '{}') AS cause;

-- name: count_unroutable :none
-- Events that no queue took, by name. In one order: relays that count the same names wait for each other.
INSERT INTO unroutable_events AS u (event, count, first_at, last_at)
SELECT n.event, n.count, clock_timestamp(), clock_timestamp()
FROM unnest(:events::text[], :counts::bigint[]) AS n(event, count)
ORDER BY n.event
ON CONFLICT (event) DO UPDATE SET count = u.count + excluded.count, last_at = excluded.last_at;

-- name: unroutable_events :many
-- How many events no queue has taken so far.
SELECT event, count, first_at, last_at FROM unroutable_events ORDER BY event;

-- name: outbox_lag :value
-- Seconds since the oldest event was recorded that is not published, 0 when there is none: one look into each lane.
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(oldest.recorded_at)), 0)::float8
FROM generate_series(0, 16) AS l(lane)
CROSS JOIN LATERAL (SELECT o.recorded_at FROM outbox o WHERE o.lane = l.lane ORDER BY o.id LIMIT 1) oldest;
