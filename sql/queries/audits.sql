-- The audit of batches that have ended: who was to get it, by the chunks; who has it, by the inboxes. One turn is one
-- transaction, which has the row of its audit locked.

-- name: open_audits :none
-- An audit for each batch whose end has none yet, the first that ended first. One that was begun for an earlier end
-- begins anew.
INSERT INTO audits AS a (batch_id, ended_at, due_at)
SELECT b.id, b.finished_at, b.finished_at
FROM batches b
WHERE b.finished_at > coalesce(b.audited_end, '-infinity')
  AND NOT EXISTS (SELECT FROM audits o WHERE o.batch_id = b.id AND o.ended_at = b.finished_at)
ORDER BY b.finished_at
LIMIT :limit::integer
ON CONFLICT (batch_id) DO UPDATE
SET ended_at = excluded.ended_at, due_at = excluded.due_at, position = -1, recipients = 0, missing = 0, error = NULL
WHERE a.ended_at <> excluded.ended_at;

-- name: take_audit :one
-- The audit that is due for longest, locked until its turn is committed; those that other workers have are passed over.
-- While a batch is under way only those that have waited for long: deliveries go first.
-- ``ended``: whether the batch still is at that end.
SELECT a.batch_id, a.ended_at, a.position, a.recipients, a.missing, coalesce(b.finished_at = a.ended_at, false) AS ended
FROM (
    SELECT batch_id, ended_at, position, recipients, missing FROM audits
    WHERE due_at <= statement_timestamp() - CASE
        WHEN EXISTS (SELECT FROM batches WHERE state IN ('created', 'sending')) THEN :patience::interval
        ELSE interval '0'
    END
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) a
LEFT JOIN batches b ON b.id = a.batch_id;

-- name: next_span :single
-- How far the next few chunks of a batch reach, and how many recipients in them count as delivered; behind the last
-- one they reach no further.
SELECT coalesce(max(position), :after::integer) AS until,
       coalesce(sum(size) FILTER (WHERE state = 'delivered'), 0) AS recipients
FROM (
    SELECT position, size, state FROM chunks
    WHERE batch_id = :batch_id::bigint AND position > :after
    ORDER BY position
    LIMIT :limit::integer
) span;

