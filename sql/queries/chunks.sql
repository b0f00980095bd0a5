-- name: read_chunk :many
-- All that the delivery of a pending chunk of a running batch needs: what is sent, to whom, and who holds which of the
-- sender's codes. Delivered already, or stopped: only its states. No row: there is no such chunk. Nothing is locked, so
-- that a command which comes twice costs this one statement; deliver checks again.
SELECT c.state AS chunk_state, b.state AS batch_state, s.id IS NOT NULL AS deliverable, s.id AS send_id, b.recheck,
       CASE WHEN s.id IS NOT NULL THEN c.recipients END AS recipients, c.first_id, b.tags, b.user_note,
       s.author_id, s.created_at, s.private, context_key(s.context_type, s.context_id) AS context_key,
       s.has_attachments, s.has_media_objects,
       codes.sender_codes, codes.sender_active_codes, codes.code, codes.active, codes.holders
FROM chunks c
JOIN batches b ON b.id = c.batch_id
LEFT JOIN sends s ON s.id = b.send_id AND c.state = 'pending' AND b.state IN ('created', 'sending')
LEFT JOIN LATERAL (
    SELECT * FROM codes_in_chunk(c.batch_id, c.position) WHERE s.id IS NOT NULL OFFSET 0
) codes ON true
WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer;

-- name: plannable_batches :many
-- Of each asked batch its state, null where there is no such batch, and whether a chunk is pending: without one there is
-- nothing to plan. coalesce keeps the planner from the index of all that is pending, of whatever batch.
SELECT a.batch_id, b.state,
       coalesce((SELECT true FROM chunks c WHERE c.batch_id = a.batch_id AND coalesce(c.state, '') = 'pending' LIMIT 1),
                false) AS pending
FROM (SELECT DISTINCT unnest(:batch_ids::bigint[]) AS batch_id) a
LEFT JOIN batches b ON b.id = a.batch_id;

-- name: take_due_chunks :many
-- Committed, not done, and without a report for too long: publish again, in the trace of the request that sent it.
-- Several sweepers share the work.
-- A CTE, because a subquery with a limit may be run again for each row, and take more each time.
WITH due AS MATERIALIZED (
    SELECT d.batch_id, d.position, b.traceparent FROM chunks d
    CROSS JOIN LATERAL (
        SELECT traceparent FROM batches WHERE id = d.batch_id AND state IN ('created', 'sending') OFFSET 0
    ) b
    WHERE d.state = 'pending' AND d.due_at <= statement_timestamp()
    ORDER BY d.due_at
    LIMIT :limit::integer
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE chunks c SET due_at = statement_timestamp() + :patience::interval
FROM due
WHERE c.batch_id = due.batch_id AND c.position = due.position
RETURNING c.batch_id, c.position, due.traceparent;

-- name: make_chunks_due :none
-- Their commands were not published, so that nobody works at them: the next sweep is to command them. One that another
-- worker holds has been commanded all the same; it is not waited for. coalesce keeps the planner from the index of all
-- that is pending, of whatever batch.
UPDATE chunks SET due_at = statement_timestamp()
WHERE batch_id = :batch_id::bigint AND position = ANY (array(
    SELECT position FROM chunks
    WHERE batch_id = :batch_id AND position = ANY (:positions::integer[])
      AND coalesce(state, '') = 'pending' AND coalesce(due_at, 'infinity') < 'infinity'
    FOR UPDATE SKIP LOCKED
));

-- name: postpone_chunk :value
-- A delivery failed: note why, and wait. No row: the failure does not count, or the chunk is no longer pending. One that
-- a reader wanted before its turn goes on waiting for it.
UPDATE chunks
SET attempts = attempts + 1, error = :error::text, tried_at = statement_timestamp(), updated_at = statement_timestamp(),
    due_at = CASE WHEN due_at = 'infinity' THEN due_at
                  ELSE next_attempt_at(attempts, :first_wait::interval, statement_timestamp()) END
WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending'
  AND attempt_counts(attempts, tried_at, :first_wait::interval, statement_timestamp())
RETURNING attempts;

-- name: begin_split :value
-- A chunk that fails is to be cut in two: it is locked, and then its batch, which counts the cuts and keeps new positions
-- free for this one. No row: it is no longer pending, or has one recipient, or its batch was cut often enough: a fault
-- that is not one recipient's lets nothing be delivered, so what may be cut beyond a share of the recipients grows with
-- the chunks that were.
WITH chunk AS MATERIALIZED (
    SELECT batch_id FROM chunks
    WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending'
      AND size > 1
    FOR UPDATE
)
UPDATE batches b SET splits = b.splits + 1
FROM chunk
WHERE b.id = chunk.batch_id AND b.state IN ('created', 'sending', 'paused') AND b.splits < least(
    :most::bigint,
    :free::bigint + b.total / :for_each::integer
        + 2 * (SELECT count(*) FROM chunks d WHERE d.batch_id = :batch_id AND d.state = 'delivered'))
RETURNING b.splits;

-- name: split_chunk :single
-- The second half becomes a chunk of its own, at the end of the batch, where it waits for its turn; all keep the ids that
-- they had. Both have all attempts before them; of their redeliveries so many count as had, unless a half is one
-- recipient.
WITH whole AS MATERIALIZED (
    SELECT batch_id, first_id, recipients, size / 2 AS half, size
    FROM chunks WHERE batch_id = :batch_id::bigint AND position = :position::integer
), rest AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, error, redeliveries, due_at, updated_at)
    SELECT w.batch_id, (SELECT max(position) + 1 FROM chunks WHERE batch_id = :batch_id), w.first_id + w.half,
           w.recipients[w.half + 1 : w.size], :error::text,
           CASE WHEN w.size - w.half > 1 THEN :redeliveries::integer ELSE 0 END, 'infinity', statement_timestamp()
    FROM whole w
    RETURNING position
), first AS (
    UPDATE chunks c
    SET recipients = w.recipients[1 : w.half], attempts = 0, tried_at = NULL, error = :error::text,
        redeliveries = CASE WHEN w.half > 1 THEN :redeliveries::integer ELSE 0 END,
        due_at = statement_timestamp() + :patience::interval, updated_at = statement_timestamp()
    FROM whole w WHERE c.batch_id = :batch_id AND c.position = :position
)
SELECT position FROM rest;

