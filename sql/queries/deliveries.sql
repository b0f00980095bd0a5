-- name: deliver :single
-- Writes one message for every recipient: into the private conversation of the pair and context where there is one,
-- else into a new one, whose id is the message's. Then it advances the chunk and its batch, and the outbox records it.
-- Without a batch the recipients are given; those of a chunk stand in its row, which is the idempotency key: unless it
-- is pending, and as it was read, nothing is written; nor where its recipients have to be looked up again and were not
-- (rechecked). Tag sets run parallel to the recipients, or one stands for all. A
-- parameter's type stands where the parameter occurs first. Locked in this order: the chunk, reused conversations, new
-- rows, last the batch, where all its deliveries meet. Of the parts that write and are not read PostgreSQL runs the
-- last one first; so the batch's stand above the others, or
-- test_a_delivery_that_waits_for_another_send_does_not_lock_the_batch fails.
-- The command of a chunk that is done makes place for that of the next one of its batch, where not too many are in
-- flight: one for one, so that deliveries side by side never command more than there were. in_flight null: for none.
-- A message that finds its thread opened by one that was accepted later gives it its subject (CONTRACT 3.3).
WITH chunk AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.recipients, c.due_at < 'infinity' AND c.attempts = 0 AS commanded
    FROM chunks c JOIN batches b ON b.id = c.batch_id
    WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer AND c.state = 'pending'
      AND c.first_id = :first_id::bigint AND b.state IN ('created', 'sending') AND (:rechecked::boolean OR NOT b.recheck)
    FOR UPDATE OF c
), addressed AS MATERIALIZED (
    -- In a subquery, so that each looks into the index once, however empty the table was when this was planned.
    SELECT r.user_id, :first_id + r.n - 1 AS message_id,
           coalesce((SELECT p.conversation_id FROM participants p
                     WHERE :private::boolean AND p.user_id = least(r.user_id, :author_id::bigint)
                       AND p.private_peer_id = greatest(r.user_id, :author_id)
                       AND p.private_context = :context_key::bigint AND p.private_peer_id IS NOT NULL),
                    :first_id + r.n - 1) AS conversation_id,
           coalesce((:tag_sets::integer[])[r.n], (:tag_sets)[1]) AS tag_set,
           coalesce((:own_tag_sets::integer[])[r.n], (:own_tag_sets)[1]) AS own_tag_set,
           coalesce((:sender_tag_sets::integer[])[r.n], (:sender_tag_sets)[1]) AS sender_tag_set
    FROM unnest(coalesce(:recipients::bigint[], (SELECT recipients FROM chunk))) WITH ORDINALITY AS r(user_id, n)
), reused AS MATERIALIZED (
    -- Locked in one order, whichever of the two writes: sends into the same conversation wait instead of deadlocking.
    -- The limit, which cuts nothing off, has the planner expect few: the parts that write look into the key then.
    -- A row that has a time has a message of that time: where it is before this send, another message is the first one.
    SELECT a.*, locked.perhaps_first FROM (
        SELECT * FROM addressed WHERE conversation_id <> message_id ORDER BY conversation_id LIMIT cardinality(:recipients)
    ) a
    CROSS JOIN LATERAL (
        SELECT coalesce(least(p.last_message_at, p.last_authored_at) >= :created_at::timestamptz, true) AS perhaps_first
        FROM participants p
        WHERE p.conversation_id = a.conversation_id AND p.user_id = least(a.user_id, :author_id) FOR NO KEY UPDATE
    ) locked
), finished AS (
    UPDATE chunks c
    SET state = 'delivered', updated_at = clock_timestamp(), error = NULL,
        conversation_ids = (SELECT array_agg(a.conversation_id ORDER BY a.message_id) FROM addressed a
                            WHERE EXISTS (SELECT FROM reused))
    FROM chunk WHERE c.batch_id = chunk.batch_id AND c.position = chunk.position
    RETURNING c.batch_id, cardinality(c.recipients) AS recipients, c.skipped, cardinality(c.recipients) + c.skipped AS size,
              clock_timestamp() AS settled_at
), advanced AS (
    UPDATE batches b
    SET delivered = b.delivered + f.recipients, skipped = b.skipped + f.skipped,
        started_at = coalesce(b.started_at, f.settled_at),
        state = batch_state(b.state, b.delivered + b.failed + b.skipped + f.size, b.failed, b.total),
        finished_at = CASE WHEN b.delivered + b.failed + b.skipped + f.size >= b.total THEN clock_timestamp() END
    FROM finished f WHERE b.id = f.batch_id
    RETURNING b.total, b.moves, batch_body(b) AS body, batch_events(b, f.settled_at, f.size) AS events
), recorded_progress AS (
    -- One copy for one person that is answered at once is no batch to anybody who listens.
    INSERT INTO outbox (lane, event, moves, body, cause, traceparent)
    SELECT 16, e.event, a.moves, a.body, :cause::jsonb, :traceparent::text
    FROM advanced a CROSS JOIN LATERAL unnest(a.events) WITH ORDINALITY AS e(event, n)
    WHERE :cause IS NOT NULL AND NOT (:want_ids::boolean AND a.total = 1) ORDER BY e.n
), next AS MATERIALIZED (
    SELECT waiting.batch_id, waiting.position
    FROM chunk
    CROSS JOIN LATERAL (
        SELECT batch_id, position FROM chunks
        WHERE batch_id = chunk.batch_id AND state = 'pending' AND due_at = 'infinity'
        ORDER BY position LIMIT 1 FOR UPDATE SKIP LOCKED
    ) waiting
    WHERE chunk.commanded AND commanded_chunks(chunk.batch_id) <= :in_flight::integer
), commanded AS (
    UPDATE chunks c SET due_at = clock_timestamp() + :patience::interval
    FROM next WHERE c.batch_id = next.batch_id AND c.position = next.position
    RETURNING c.position
), opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    SELECT a.message_id, :send_id::bigint, a.tag_set, a.tag_set, :has_attachments::boolean, :has_media_objects::boolean
    FROM addressed a WHERE a.conversation_id = a.message_id
), joined AS (
    -- A monologue has one participant, who has sent and not received.
    INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
        private_peer_id, private_context, tag_set, message_count, unread, has_attachments, has_media_objects)
    SELECT a.conversation_id, side.user_id, side.received_at, side.authored_at, side.authored_at,
           CASE WHEN :private AND side.user_id <= side.peer_id THEN side.peer_id END,
           CASE WHEN :private AND side.user_id <= side.peer_id THEN :context_key END,
           side.tag_set, 1, side.received_at IS NOT NULL, :has_attachments, :has_media_objects
    FROM addressed a
    CROSS JOIN LATERAL (SELECT :author_id AS user_id, a.user_id AS peer_id, NULL::timestamptz AS received_at,
                               :created_at AS authored_at, a.sender_tag_set AS tag_set
                        UNION ALL
                        SELECT a.user_id, :author_id, :created_at, NULL, a.own_tag_set) side
    WHERE a.conversation_id = a.message_id AND (side.authored_at IS NOT NULL OR side.user_id <> :author_id)
), appended AS (
    INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
    SELECT r.conversation_id, r.message_id, :send_id, r.tag_set, false FROM reused r
), received AS (
    -- Not both sides by one update from a UNION: of rows that others have changed meanwhile PostgreSQL finds those of its
    -- first branch only, and test_what_is_written_into_a_reused_thread_meanwhile_is_counted_too fails.
    UPDATE participants p
    SET message_count = p.message_count + 1,
        last_message_at = CASE WHEN p.subscribed OR p.last_message_at IS NULL
                               THEN greatest(p.last_message_at, :created_at) ELSE p.last_message_at END,
        unread = p.unread OR p.subscribed OR p.last_message_at IS NULL,
        archived = p.archived AND NOT (p.subscribed OR p.last_message_at IS NULL),
        touched_at = CASE WHEN p.subscribed OR p.last_message_at IS NULL THEN p.touched_at ELSE :created_at END,
        has_attachments = p.has_attachments OR :has_attachments,
        has_media_objects = p.has_media_objects OR :has_media_objects
    FROM reused r WHERE p.conversation_id = r.conversation_id AND p.user_id = r.user_id AND r.user_id <> :author_id
    RETURNING p.conversation_id, p.user_id, p.tag_set, r.own_tag_set AS new_tag_set, r.tag_set AS added
), authored AS (
    UPDATE participants p
    SET message_count = p.message_count + 1,
        last_authored_at = greatest(p.last_authored_at, :created_at),
        visible_last_authored_at = greatest(p.visible_last_authored_at, :created_at),
        has_attachments = p.has_attachments OR :has_attachments,
        has_media_objects = p.has_media_objects OR :has_media_objects
    FROM reused r WHERE p.conversation_id = r.conversation_id AND p.user_id = :author_id
    RETURNING p.conversation_id, p.user_id, p.tag_set, r.sender_tag_set AS new_tag_set, r.tag_set AS added
), changed AS (
    UPDATE conversations c
    SET has_attachments = c.has_attachments OR :has_attachments,
        has_media_objects = c.has_media_objects OR :has_media_objects,
        earliest_send_id = CASE WHEN r.first THEN :send_id ELSE c.earliest_send_id END
    FROM (
        SELECT conversation_id,
               CASE WHEN perhaps_first THEN accepted_first(conversation_id, :send_id) ELSE false END AS first
        FROM reused OFFSET 0
    ) r
    WHERE c.id = r.conversation_id AND (:has_attachments OR :has_media_objects OR r.first)
), recorded AS (
    -- After all locks, as reused is counted before: a conversation's rows are in the order of the commits. New ids are
    -- in one lane and in a row, so one row stands for them all; reused conversations may be in many lanes.
    INSERT INTO outbox (lane, event, author_id, created_at, cause, traceparent, batch_id, position,
                        first_id, copies, conversation_ids, message_ids)
    SELECT outbox_lane(:first_id), 'delivered', :author_id, :created_at, :cause, :traceparent, :batch_id, :position,
           min(a.message_id), count(*), NULL, NULL
    FROM addressed a WHERE :cause IS NOT NULL AND (SELECT count(*) FROM reused) = 0 HAVING count(*) > 0
    UNION ALL
    SELECT outbox_lane(a.conversation_id), 'delivered', :author_id, :created_at, :cause, :traceparent, :batch_id,
           :position, NULL, NULL,
           array_agg(a.conversation_id ORDER BY a.message_id), array_agg(a.message_id ORDER BY a.message_id)
    FROM addressed a WHERE :cause IS NOT NULL AND (SELECT count(*) FROM reused) > 0 GROUP BY 1
)
SELECT (SELECT count(*) FROM reused) AS reused, (SELECT cardinality(recipients) FROM chunk) AS claimed,
       (SELECT position FROM commanded) AS next_position,
       (SELECT array_agg(conversation_id ORDER BY message_id) FROM addressed
        WHERE :want_ids) AS conversation_ids,
       -- Rows of reused conversations whose tags may have to change; rare, and settled by the caller.
       (SELECT jsonb_agg(to_jsonb(r)) FROM (TABLE received UNION ALL TABLE authored) r
        WHERE r.tag_set <> r.new_tag_set) AS retagged;