-- name: find_missing :many
-- Recipients of these chunks who count as delivered and lack something: the message, their row, or the sender's. First
-- everybody is looked up where the chunk says, key by key; of the few who are not all there, it is then asked what may
-- have become of it since. Accounts are merged: then the account they have become has it, and the message may stand in
-- the thread that the pair has now. An administrator has taken the conversation from all. Somebody has deleted messages
-- there: how their own row looks then is up to them.
-- ``conversation_id``: where it is to be. ``anew``: it is the recipient who lacks it, and not the sender alone.
WITH RECURSIVE send AS MATERIALIZED (
    SELECT s.id, s.author_id, s.private, context_key(s.context_type, s.context_id) AS context_key
    FROM batches b JOIN sends s ON s.id = b.send_id
    WHERE b.id = :batch_id::bigint
), copy AS MATERIALIZED (
    SELECT c.position, r.user_id, c.first_id + r.n - 1 AS message_id,
           coalesce(r.conversation_id, c.first_id + r.n - 1) AS conversation_id
    FROM chunks c
    CROSS JOIN LATERAL unnest(c.recipients, c.conversation_ids) WITH ORDINALITY AS r(user_id, conversation_id, n)
    WHERE c.batch_id = :batch_id AND c.position > :after::integer AND c.position <= :until::integer
      AND coalesce(c.state, '') = 'delivered'
), doubtful AS MATERIALIZED (
    SELECT copy.*
    FROM send CROSS JOIN copy
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE p.user_id = copy.user_id
                                  AND (p.user_id = send.author_id OR p.last_message_at IS NOT NULL)) = 1
               AND count(*) FILTER (WHERE p.user_id = send.author_id AND p.visible_last_authored_at IS NOT NULL) = 1
               AS joined
        FROM participants p
        WHERE p.conversation_id = copy.conversation_id AND p.user_id IN (copy.user_id, send.author_id)
        OFFSET 0
    ) there
    WHERE NOT there.joined OR NOT CASE
        WHEN copy.conversation_id = copy.message_id
        THEN EXISTS (SELECT FROM conversations WHERE id = copy.message_id AND send_id = send.id OFFSET 0)
        ELSE EXISTS (SELECT FROM messages m WHERE m.conversation_id = copy.conversation_id AND m.id = copy.message_id
                     OFFSET 0)
    END
), holder AS (
    -- The recipient, and the accounts that one has become.
    SELECT d.position, d.user_id, d.message_id, d.conversation_id, d.user_id AS holder_id FROM doubtful d
    UNION
    SELECT h.position, h.user_id, h.message_id, h.conversation_id, u.merged_into_user_id
    FROM holder h
    CROSS JOIN LATERAL (SELECT merged_into_user_id FROM users WHERE id = h.holder_id OFFSET 0) u
    WHERE u.merged_into_user_id IS NOT NULL
), place AS MATERIALIZED (
    SELECT h.*, false AS of_pair FROM holder h
    UNION ALL
    SELECT h.position, h.user_id, h.message_id, p.conversation_id, h.holder_id, true
    FROM send CROSS JOIN holder h
    CROSS JOIN LATERAL (
        SELECT conversation_id FROM participants
        WHERE send.private AND user_id = least(h.holder_id, send.author_id)
          AND private_peer_id = greatest(h.holder_id, send.author_id)
          AND private_context = send.context_key AND private_peer_id IS NOT NULL
        OFFSET 0
    ) p
), looked AS MATERIALIZED (
    SELECT place.*, c.id IS NOT NULL AS known,
           CASE WHEN c.id = place.message_id THEN c.send_id = send.id
                ELSE EXISTS (SELECT FROM messages m
                             WHERE m.conversation_id = place.conversation_id AND m.id = place.message_id OFFSET 0)
           END AS has_message,
           EXISTS (SELECT FROM participants p
                   WHERE p.conversation_id = place.conversation_id AND p.user_id = place.holder_id
                     AND (p.user_id = send.author_id OR p.last_message_at IS NOT NULL OR EXISTS (
                         SELECT FROM message_views v
                         WHERE v.conversation_id = p.conversation_id AND v.user_id = p.user_id
                           AND v.deleted_at IS NOT NULL OFFSET 0))
                   OFFSET 0) AS has_recipient,
           EXISTS (SELECT FROM participants p
                   WHERE p.conversation_id = place.conversation_id AND p.user_id = send.author_id
                     AND (p.visible_last_authored_at IS NOT NULL OR EXISTS (
                         SELECT FROM message_views v
                         WHERE v.conversation_id = p.conversation_id AND v.user_id = p.user_id
                           AND v.deleted_at IS NOT NULL OFFSET 0))
                   OFFSET 0) AS has_sender,
           EXISTS (SELECT FROM taken_conversations t WHERE t.conversation_id = place.conversation_id OFFSET 0) AS taken
    FROM send CROSS JOIN place
    LEFT JOIN LATERAL (SELECT id, send_id FROM conversations WHERE id = place.conversation_id OFFSET 0) c ON true
)
SELECT position, user_id, message_id,
       coalesce(min(conversation_id) FILTER (WHERE known AND NOT of_pair), min(conversation_id) FILTER (WHERE of_pair),
                message_id) AS conversation_id,
       NOT bool_or(has_message AND has_recipient) AS anew
FROM looked
GROUP BY position, user_id, message_id
HAVING NOT bool_or(taken OR has_message AND has_recipient AND has_sender)
ORDER BY position, message_id;

-- name: keep_merges_out :none
-- While a difference is mended no accounts are merged (lock_merging), which would move what is written.
LOCK TABLE batches IN ROW EXCLUSIVE MODE;

