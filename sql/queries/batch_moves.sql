-- What a sender does with a batch on its way (CONTRACT 3.1). Each move is one statement: it looks at the state under the
-- batch's lock, so of two at once the second finds what the first has left, and its event is recorded with it. A delivery
-- that begins after the commit sees the new state; chunks in work then are locked, and no move waits for them
-- but retry.

-- name: pause_batch :value
-- No further chunk begins. How often it was moved, null where its state does not allow it.
WITH moved AS (
    UPDATE batches b SET state = 'paused', moves = b.moves + 1, moved_at = statement_timestamp()
    WHERE b.id = :batch_id::bigint AND b.state = ANY (:states::text[])
    RETURNING b.moves, batch_body(b) AS body
), recorded AS (
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, 'batch_paused', m.moves, m.body, :cause::jsonb, :traceparent::text FROM moved m
    WHERE :cause::jsonb IS NOT NULL
)
SELECT moves FROM moved;

-- name: resume_batch :value
-- What is left waits for its turn, whether it was commanded or not, with all its attempts before it; whom it may go to is
-- looked up again. As pause_batch.
WITH waiting AS MATERIALIZED (
    SELECT batch_id, position FROM chunks
    WHERE batch_id = :batch_id::bigint AND coalesce(state, '') = 'pending'
    ORDER BY position
    FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE batches b SET state = 'sending', recheck = true, moves = b.moves + 1, moved_at = statement_timestamp()
    WHERE b.id = :batch_id AND b.state = ANY (:states::text[]) AND (SELECT count(*) FROM waiting) >= 0
    RETURNING b.moves, batch_body(b) AS body
), queued AS (
    UPDATE chunks c SET due_at = 'infinity', attempts = 0, tried_at = NULL FROM waiting w, moved
    WHERE c.batch_id = w.batch_id AND c.position = w.position AND (c.due_at < 'infinity' OR c.attempts > 0)
), recorded AS (
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, 'batch_resumed', m.moves, m.body, :cause::jsonb, :traceparent::text FROM moved m
    WHERE :cause::jsonb IS NOT NULL
)
SELECT moves FROM moved;

-- name: cancel_batch :value
-- Everybody who waits is skipped; chunks in work end, or settle_cancelled settles them. As pause_batch.
WITH waiting AS MATERIALIZED (
    SELECT batch_id, position, cardinality(recipients) + skipped AS size FROM chunks
    WHERE batch_id = :batch_id::bigint AND coalesce(state, '') = 'pending'
    ORDER BY position
    FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE batches b
    SET state = 'cancelled', moves = b.moves + 1, moved_at = statement_timestamp(), skipped = b.skipped + w.size,
        finished_at = CASE WHEN b.delivered + b.failed + b.skipped + w.size >= b.total THEN clock_timestamp() END
    FROM (SELECT coalesce(sum(size), 0) AS size FROM waiting) w
    WHERE b.id = :batch_id AND b.state = ANY (:states::text[])
    RETURNING b.moves, b.finished_at, w.size, batch_body(b) AS body
), settled AS (
    UPDATE chunks c SET state = 'skipped', error = 'cancelled', updated_at = clock_timestamp() FROM waiting w, moved
    WHERE c.batch_id = w.batch_id AND c.position = w.position
), recorded AS (
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, CASE WHEN m.finished_at IS NULL THEN 'batch_progress' ELSE 'batch_finished' END, m.moves, m.body,
           :cause::jsonb, :traceparent::text
    FROM moved m WHERE :cause::jsonb IS NOT NULL AND (m.size > 0 OR m.finished_at IS NOT NULL)
)
SELECT moves FROM moved;