-- name: open_group :none
-- One conversation with everybody; the author has sent, the others have received (endpoints.md 4.2). The outbox records it.
WITH opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    VALUES (:conversation_id::bigint, :send_id::bigint, :tag_set::integer, :tag_set::integer,
            :has_attachments::boolean, :has_media_objects::boolean)
), recorded AS (
    INSERT INTO outbox (lane, event, author_id, created_at, conversation_ids, message_ids, cause, traceparent)
    SELECT outbox_lane(:conversation_id), 'delivered', :author_id::bigint, :created_at::timestamptz,
           ARRAY[:conversation_id], ARRAY[:conversation_id], :cause::jsonb, :traceparent::text
    WHERE :cause IS NOT NULL
)
INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
                          tag_set, message_count, unread, has_attachments, has_media_objects)
SELECT :conversation_id::bigint, u.user_id,
       CASE WHEN u.user_id <> :author_id::bigint THEN :created_at::timestamptz END,
       CASE WHEN u.user_id = :author_id::bigint THEN :created_at::timestamptz END,
       CASE WHEN u.user_id = :author_id::bigint THEN :created_at::timestamptz END,
       u.tag_set, 1, u.user_id <> :author_id::bigint, :has_attachments::boolean, :has_media_objects::boolean
FROM unnest(:participants::bigint[], :own_tag_sets::integer[]) AS u(user_id, tag_set)
ORDER BY u.user_id;

-- name: newest_authored_first :column
-- The order in which a synchronous bulk create answers (endpoints.md 4.2).
SELECT p.conversation_id
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT conversation_id, visible_last_authored_at, last_message_at FROM participants
    WHERE conversation_id = asked.id AND user_id = :author_id::bigint OFFSET 0
) p
ORDER BY visible_last_authored_at DESC, last_message_at DESC, conversation_id DESC;