-- name: read_audited_chunk :many
-- What read_chunk says of a chunk that is still to be delivered, of one that counts as delivered: what was sent, and
-- under which codes its recipients are filed.
SELECT c.state AS chunk_state, b.state AS batch_state, true AS deliverable, s.id AS send_id, false AS recheck,
       c.recipients, c.first_id, b.tags, false AS user_note, s.author_id, s.created_at, s.private,
       context_key(s.context_type, s.context_id) AS context_key, s.has_attachments, s.has_media_objects,
       codes.sender_codes, codes.sender_active_codes, codes.code, codes.active, codes.holders
FROM chunks c
JOIN batches b ON b.id = c.batch_id
JOIN sends s ON s.id = b.send_id
CROSS JOIN LATERAL (SELECT * FROM codes_in_chunk(c.batch_id, c.position) OFFSET 0) codes
WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer;

-- name: restore_copies :none
-- Writes what copies of a chunk lack, and nothing that is there, in the shape of deliver, and in its order of locks. A
-- pair whose key is that of another conversation by now has that one. Those that were missing for the recipient are
-- recorded as deliver would: their events have the ids that they would have had, or have had.
WITH send AS MATERIALIZED (
    SELECT s.id, s.author_id, s.created_at, s.private, context_key(s.context_type, s.context_id) AS context_key,
           s.has_attachments, s.has_media_objects
    FROM batches b JOIN sends s ON s.id = b.send_id
    WHERE b.id = :batch_id::bigint
), copy AS MATERIALIZED (
    SELECT c.* FROM unnest(:user_ids::bigint[], :message_ids::bigint[], :conversation_ids::bigint[], :anew::boolean[],
                           :tag_sets::integer[], :own_tag_sets::integer[], :sender_tag_sets::integer[])
        AS c(user_id, message_id, conversation_id, anew, tag_set, own_tag_set, sender_tag_set)
    ORDER BY c.conversation_id
    LIMIT cardinality(:user_ids)
), locked AS MATERIALIZED (
    SELECT c.id FROM (SELECT DISTINCT conversation_id FROM copy ORDER BY 1) asked
    CROSS JOIN LATERAL (SELECT id FROM conversations WHERE id = asked.conversation_id FOR NO KEY UPDATE) c
), opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    SELECT DISTINCT ON (c.message_id) c.message_id, send.id, c.tag_set, c.tag_set, send.has_attachments,
           send.has_media_objects
    FROM send, copy c WHERE c.conversation_id = c.message_id AND (SELECT count(*) FROM locked) >= 0
    ORDER BY c.message_id
    ON CONFLICT DO NOTHING
), appended AS (
    INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
    SELECT c.conversation_id, c.message_id, send.id, c.tag_set, false
    FROM send, copy c WHERE c.conversation_id <> c.message_id
    ON CONFLICT DO NOTHING
    RETURNING conversation_id
), joined AS (
    INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
        private_peer_id, private_context, tag_set, message_count, unread, has_attachments, has_media_objects)
    SELECT DISTINCT ON (c.conversation_id, side.user_id)
           c.conversation_id, side.user_id, side.received_at, side.authored_at, side.authored_at,
           CASE WHEN side.keyed THEN side.peer_id END, CASE WHEN side.keyed THEN send.context_key END,
           side.tag_set, 1, side.received_at IS NOT NULL, send.has_attachments, send.has_media_objects
    FROM send CROSS JOIN copy c
    CROSS JOIN LATERAL (
        SELECT *, send.private AND user_id <= peer_id AND NOT EXISTS (
            SELECT FROM participants p
            WHERE p.user_id = both_sides.user_id AND p.private_peer_id = both_sides.peer_id
              AND p.private_context = send.context_key AND p.private_peer_id IS NOT NULL OFFSET 0) AS keyed
        FROM (SELECT send.author_id AS user_id, c.user_id AS peer_id, NULL::timestamptz AS received_at,
                     send.created_at AS authored_at, c.sender_tag_set AS tag_set
              UNION ALL
              SELECT c.user_id, send.author_id, send.created_at, NULL, c.own_tag_set) both_sides
        OFFSET 0
    ) side
    WHERE side.authored_at IS NOT NULL OR side.user_id <> send.author_id
    ORDER BY c.conversation_id, side.user_id
    ON CONFLICT (conversation_id, user_id) DO NOTHING
), changed AS (
    UPDATE conversations v
    SET has_attachments = v.has_attachments OR send.has_attachments,
        has_media_objects = v.has_media_objects OR send.has_media_objects,
        earliest_send_id = CASE WHEN a.first THEN send.id ELSE v.earliest_send_id END
    FROM send, (
        SELECT appended.conversation_id, accepted_first(appended.conversation_id, send.id) AS first
        FROM send, appended OFFSET 0
    ) a
    WHERE v.id = a.conversation_id
)
INSERT INTO outbox (lane, event, author_id, created_at, cause, traceparent, batch_id, position, conversation_ids,
                    message_ids)