-- name: count_chunk_redelivery :one
-- A command came back unsettled, so the chunk may have killed its worker: count that before it is tried again.
WITH counted AS (
    UPDATE chunks SET redeliveries = redeliveries + 1
    WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending'
    RETURNING redeliveries
)
SELECT (SELECT redeliveries FROM counted) AS redeliveries, CASE WHEN c.state = 'failed' THEN c.error END AS given_up
FROM chunks c
WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer;

-- name: fail_chunk :value
-- No attempt is left: its recipients count as failed, and the batch ends in error once nothing is pending.
WITH failed AS (
    UPDATE chunks SET state = 'failed', error = :error::text, updated_at = statement_timestamp()
    WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending'
    RETURNING batch_id, cardinality(recipients) AS recipients, skipped, cardinality(recipients) + skipped AS size,
              clock_timestamp() AS settled_at
), advanced AS (
    UPDATE batches b
    SET failed = b.failed + f.recipients, skipped = b.skipped + f.skipped,
        started_at = coalesce(b.started_at, f.settled_at),
        state = batch_state(b.state, b.delivered + b.failed + b.skipped + f.size, b.failed + f.recipients, b.total),
        finished_at = CASE WHEN b.delivered + b.failed + b.skipped + f.size >= b.total THEN clock_timestamp() END
    FROM failed f
    WHERE b.id = f.batch_id
    RETURNING b.state, b.moves, batch_body(b) AS body, batch_events(b, f.settled_at, f.size) AS events
), recorded_progress AS (
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, e.event, a.moves, a.body, :cause::jsonb, :traceparent::text
    FROM advanced a
    CROSS JOIN LATERAL unnest(a.events) WITH ORDINALITY AS e(event, n)
    WHERE :cause::jsonb IS NOT NULL
    ORDER BY e.n
)
SELECT state FROM advanced;

-- name: forgive_chunk_redelivery :none
-- The attempt that followed has ended without killing its worker: a fault outside the chunk is not the chunk's.
UPDATE chunks SET redeliveries = redeliveries - 1
WHERE batch_id = :batch_id::bigint AND position = :position::integer AND redeliveries > 0;

-- name: defer_chunk :none
-- Others held for too long what its delivery needs to lock: it is commanded again soon, and that does not count. A chunk
-- that is locked itself is in work; one that waits for its turn goes on waiting.
UPDATE chunks c SET due_at = least(c.due_at, now() + :wait::interval)
FROM (
    SELECT batch_id, position FROM chunks
    WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending' AND due_at < 'infinity'
    FOR UPDATE SKIP LOCKED
) free
WHERE c.batch_id = free.batch_id AND c.position = free.position;

-- name: revive_chunks :many
-- Dead letters name these chunks and are requeued: those that were given up are pending again, with all their attempts
-- before them, and may be cut anew; the counters of their batches go back, and a batch that has ended goes on: one in
-- error, or a sent one whose chunk had no recipient left. Of each asked chunk its state and its batch's as they were
-- found; null: there is no such chunk. Locked in the order of deliver.
WITH asked AS MATERIALIZED (
    SELECT DISTINCT a.batch_id, a.position FROM unnest(:batch_ids::bigint[], :positions::integer[]) a(batch_id, position)
), found AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.state, cardinality(c.recipients) AS recipients, c.skipped
    FROM chunks c JOIN asked a ON a.batch_id = c.batch_id AND a.position = c.position
    WHERE NOT EXISTS (SELECT FROM batches b WHERE b.id = c.batch_id AND b.forgotten_at IS NOT NULL)
    ORDER BY c.batch_id, c.position
    FOR UPDATE OF c
), batch AS MATERIALIZED (
    SELECT b.id, b.state FROM batches b
    WHERE b.id = ANY (array(SELECT batch_id FROM found))
    ORDER BY b.id
    FOR UPDATE
), revived AS (
    UPDATE chunks c
    SET state = 'pending', attempts = 0, tried_at = NULL, error = NULL, redeliveries = 0,
        due_at = now() + :due_after::interval, updated_at = now()
    FROM found f JOIN batch b ON b.id = f.batch_id
    WHERE c.batch_id = f.batch_id AND c.position = f.position AND f.state = 'failed' AND b.state <> 'cancelled'
    RETURNING c.batch_id, f.recipients, f.skipped
), counted AS (
    UPDATE batches b
    SET failed = b.failed - r.recipients, skipped = b.skipped - r.skipped, finished_at = NULL, splits = 0,
        moves = b.moves + 1,
        state = CASE WHEN b.state IN ('error', 'sent') THEN 'sending' ELSE b.state END
    FROM (
        SELECT batch_id, sum(recipients) AS recipients, sum(skipped) AS skipped FROM revived GROUP BY batch_id
    ) r
    WHERE b.id = r.batch_id
)
SELECT a.batch_id, a.position, f.state AS chunk_state, b.state AS batch_state
FROM asked a
LEFT JOIN found f ON f.batch_id = a.batch_id AND f.position = a.position
LEFT JOIN batch b ON b.id = a.batch_id;
