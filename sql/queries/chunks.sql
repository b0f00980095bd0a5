-- name: claim_chunk :many
-- Locks a pending chunk of a running batch and brings all its delivery needs: what is sent, to whom, and who holds
-- which of the sender's codes (for tags, semantics.md 4.2). Delivered already, or stopped: only its states, as they were
-- when the statement began. No row: there is no such chunk.
-- The recipients span a range of user ids, so the courses named by the request are read as one range as well; who in it
-- is a recipient, the reader knows. Recipients for whom that settles everything are not looked up one by one.
WITH standing AS (
    SELECT c.state AS chunk_state, b.state AS batch_state
    FROM chunks c
    JOIN batches b ON b.id = c.batch_id
    WHERE c.batch_id = $1::bigint AND c.position = $2::integer
), chunk AS MATERIALIZED (
    SELECT c.batch_id, c.first_id, c.recipients, c.attempts, b.send_id, b.sender_id, b.tags, b.user_note
    FROM chunks c
    JOIN batches b ON b.id = c.batch_id
    WHERE c.batch_id = $1::bigint AND c.position = $2::integer AND c.state = 'pending'
      AND b.state IN ('created', 'sending')
    FOR UPDATE OF c
), sender_code AS MATERIALIZED (
    SELECT u.code, bool_or(u.active) AS active
    FROM user_codes u WHERE u.user_id = (SELECT sender_id FROM chunk)
    GROUP BY u.code
), asked_code AS MATERIALIZED (
    SELECT code, active, CASE WHEN code LIKE 'course\_%' THEN substr(code, 8)::bigint END AS course_id
    FROM sender_code WHERE code = ANY ((SELECT tags FROM chunk)::text[])
), settling AS MATERIALIZED (
    -- Both currently in an asked course, and nothing but courses asked for: no other code can matter to the two.
    SELECT array_agg(course_id) FILTER (WHERE active) AS course_ids FROM asked_code HAVING count(*) = count(course_id)
), asked AS MATERIALIZED (
    -- OFFSET 0: the standing is worked out once for each row, not for each mention.
    SELECT e.user_id, e.course_id, e.standing <> 'completed' AS active,
           e.standing <> 'completed' AND e.course_id = ANY ((SELECT course_ids FROM settling)::bigint[]) AS settled
    FROM (
        SELECT user_id, course_id, standing FROM enrollment_standings
        WHERE course_id = ANY (array(SELECT course_id FROM asked_code WHERE course_id IS NOT NULL))
          AND user_id BETWEEN (SELECT recipients[1] FROM chunk)
                          AND (SELECT recipients[cardinality(recipients)] FROM chunk)
          AND type <> 'StudentViewEnrollment'
        OFFSET 0
    ) e
    WHERE e.standing IN ('active', 'invited', 'completed')
), usual AS MATERIALIZED (
    -- One course, and those in it are the recipients, one for one: then nobody is looked up or listed.
    SELECT min(course_id) AS course_id FROM asked WHERE settled
    HAVING array_agg(user_id) = (SELECT recipients FROM chunk) AND min(course_id) = max(course_id)
), other AS MATERIALIZED (
    SELECT r.user_id, held.code, held.active
    FROM (
        SELECT u AS user_id FROM chunk, unnest(chunk.recipients) AS u
        WHERE NOT EXISTS (SELECT FROM usual) AND (SELECT count(*) FROM sender_code) > 0
          AND u NOT IN (SELECT user_id FROM asked WHERE settled)
    ) r
    CROSS JOIN LATERAL (
        SELECT u.code, bool_or(u.active) AS active FROM user_codes u WHERE u.user_id = r.user_id GROUP BY u.code
    ) held
    JOIN sender_code s ON s.code = held.code
), by_code AS (
    SELECT 'course_' || course_id AS code, active, array_agg(user_id) AS holders
    FROM asked
    WHERE NOT (settled AND EXISTS (SELECT FROM usual))
    GROUP BY course_id, active
    UNION ALL
    -- No list of holders stands for all recipients.
    SELECT 'course_' || course_id, true, NULL FROM usual
    UNION ALL
    SELECT code, active, array_agg(user_id) FROM other GROUP BY code, active
    UNION ALL
    -- An empty code stands for any current code at all, which decides whether concluded ones count.
    SELECT '', true, array_agg(o.user_id)
    FROM (SELECT user_id FROM other GROUP BY user_id HAVING NOT bool_or(active)) o
    WHERE EXISTS (SELECT FROM user_codes u WHERE u.user_id = o.user_id AND u.active OFFSET 0)
    HAVING count(*) > 0
)
SELECT standing.*, chunk.*, s.author_id, s.created_at, s.private, context_key(s.context_type, s.context_id) AS context_key,
       s.has_attachments, s.has_media_objects,
       array(SELECT code FROM sender_code) AS sender_codes,
       array(SELECT code FROM sender_code WHERE active) AS sender_active_codes,
       by_code.code, by_code.active, by_code.holders
FROM standing
LEFT JOIN (chunk JOIN sends s ON s.id = chunk.send_id LEFT JOIN by_code ON true) ON true;

