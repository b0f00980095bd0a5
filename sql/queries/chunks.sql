-- name: read_chunk :many
-- All that the delivery of a pending chunk of a running batch needs: what is sent, to whom, and who holds which of the
-- sender's codes. Delivered already, or stopped: only its states. No row: there is no such chunk. Nothing is locked, so
-- that a command which comes twice costs this one statement; deliver looks again.
SELECT c.state AS chunk_state, b.state AS batch_state, s.id AS send_id,
       CASE WHEN s.id IS NOT NULL THEN c.recipients END AS recipients, c.first_id, b.tags, b.user_note,
       s.author_id, s.created_at, s.private, context_key(s.context_type, s.context_id) AS context_key,
       s.has_attachments, s.has_media_objects, codes.*
FROM chunks c
JOIN batches b ON b.id = c.batch_id
LEFT JOIN sends s ON s.id = b.send_id AND c.state = 'pending' AND b.state IN ('created', 'sending')
LEFT JOIN LATERAL (
    SELECT * FROM codes_in_chunk(c.batch_id, c.position) WHERE s.id IS NOT NULL OFFSET 0
) codes ON true
WHERE c.batch_id = $1::bigint AND c.position = $2::integer;

-- name: deliver :one
-- Writes one message into the thread of every recipient: private threads that exist are found by pair and context and
-- reused, the others are opened; then the chunk and its batch are advanced, and the outbox tells of it. A send without
-- a batch passes null for it, and its recipients; those of a chunk are in its row, which is the idempotency key: unless
-- it is still pending nothing is written. Tag sets run parallel to the recipients, or one number stands for all.
-- Of the parts that write and that nothing reads, PostgreSQL runs the last one first: the batch row, where all deliveries
-- of the batch meet, stands before the threads in order to be locked after them, for the shortest time.
WITH chunk AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.recipients
    FROM chunks c
    JOIN batches b ON b.id = c.batch_id
    WHERE c.batch_id = $13::bigint AND c.position = $14::integer AND c.state = 'pending'
      AND b.state IN ('created', 'sending')
    FOR UPDATE OF c
), recipient AS (
    SELECT r.user_id, coalesce(r.tag_set, ($7::integer[])[1]) AS tag_set,
           coalesce(r.own_tag_set, ($8::integer[])[1]) AS own_tag_set,
           coalesce(r.sender_tag_set, ($9::integer[])[1]) AS sender_tag_set, $5::bigint + r.n - 1 AS fresh_id
    FROM unnest(
             coalesce($6::bigint[], (SELECT recipients FROM chunk)), $7::integer[], $8::integer[], $9::integer[]
         ) WITH ORDINALITY AS r(user_id, tag_set, own_tag_set, sender_tag_set, n)
    WHERE r.user_id IS NOT NULL
), thread AS MATERIALIZED (
    -- LIMIT holds the planner to one look into the index for each, however empty the table was when it planned.
    SELECT r.*, held.conversation_id AS found
    FROM recipient r
    LEFT JOIN LATERAL (
        SELECT p.conversation_id
        FROM participants p
        WHERE $3::boolean
          AND p.user_id = least(r.user_id, $2::bigint) AND p.private_peer_id = greatest(r.user_id, $2::bigint)
          AND p.private_context = $4::bigint AND p.private_peer_id IS NOT NULL
        LIMIT 1
    ) held ON true
), known AS MATERIALIZED (
    -- Locked in one order, whichever of the two writes: sends that meet in a thread wait instead of deadlocking.
    SELECT t.*
    FROM (SELECT * FROM thread WHERE found IS NOT NULL ORDER BY found) t
    CROSS JOIN LATERAL (
        SELECT FROM participants p
        WHERE p.conversation_id = t.found AND p.user_id = least(t.user_id, $2::bigint)
        FOR NO KEY UPDATE
    ) locked
), finished AS (
    UPDATE chunks c
    SET state = 'delivered', updated_at = $15::timestamptz, error = NULL,
        conversation_ids = (SELECT array_agg(coalesce(t.found, t.fresh_id) ORDER BY t.fresh_id) FROM thread t
                            WHERE EXISTS (SELECT FROM known))
    FROM chunk
    WHERE c.batch_id = chunk.batch_id AND c.position = chunk.position
    RETURNING c.batch_id, cardinality(c.recipients) AS recipients
), counted AS (
    UPDATE batches b
    SET delivered = b.delivered + n.recipients,
        started_at = coalesce(b.started_at, $15::timestamptz),
        state = CASE WHEN b.delivered + b.failed + b.skipped + n.recipients < b.total
                     THEN CASE b.state WHEN 'created' THEN 'sending' ELSE b.state END
                     WHEN b.failed > 0 THEN 'error'
                     ELSE 'sent' END,
        finished_at = CASE WHEN b.delivered + b.failed + b.skipped + n.recipients >= b.total
                           THEN $15::timestamptz END
    FROM finished n
    WHERE b.id = n.batch_id
    RETURNING b.state, batch_body(b) AS body, b.delivered + b.failed + b.skipped = n.recipients AS first
), told AS (
    INSERT INTO outbox (lane, event, body, cause, traceparent)
    SELECT 16, e.event, c.body, $17::jsonb, $18::text
    FROM counted c
    CROSS JOIN LATERAL unnest(batch_events(c.state, c.first)) WITH ORDINALITY AS e(event, n)
    WHERE $17::jsonb IS NOT NULL
    ORDER BY e.n
), opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    SELECT t.fresh_id, $1::bigint, t.tag_set, t.tag_set, $11::boolean, $12::boolean
    FROM thread t WHERE t.found IS NULL
), joined AS (
    INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
                              private_peer_id, private_context, tag_set, message_count, unread,
                              has_attachments, has_media_objects)
    SELECT t.fresh_id, side.user_id, side.received_at, side.authored_at, side.authored_at,
           CASE WHEN $3::boolean AND side.user_id <= side.peer_id THEN side.peer_id END,
           CASE WHEN $3::boolean AND side.user_id <= side.peer_id THEN $4::bigint END,
           side.tag_set, 1, side.received_at IS NOT NULL, $11::boolean, $12::boolean
    FROM thread t
    CROSS JOIN LATERAL (
        SELECT $2::bigint AS user_id, t.user_id AS peer_id, NULL::timestamptz AS received_at,
               $10::timestamptz AS authored_at, t.sender_tag_set AS tag_set
        UNION ALL
        SELECT t.user_id, $2::bigint, $10::timestamptz, NULL::timestamptz, t.own_tag_set
    ) AS side
    -- A monologue has one participant, who has sent and not received.
    WHERE t.found IS NULL AND (side.authored_at IS NOT NULL OR side.user_id <> $2::bigint)
), appended AS (
    INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
    SELECT t.found, t.fresh_id, $1::bigint, t.tag_set, false FROM known t
), received AS (
    UPDATE participants p
    SET message_count = p.message_count + 1,
        last_message_at = CASE WHEN p.subscribed OR p.last_message_at IS NULL
                               THEN greatest(p.last_message_at, $10::timestamptz) ELSE p.last_message_at END,
        unread = CASE WHEN p.subscribed OR p.last_message_at IS NULL THEN true ELSE p.unread END,
        archived = CASE WHEN p.subscribed OR p.last_message_at IS NULL THEN false ELSE p.archived END,
        touched_at = CASE WHEN p.subscribed OR p.last_message_at IS NULL THEN p.touched_at ELSE $10::timestamptz END,
        has_attachments = p.has_attachments OR $11::boolean,
        has_media_objects = p.has_media_objects OR $12::boolean
    FROM known t
    WHERE t.found = p.conversation_id AND p.user_id = t.user_id AND t.user_id <> $2::bigint
    RETURNING p.conversation_id, p.user_id, p.tag_set, t.own_tag_set AS new_tag_set, t.tag_set AS added
), authored AS (
    UPDATE participants p
    SET message_count = p.message_count + 1,
        last_authored_at = greatest(p.last_authored_at, $10::timestamptz),
        visible_last_authored_at = greatest(p.visible_last_authored_at, $10::timestamptz),
        has_attachments = p.has_attachments OR $11::boolean,
        has_media_objects = p.has_media_objects OR $12::boolean
    FROM known t
    WHERE t.found = p.conversation_id AND p.user_id = $2::bigint
    RETURNING p.conversation_id, p.user_id, p.tag_set, t.sender_tag_set AS new_tag_set, t.tag_set AS added
), flagged AS (
    UPDATE conversations c
    SET has_attachments = c.has_attachments OR $11::boolean,
        has_media_objects = c.has_media_objects OR $12::boolean
    FROM known t
    WHERE t.found = c.id AND ($11::boolean OR $12::boolean)
), recorded AS (
    -- The count comes after all locks, so a thread's rows are in the order of the commits. Ids from one block are in one
    -- lane; reused threads may be in many.
    INSERT INTO outbox (lane, event, author_id, created_at, first_id, copies, conversation_ids, message_ids,
                        cause, traceparent)
    SELECT outbox_lane($5::bigint), 'delivered', $2::bigint, $10::timestamptz, min(t.fresh_id), count(*),
           NULL::bigint[], NULL::bigint[], $17::jsonb, $18::text
    FROM thread t
    WHERE $17::jsonb IS NOT NULL AND (SELECT count(*) FROM known) = 0
    HAVING count(*) > 0
    UNION ALL
    SELECT outbox_lane(coalesce(t.found, t.fresh_id)), 'delivered', $2::bigint, $10::timestamptz, NULL, NULL,
           array_agg(coalesce(t.found, t.fresh_id) ORDER BY t.fresh_id), array_agg(t.fresh_id ORDER BY t.fresh_id),
           $17::jsonb, $18::text
    FROM thread t
    WHERE $17::jsonb IS NOT NULL AND (SELECT count(*) FROM known) > 0
    GROUP BY 1
), retagged AS (
    -- Rows of reused threads whose tags may have to change; rare, and settled by the caller.
    SELECT * FROM received r WHERE r.tag_set <> r.new_tag_set
    UNION ALL
    SELECT * FROM authored a WHERE a.tag_set <> a.new_tag_set
)
SELECT (SELECT count(*) FROM known) AS reused,
       (SELECT cardinality(recipients) FROM chunk) AS claimed,
       (SELECT array_agg(coalesce(t.found, t.fresh_id) ORDER BY t.fresh_id) FROM thread t WHERE $16::boolean)
           AS conversation_ids,
       (SELECT jsonb_agg(to_jsonb(r)) FROM retagged r) AS retagged;

