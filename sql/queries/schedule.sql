-- name: may_start_at :value
-- Whether a send may be scheduled for that moment, by the clock that will start it (CONTRACT 3.2).
SELECT :send_at::timestamptz > statement_timestamp()
   AND :send_at::timestamptz <= statement_timestamp() + :longest::interval AS possible;

-- name: schedule_batch :value
-- Accepts a batch that starts later: its recipients stand in pending chunks as those of any batch, so that they can be
-- listed, counted and cancelled, and no worker looks at the chunks of a scheduled batch. None of them is ever due: the
-- start makes them anew.
WITH asked AS MATERIALIZED (
    SELECT coalesce(:recipients::text, current_setting('clarion.recipients', true))::bigint[] AS recipients
), batch AS (
    INSERT INTO batches AS b (send_id, sender_id, message_id, tags, user_note, state, total, created_at, send_at,
                              traceparent)
    SELECT :send_id::bigint, :sender_id::bigint, nextval('id_blocks'), :tags::text[], :user_note::boolean, 'scheduled',
           cardinality(recipients), :created_at::timestamptz, :send_at::timestamptz, :traceparent::text
    FROM asked
    RETURNING b.id, batch_body(b) AS body
), cut AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
    SELECT batch.id, n, nextval('id_blocks'),
           asked.recipients[n * :chunk_size::integer + 1 : (n + 1) * :chunk_size::integer],
           'infinity', :created_at::timestamptz
    FROM asked, batch, generate_series(0, (cardinality(asked.recipients) - 1) / :chunk_size::integer) AS n
), kept AS (
    INSERT INTO scheduled_sends (batch_id, request, due_at, traceparent)
    SELECT id, :request::jsonb, :send_at::timestamptz, :traceparent::text FROM batch
), recorded AS (
    INSERT INTO outbox (lane, event, body, cause, traceparent)
    SELECT 16, 'batch_scheduled', body, :cause::jsonb, :traceparent::text FROM batch WHERE :cause::jsonb IS NOT NULL
)
SELECT id FROM batch;

-- name: move_batch :value
-- A scheduled batch starts at another time. Locked in the order of its start: a batch that is being started is waited
-- for, and is not moved then. No row: it is not scheduled (any more).
WITH waiting AS MATERIALIZED (
    SELECT batch_id FROM scheduled_sends WHERE batch_id = :batch_id::bigint FOR UPDATE
), moved AS (
    UPDATE batches b SET send_at = :send_at::timestamptz
    FROM waiting w
    WHERE b.id = w.batch_id AND b.state = 'scheduled'
    RETURNING b.id, batch_body(b) AS body
), due AS (
    UPDATE scheduled_sends s SET due_at = :send_at::timestamptz, attempts = 0, error = NULL
    FROM moved m
    WHERE s.batch_id = m.id
), recorded AS (
    INSERT INTO outbox (lane, event, body, cause, traceparent)
    SELECT 16, 'batch_scheduled', body, :cause::jsonb, :traceparent::text FROM moved WHERE :cause::jsonb IS NOT NULL
)
SELECT id FROM moved;

-- name: next_start :one
-- How long it is until the next scheduled send is due, in seconds; negative when it is overdue. No row: there is none.
SELECT extract(epoch FROM due_at - statement_timestamp())::float8 AS seconds FROM scheduled_sends ORDER BY due_at LIMIT 1;

-- name: take_scheduled :one
-- The send that is due for longest, locked until its start is committed; those that others start are passed over. Also
-- one whose batch was cancelled, and perhaps removed since: its row is left over.
SELECT s.batch_id, s.request, s.traceparent, coalesce(b.state, 'cancelled') AS state,
       coalesce(b.sender_id, 0) AS sender_id, coalesce(b.send_id, 0) AS send_id,
       coalesce(extract(epoch FROM statement_timestamp() - b.send_at)::float8, 0) AS late
FROM (
    SELECT batch_id, request, traceparent FROM scheduled_sends
    WHERE due_at <= statement_timestamp()
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) s
LEFT JOIN batches b ON b.id = s.batch_id;

-- name: forget_scheduled :none
-- Started, refused or cancelled.
DELETE FROM scheduled_sends WHERE batch_id = :batch_id::bigint;

-- name: postpone_scheduled :none
-- A start failed, and not for a reason that lies in the request: note why, and try again, however often.
UPDATE scheduled_sends
SET attempts = attempts + 1, error = :error::text,
    due_at = next_attempt_at(least(attempts, :doublings::integer), :first_wait::interval, statement_timestamp())
WHERE batch_id = :batch_id::bigint AND due_at <= statement_timestamp();