SELECT outbox_lane(c.conversation_id), 'delivered', send.author_id, send.created_at, :cause::jsonb, :traceparent::text,
       :batch_id, :position::integer,
       array_agg(c.conversation_id ORDER BY c.message_id), array_agg(c.message_id ORDER BY c.message_id)
FROM send, copy c
WHERE :cause IS NOT NULL AND c.anew
GROUP BY 1, send.author_id, send.created_at;

-- name: show_restored :none
-- The rows of those conversations count all that they have now; for whom the message was missing, it has arrived: by
-- the rules of deliver, muted conversations apart.
UPDATE participants p
SET message_count = n.counted,
    last_message_at = CASE WHEN n.arrives AND (p.subscribed OR p.last_message_at IS NULL)
                           THEN greatest(p.last_message_at, n.received) ELSE p.last_message_at END,
    unread = p.unread OR n.arrives AND (p.subscribed OR p.last_message_at IS NULL),
    archived = p.archived AND NOT (n.arrives AND (p.subscribed OR p.last_message_at IS NULL)),
    last_authored_at = greatest(p.last_authored_at, n.authored), visible_last_authored_at = n.authored,
    has_attachments = n.has_attachments, has_media_objects = n.has_media_objects
FROM (
    SELECT k.conversation_id, k.user_id, k.arrives, count(m.id)::integer AS counted,
           max(m.created_at) FILTER (WHERE m.author_id <> k.user_id) AS received,
           max(m.created_at) FILTER (WHERE m.author_id = k.user_id) AS authored,
           coalesce(bool_or(s.has_attachments), false) AS has_attachments,
           coalesce(bool_or(s.has_media_objects), false) AS has_media_objects
    FROM (
        SELECT u.conversation_id, u.user_id, bool_or(u.arrives) AS arrives
        FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[], :arrives::boolean[])
             AS u(conversation_id, user_id, arrives)
        GROUP BY 1, 2
        ORDER BY 1, 2
        LIMIT cardinality(:conversation_ids)
    ) k
    LEFT JOIN LATERAL (
        SELECT * FROM participant_messages
        WHERE conversation_id = k.conversation_id AND user_id = k.user_id AND deleted_at IS NULL AND NOT generated
        OFFSET 0
    ) m ON true
    LEFT JOIN LATERAL (SELECT has_attachments, has_media_objects FROM sends WHERE id = m.send_id OFFSET 0) s ON true
    GROUP BY k.conversation_id, k.user_id, k.arrives
) n
WHERE p.conversation_id = n.conversation_id AND p.user_id = n.user_id;

-- name: pass_audit :none
-- One more span of its chunks is done.
UPDATE audits
SET position = :position::integer, recipients = recipients + :compared::integer, missing = missing + :missing::integer
WHERE batch_id = :batch_id::bigint;