-- name: plan_batch :many
-- The pending chunks of one batch, taken over for publishing: the sweeper leaves them alone until due_at.
UPDATE chunks c SET due_at = $2::timestamptz
FROM batches b
WHERE c.batch_id = $1::bigint AND c.state = 'pending' AND b.id = c.batch_id AND b.state IN ('created', 'sending')
RETURNING c.position;

-- name: take_due_chunks :many
-- Committed, not done, and nobody has reported for too long: publish again, in the trace of the request that sent it.
-- Several sweepers share the work.
UPDATE chunks c SET due_at = $2::timestamptz
FROM (
    SELECT d.batch_id, d.position, b.traceparent FROM chunks d
    JOIN batches b ON b.id = d.batch_id AND b.state IN ('created', 'sending')
    WHERE d.state = 'pending' AND d.due_at <= $1::timestamptz
    ORDER BY d.due_at
    LIMIT $3::integer
    FOR UPDATE OF d SKIP LOCKED
) due
WHERE c.batch_id = due.batch_id AND c.position = due.position
RETURNING c.batch_id, c.position, due.traceparent;

-- name: postpone_chunk :value
-- A delivery failed: note why, and wait. No row: the failure does not count, or the chunk is no longer pending.
UPDATE chunks
SET attempts = attempts + 1, error = :error::text, tried_at = :now::timestamptz, updated_at = :now::timestamptz,
    due_at = next_attempt_at(attempts, :first_wait::interval, :now::timestamptz)
WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending'
  AND attempt_counts(attempts, tried_at, :first_wait::interval, :now::timestamptz)
RETURNING attempts;

-- name: count_chunk_redelivery :one
-- A command came back unsettled, so the chunk may have killed its worker: count that before it is tried again.
WITH counted AS (
    UPDATE chunks SET hand_outs = hand_outs + 1
    WHERE batch_id = :batch_id::bigint AND position = :position::integer AND state = 'pending'
    RETURNING hand_outs
)
SELECT (SELECT hand_outs FROM counted) AS redeliveries, CASE WHEN c.state = 'failed' THEN c.error END AS given_up
FROM chunks c
WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer;

-- name: fail_chunk :one
-- No attempt is left: its recipients count as failed, and the batch ends in error once nothing is pending.
WITH failed AS (
    UPDATE chunks SET state = 'failed', error = $3::text, updated_at = $4::timestamptz
    WHERE batch_id = $1::bigint AND position = $2::integer AND state = 'pending'
    RETURNING batch_id, cardinality(recipients) AS recipients
), counted AS (
    UPDATE batches b
    SET failed = b.failed + f.recipients,
        started_at = coalesce(b.started_at, $4::timestamptz),
        state = CASE WHEN b.delivered + b.failed + b.skipped + f.recipients >= b.total THEN 'error'
                     WHEN b.state = 'created' THEN 'sending' ELSE b.state END,
        finished_at = CASE WHEN b.delivered + b.failed + b.skipped + f.recipients >= b.total THEN $4::timestamptz END
    FROM failed f
    WHERE b.id = f.batch_id
    RETURNING b.state, batch_body(b) AS body, b.delivered + b.failed + b.skipped = f.recipients AS first
), told AS (
    INSERT INTO outbox (lane, event, body, cause, traceparent)
    SELECT 16, e.event, c.body, $5::jsonb, $6::text
    FROM counted c
    CROSS JOIN LATERAL unnest(batch_events(c.state, c.first)) WITH ORDINALITY AS e(event, n)
    WHERE $5::jsonb IS NOT NULL
    ORDER BY e.n
)
SELECT state FROM counted;