-- name: start_batch :one
-- A scheduled batch begins, for those whom its request names now. Its chunks are cut anew, with ids that come after
-- those of all that was accepted before the start. Who was listed and is not meant any more is skipped, with the reason;
-- who was merged into one that is meant has no place of his own any more. No row: the batch is no longer scheduled, or
-- its sender was merged meanwhile.
-- A group has one conversation, and a message that all share: each is a chunk of his own then, delivered already.
WITH asked AS MATERIALIZED (
    SELECT coalesce(:recipients::text, current_setting('clarion.recipients', true))::bigint[] AS recipients, coalesce(:group_id::bigint, 0) > 0 AS shared
), listed AS MATERIALIZED (
    SELECT c.position, c.recipients FROM chunks c
    WHERE c.batch_id = :batch_id::bigint AND coalesce(c.state, '') = 'pending'
    ORDER BY c.position
    FOR UPDATE
), dropped AS (
    DELETE FROM chunks c
    WHERE c.batch_id = :batch_id::bigint AND c.position = ANY (array(SELECT position FROM listed))
), gone AS MATERIALIZED (
    SELECT missing.user_id, CASE WHEN u.workflow_state IS DISTINCT FROM 'deleted' AND u.id IS NOT NULL
                                 THEN 'no_longer_reachable' ELSE 'user_deleted' END AS reason
    FROM (
        (SELECT r.user_id FROM listed CROSS JOIN LATERAL unnest(listed.recipients) AS r(user_id)
         UNION
         SELECT s.user_id FROM skipped_recipients s WHERE s.batch_id = :batch_id::bigint)
        EXCEPT
        SELECT unnest(recipients) FROM asked
    ) missing
    LEFT JOIN users u ON u.id = missing.user_id
    WHERE u.workflow_state IS DISTINCT FROM 'deleted' OR u.merged_into_user_id IS NULL
       OR u.merged_into_user_id <> ALL (array(SELECT unnest(recipients) FROM asked))
), skipped AS (
    INSERT INTO skipped_recipients (batch_id, user_id, reason, skipped_at)
    SELECT :batch_id::bigint, user_id, reason, statement_timestamp() FROM gone
    ON CONFLICT (batch_id, user_id) DO UPDATE SET reason = excluded.reason
), meant_again AS (
    DELETE FROM skipped_recipients s
    WHERE s.batch_id = :batch_id::bigint AND s.user_id <> ALL (array(SELECT user_id FROM gone))
), cut AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, state, due_at, updated_at)
    SELECT :batch_id::bigint, last.position + 1 + n,
           CASE WHEN asked.shared THEN :group_id::bigint ELSE nextval('id_blocks') END,
           asked.recipients[n * :chunk_size::integer + 1 : (n + 1) * :chunk_size::integer],
           CASE WHEN asked.shared THEN 'delivered' ELSE 'pending' END,
           'infinity', statement_timestamp()
    FROM asked, (SELECT coalesce(max(position), -1) AS position FROM listed) last,
         generate_series(0, (cardinality(asked.recipients) - 1) / :chunk_size::integer) AS n
    WHERE cardinality(asked.recipients) > 0
), counted AS MATERIALIZED (
    SELECT (SELECT count(*) FROM gone)::integer AS skipped, cardinality(recipients) AS recipients,
           CASE WHEN shared THEN cardinality(recipients) ELSE 0 END AS delivered
    FROM asked
), started AS (
    UPDATE batches b
    SET tags = coalesce(:tags::text[], b.tags),
        audiences = :audiences::text[], from_conversation_id = :from_conversation_id::bigint,
        members_of_course = :members_of_course::bigint, total = n.recipients + n.skipped,
        skipped = n.skipped, delivered = n.delivered,
        state = CASE WHEN n.skipped + n.delivered = 0 THEN 'created'
                     ELSE batch_state('created', n.skipped + n.delivered, 0, n.recipients + n.skipped) END,
        started_at = CASE WHEN n.skipped + n.delivered > 0 THEN clock_timestamp() END,
        finished_at = CASE WHEN n.delivered + n.skipped >= n.recipients + n.skipped THEN clock_timestamp() END
    FROM counted n
    WHERE b.id = :batch_id::bigint AND b.state = 'scheduled' AND b.sender_id = :sender_id::bigint
    RETURNING b.state, b.total, b.delivered, b.skipped, batch_body(b) AS body
), recorded AS (
    -- The first that become settled, here or by the first chunk, are its beginning.
    INSERT INTO outbox (lane, event, body, cause, traceparent)
    SELECT 16, e.event, s.body, :cause::jsonb, :traceparent::text
    FROM started s CROSS JOIN LATERAL unnest(batch_events(s.state, true)) WITH ORDINALITY AS e(event, n)
    WHERE :cause::jsonb IS NOT NULL AND s.delivered + s.skipped > 0
    ORDER BY e.n
)
SELECT state, total, delivered, skipped FROM started;

-- name: refuse_start :one
-- The sender may not send this any more: nobody gets it. No row: the batch is no longer scheduled.
WITH listed AS MATERIALIZED (
    SELECT c.position FROM chunks c
    WHERE c.batch_id = :batch_id::bigint AND coalesce(c.state, '') = 'pending'
    ORDER BY c.position
    FOR UPDATE
), settled AS (
    UPDATE chunks c SET state = 'skipped', error = 'sender_not_allowed', updated_at = statement_timestamp()
    WHERE c.batch_id = :batch_id::bigint AND c.position = ANY (array(SELECT position FROM listed))
), ended AS (
    UPDATE batches b
    SET state = 'error', error = :error::text, skipped = b.total, finished_at = clock_timestamp()
    WHERE b.id = :batch_id::bigint AND b.state = 'scheduled'
    RETURNING b.total, batch_body(b) AS body
), recorded AS (
    INSERT INTO outbox (lane, event, body, cause, traceparent)
    SELECT 16, 'batch_failed', body, :cause::jsonb, :traceparent::text FROM ended WHERE :cause::jsonb IS NOT NULL
)
SELECT total FROM ended;