-- name: lock_ended_batch :value
-- Before its recipients are counted: nothing of it is brought back to work meanwhile. No row: it goes on already.
SELECT id FROM batches WHERE id = :batch_id::bigint AND finished_at = :ended_at::timestamptz FOR UPDATE;

-- name: recount_batch :single
-- What the counters of a batch say beside its recipients by state, and the counters set right where they differ. One
-- that has recipients who are pending goes on; those who were taken out of a pending chunk count with it. Where the
-- batch lists more or fewer than it has accepted, nothing says what is right, and nothing is changed; where it has no
-- chunks any more there is nothing to compare.
WITH chunk AS MATERIALIZED (
    SELECT size, state, skipped FROM chunks WHERE batch_id = :batch_id::bigint
), listed AS MATERIALIZED (
    SELECT coalesce(sum(size) FILTER (WHERE state = 'delivered'), 0) AS delivered,
           coalesce(sum(size) FILTER (WHERE state = 'failed'), 0) AS failed,
           coalesce(sum(size) FILTER (WHERE state = 'skipped'), 0)
               - coalesce(sum(skipped) FILTER (WHERE state = 'pending'), 0)
               + (SELECT count(*) FROM skipped_recipients s WHERE s.batch_id = :batch_id) AS skipped,
           coalesce(sum(size + skipped) FILTER (WHERE state = 'pending'), 0) AS pending
    FROM chunk HAVING count(*) > 0
), compared AS MATERIALIZED (
    SELECT b.id, b.total, b.delivered AS counted_delivered, b.failed AS counted_failed, b.skipped AS counted_skipped,
           n.delivered, n.failed, n.skipped, n.pending,
           n.delivered + n.failed + n.skipped + n.pending AS listed,
           coalesce((b.delivered, b.failed, b.skipped) <> (n.delivered, n.failed, n.skipped) OR n.pending > 0, false)
               AS differs
    FROM (SELECT * FROM batches WHERE id = :batch_id) b LEFT JOIN listed n ON true
), mended AS (
    UPDATE batches b
    SET delivered = n.delivered, failed = n.failed, skipped = n.skipped,
        finished_at = CASE WHEN n.pending = 0 THEN b.finished_at END,
        state = CASE WHEN b.state = 'cancelled' THEN b.state
                     WHEN n.pending > 0 THEN 'sending'
                     WHEN b.error IS NOT NULL THEN b.state
                     WHEN n.failed > 0 THEN 'error' ELSE 'sent' END
    FROM compared n
    WHERE b.id = n.id AND n.differs AND n.listed = n.total
)
SELECT counted_delivered, counted_failed, counted_skipped, coalesce(delivered, 0)::integer AS delivered,
       coalesce(failed, 0)::integer AS failed, coalesce(skipped, 0)::integer AS skipped,
       coalesce(pending, 0)::integer AS pending, total, coalesce(listed, total)::integer AS listed, differs
FROM compared;

-- name: finish_audit :none
-- The end of the batch has been audited. One that has gone on meanwhile is audited at its next end.
WITH closed AS (
    DELETE FROM audits WHERE batch_id = :batch_id::bigint AND ended_at = :ended_at::timestamptz
)
UPDATE batches SET audited_end = finished_at WHERE id = :batch_id AND finished_at = :ended_at;

-- name: postpone_audit :none
-- A turn has failed: note why, and let the others go first.
UPDATE audits SET error = :error::text, due_at = statement_timestamp() + :wait::interval
WHERE batch_id = :batch_id::bigint;

-- name: audit_lag :value
-- How long ago the first batch ended whose end has not been audited yet, in seconds; 0 when there is none.
SELECT coalesce(extract(epoch FROM statement_timestamp() - min(finished_at)), 0)::float8 AS seconds
FROM batches WHERE finished_at > coalesce(audited_end, '-infinity');