-- name: deliver :one
-- Writes one message into the thread of every recipient: private threads that exist are found by pair and context and
-- reused, the others are opened; then the chunk and its batch are advanced. A send without a batch passes null for it,
-- and its recipients; those of a chunk are in its row. Tag sets run parallel to them, or one number stands for all.
-- The batch row is locked last and for the shortest time, because its update reads the counts of all other parts.
WITH recipient AS (
    SELECT r.user_id, coalesce(r.tag_set, ($7::integer[])[1]) AS tag_set,
           coalesce(r.own_tag_set, ($8::integer[])[1]) AS own_tag_set,
           coalesce(r.sender_tag_set, ($9::integer[])[1]) AS sender_tag_set, $5::bigint + r.n - 1 AS fresh_id
    FROM unnest(
             coalesce($6::bigint[], (SELECT c.recipients FROM chunks c
                                     WHERE c.batch_id = $13::bigint AND c.position = $14::integer)),
             $7::integer[], $8::integer[], $9::integer[]
         ) WITH ORDINALITY AS r(user_id, tag_set, own_tag_set, sender_tag_set, n)
), thread AS MATERIALIZED (
    SELECT r.*, p.conversation_id AS found
    FROM recipient r
    LEFT JOIN participants p ON $3::boolean
        AND p.user_id = least(r.user_id, $2::bigint) AND p.private_peer_id = greatest(r.user_id, $2::bigint)
        AND p.private_context = $4::bigint AND p.private_peer_id IS NOT NULL
), known AS MATERIALIZED (
    -- Locked in one order, whichever of the two writes: sends that meet in a thread wait instead of deadlocking.
    SELECT t.*
    FROM thread t
    JOIN participants p ON p.conversation_id = t.found AND p.user_id = least(t.user_id, $2::bigint)
    ORDER BY t.found
    FOR NO KEY UPDATE OF p
), opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    SELECT t.fresh_id, $1::bigint, t.tag_set, t.tag_set, $11::boolean, $12::boolean
    FROM thread t WHERE t.found IS NULL
    RETURNING 1
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
    RETURNING 1
), appended AS (
    INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
    SELECT t.found, t.fresh_id, $1::bigint, t.tag_set, false FROM known t
    RETURNING 1
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
), finished AS (
    UPDATE chunks c
    SET state = 'delivered', updated_at = $15::timestamptz, error = NULL,
        conversation_ids = (SELECT array_agg(coalesce(t.found, t.fresh_id) ORDER BY t.fresh_id) FROM thread t
                            WHERE EXISTS (SELECT FROM known))
    WHERE c.batch_id = $13::bigint AND c.position = $14::integer
    RETURNING cardinality(c.recipients) AS recipients
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
    FROM (
        SELECT f.recipients, (SELECT count(*) FROM opened) + (SELECT count(*) FROM joined)
                             + (SELECT count(*) FROM appended) + (SELECT count(*) FROM received)
                             + (SELECT count(*) FROM authored) AS written
        FROM finished f
    ) n
    WHERE b.id = $13::bigint AND n.written >= 0
    RETURNING b.state, b.total, b.delivered
), retagged AS (
    -- Rows of reused threads whose tags may have to change; rare, and settled by the caller.
    SELECT * FROM received r WHERE r.tag_set <> r.new_tag_set
    UNION ALL
    SELECT * FROM authored a WHERE a.tag_set <> a.new_tag_set
)
SELECT (SELECT array_agg(coalesce(t.found, t.fresh_id) ORDER BY t.fresh_id) FROM thread t WHERE $16::boolean)
           AS conversation_ids,
       (SELECT count(*) FROM known) AS reused,
       (SELECT state FROM counted) AS batch_state,
       (SELECT jsonb_agg(to_jsonb(r)) FROM retagged r) AS retagged;

-- name: plan_batch :many
-- The pending chunks of one batch, taken over for publishing: the sweeper leaves them alone until due_at.
UPDATE chunks c SET due_at = $2::timestamptz
FROM batches b
WHERE c.batch_id = $1::bigint AND c.state = 'pending' AND b.id = c.batch_id AND b.state IN ('created', 'sending')
RETURNING c.position;

-- name: take_due_chunks :many
-- Committed, not done, and nobody has reported for too long: publish again. Several sweepers share the work.
UPDATE chunks c SET due_at = $2::timestamptz
FROM (
    SELECT d.batch_id, d.position FROM chunks d
    JOIN batches b ON b.id = d.batch_id AND b.state IN ('created', 'sending')
    WHERE d.state = 'pending' AND d.due_at <= $1::timestamptz
    ORDER BY d.due_at
    LIMIT $3::integer
    FOR UPDATE OF d SKIP LOCKED
) due
WHERE c.batch_id = due.batch_id AND c.position = due.position
RETURNING c.batch_id, c.position;

-- name: postpone_chunk :one
-- A delivery failed: note why, and wait twice as long as after the failure before. A failure within that wait, of a
-- command that came twice, does not count: the attempts must not be used up in a moment.
UPDATE chunks
SET attempts = attempts + 1, error = $3::text, updated_at = $4::timestamptz,
    due_at = $4::timestamptz + $5::interval * 2 ^ attempts
WHERE batch_id = $1::bigint AND position = $2::integer AND state = 'pending'
  AND (attempts = 0 OR updated_at + $5::interval * 2 ^ (attempts - 1) <= $4::timestamptz)
RETURNING attempts;

-- name: fail_chunk :one
-- No attempt is left: its recipients count as failed, and the batch ends in error once nothing is pending.
WITH failed AS (
    UPDATE chunks SET state = 'failed', error = $3::text, updated_at = $4::timestamptz
    WHERE batch_id = $1::bigint AND position = $2::integer AND state = 'pending'
    RETURNING batch_id, cardinality(recipients) AS recipients
)
UPDATE batches b
SET failed = b.failed + f.recipients,
    started_at = coalesce(b.started_at, $4::timestamptz),
    state = CASE WHEN b.delivered + b.failed + b.skipped + f.recipients >= b.total THEN 'error'
                 WHEN b.state = 'created' THEN 'sending' ELSE b.state END,
    finished_at = CASE WHEN b.delivered + b.failed + b.skipped + f.recipients >= b.total THEN $4::timestamptz END
FROM failed f
WHERE b.id = f.batch_id
RETURNING b.state;