-- name: settle_cancelled :value
-- Chunks that were in work when their batch was cancelled and have not ended: the one asked for, or with nulls those of
-- the batch or of all batches. How many; one that is still in work stays. Locked in the order of deliver.
WITH stopped AS MATERIALIZED (
    SELECT id FROM batches
    WHERE state = 'cancelled' AND finished_at IS NULL AND (:batch_id::bigint IS NULL OR id = :batch_id)
    ORDER BY id
), waiting AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.size
    FROM stopped
    CROSS JOIN LATERAL (
        SELECT batch_id, position, cardinality(recipients) + skipped AS size FROM chunks
        WHERE batch_id = stopped.id AND coalesce(state, '') = 'pending'
          AND (:position::integer IS NULL OR position = :position)
        ORDER BY position
        FOR UPDATE SKIP LOCKED
    ) c
), batch AS MATERIALIZED (
    SELECT id FROM batches
    WHERE id = ANY (array(SELECT batch_id FROM waiting)) AND state = 'cancelled'
    ORDER BY id
    FOR UPDATE
), advanced AS (
    UPDATE batches b
    SET skipped = b.skipped + w.size,
        finished_at = CASE WHEN b.delivered + b.failed + b.skipped + w.size >= b.total THEN clock_timestamp() END
    FROM (SELECT batch_id, sum(size) AS size FROM waiting GROUP BY batch_id) w
    JOIN batch ON batch.id = w.batch_id
    WHERE b.id = w.batch_id
    RETURNING b.moves, b.finished_at, batch_body(b) AS body
), recorded AS (
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, CASE WHEN a.finished_at IS NULL THEN 'batch_progress' ELSE 'batch_finished' END, a.moves, a.body,
           :cause::jsonb, :traceparent::text
    FROM advanced a WHERE :cause::jsonb IS NOT NULL
), settled AS (
    UPDATE chunks c SET state = 'skipped', error = 'cancelled', updated_at = clock_timestamp()
    FROM waiting w JOIN batch ON batch.id = w.batch_id
    WHERE c.batch_id = w.batch_id AND c.position = w.position
    RETURNING 1
)
SELECT count(*) FROM settled;

-- name: lock_unsettled_chunks :none
-- Before a retry: waits for what is in work, so that the statements behind it see what became of it.
SELECT FROM chunks
WHERE batch_id = :batch_id::bigint AND coalesce(state, '') = ANY ('{pending,failed}')
ORDER BY position
FOR UPDATE;

-- name: retry_batch :one
-- Those who failed are pending again with all their attempts before them, and may be cut anew; the counters go back.
-- Nothing else of the batch is pending then. Positions of the chunks that go on; no row where its state does not allow it.
WITH given_up AS MATERIALIZED (
    SELECT batch_id, position, cardinality(recipients) AS recipients, skipped FROM chunks
    WHERE batch_id = :batch_id::bigint AND coalesce(state, '') = 'failed' AND cardinality(recipients) > 0
    ORDER BY position
    FOR UPDATE
), moved AS (
    UPDATE batches b
    SET state = 'sending', recheck = true, moves = b.moves + 1, moved_at = statement_timestamp(), splits = 0,
        finished_at = NULL, error = NULL, failed = b.failed - g.recipients, skipped = b.skipped - g.skipped
    FROM (SELECT sum(recipients) AS recipients, sum(skipped) AS skipped FROM given_up HAVING count(*) > 0) g
    WHERE b.id = :batch_id AND b.state = ANY (:states::text[]) AND b.forgotten_at IS NULL
    RETURNING b.moves, batch_body(b) AS body
), revived AS (
    UPDATE chunks c
    SET state = 'pending', error = NULL, attempts = 0, tried_at = NULL, redeliveries = 0,
        due_at = 'infinity', updated_at = clock_timestamp()
    FROM given_up g, moved
    WHERE c.batch_id = g.batch_id AND c.position = g.position
), recorded AS (
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, 'batch_resumed', m.moves, m.body, :cause::jsonb, :traceparent::text FROM moved m
    WHERE :cause::jsonb IS NOT NULL
)
SELECT moves, array(SELECT position FROM given_up ORDER BY position) AS positions FROM moved;
