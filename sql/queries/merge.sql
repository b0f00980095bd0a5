-- The steps of a merge, in the order in which they are run (service/application/directory/merge.py). Each takes all
-- accounts that are merged, the accounts they are merged into (their targets), and all their conversations at once.

-- name: lock_merging :none
-- Merges go one after the other, and no bulk or private send is written meanwhile: every such send is one statement
-- that changes batches too, and it takes its snapshot after it has waited here. It would otherwise wait for a
-- participant's row, find it gone and pass over that recipient. Readers and replies, which lock the conversation first,
-- do not wait.
LOCK TABLE batches IN SHARE ROW EXCLUSIVE MODE;

-- name: merge_targets :many
-- The targets of merged accounts, which have all that was theirs, and how many merges away: a chain leads to its end.
-- One that leads back into itself has no end, and an account with a newer life of its own has not been merged.
WITH RECURSIVE step AS (
    SELECT u.id AS user_id, u.merged_into_user_id AS target_id, 1 AS distance, ARRAY[u.id] AS passed
    FROM users u
    WHERE u.id = ANY (:user_ids::bigint[]) AND u.workflow_state = 'deleted' AND u.merged_into_user_id IS NOT NULL
    UNION ALL
    SELECT s.user_id, u.merged_into_user_id, s.distance + 1, s.passed || u.id
    FROM step s
    JOIN users u ON u.id = s.target_id AND u.workflow_state = 'deleted' AND u.merged_into_user_id IS NOT NULL
    WHERE s.target_id <> ALL (s.passed)
)
SELECT DISTINCT ON (user_id) user_id, CASE WHEN target_id <> ALL (passed) THEN target_id END AS target_id, distance
FROM step
ORDER BY user_id, distance DESC;

-- name: left_behind :column
-- Merged accounts with conversations under their own id: what was on its way to them when they were merged. No index
-- holds all rows of a user; a row in none of these has lost its messages, and then message_views knows it. The orders are
-- those of the indexes: without them, reading the table until the first such row comes may look cheaper.
SELECT u.id
FROM users u
WHERE u.merged_into_user_id IS NOT NULL AND u.workflow_state = 'deleted' AND (
    EXISTS (SELECT FROM participants p
            WHERE p.user_id = u.id AND p.last_message_at IS NOT NULL AND NOT p.archived
            ORDER BY p.last_message_at OFFSET 0)
    OR EXISTS (SELECT FROM participants p
               WHERE p.user_id = u.id AND p.last_message_at IS NOT NULL AND p.archived
               ORDER BY p.last_message_at OFFSET 0)
    OR EXISTS (SELECT FROM participants p WHERE p.user_id = u.id AND p.visible_last_authored_at IS NOT NULL
               ORDER BY p.visible_last_authored_at OFFSET 0)
    OR EXISTS (SELECT FROM participants p WHERE p.user_id = u.id AND p.starred ORDER BY p.conversation_id OFFSET 0)
    OR EXISTS (SELECT FROM participants p WHERE p.user_id = u.id AND p.private_peer_id IS NOT NULL
               ORDER BY p.private_peer_id OFFSET 0)
    OR EXISTS (SELECT FROM message_views v WHERE v.user_id = u.id AND v.deleted_at IS NOT NULL
               ORDER BY v.deleted_at OFFSET 0)
)
ORDER BY u.id;

-- name: hand_over_updates :none
-- Batch updates that have not ended change what is now the target's. Locked before the conversations, as their worker
-- does.
WITH unfinished AS (
    SELECT p.id, t.target_id
    FROM batch_updates p
    JOIN unnest(:user_ids::bigint[], :target_ids::bigint[]) AS t(user_id, target_id) ON t.user_id = p.user_id
    WHERE p.state IN ('queued', 'running')
    ORDER BY p.id
    FOR UPDATE OF p
)
UPDATE batch_updates p SET user_id = u.target_id FROM unfinished u WHERE p.id = u.id;

-- name: redirect_waiting_recipients :none
-- What waits for merged accounts in bulk sends goes to their targets, and every target has it once: who has had it
-- already, under whichever account, is left out and counts as skipped once the chunk is done, and so does the sender; and
-- so is who becomes one that failed, or was skipped for good, in this batch: no user is listed twice. Recipients stay in
-- order, which moves the ids that theirs are counted from: a new block of ids says so to a delivery that has read the
-- chunk before.
WITH RECURSIVE target AS MATERIALIZED (
    SELECT * FROM unnest(:user_ids::bigint[], :target_ids::bigint[]) AS t(user_id, target_id)
), former AS (
    -- The targets, and all that was merged into them, at once or by way of others, now or before.
    SELECT target_id, target_id AS user_id FROM target
    UNION
    SELECT f.target_id, u.id
    FROM former f
    JOIN users u ON u.merged_into_user_id = f.user_id AND u.merged_into_user_id IS NOT NULL
), waiting AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.recipients, b.sender_id AS named_sender_id,
           coalesce(t.target_id, b.sender_id) AS sender_id
    FROM chunks c
    JOIN batches b ON b.id = c.batch_id AND b.state IN ('scheduled', 'created', 'sending', 'paused')
    LEFT JOIN target t ON t.user_id = b.sender_id
    WHERE c.state = 'pending' AND c.recipients && (:user_ids::bigint[] || :target_ids::bigint[])
    ORDER BY c.batch_id, c.position
    FOR UPDATE OF c
), kept AS MATERIALIZED (
    SELECT DISTINCT ON (w.batch_id, p.target_id) w.batch_id, w.position, p.target_id
    FROM waiting w
    CROSS JOIN unnest(w.recipients) AS u(user_id)
    JOIN (SELECT user_id, target_id FROM target UNION SELECT target_id, target_id FROM target) p USING (user_id)
    WHERE (p.target_id <> w.sender_id OR u.user_id = w.named_sender_id) AND NOT EXISTS (
        SELECT FROM (SELECT state, recipients FROM chunks WHERE batch_id = w.batch_id OFFSET 0) c
        WHERE c.state = 'delivered'
              AND c.recipients && array(SELECT f.user_id FROM former f WHERE f.target_id = p.target_id)
           OR c.state IN ('failed', 'skipped') AND p.target_id = ANY (c.recipients)
    ) AND NOT EXISTS (
        SELECT FROM skipped_recipients s
        WHERE s.batch_id = w.batch_id AND s.user_id = p.target_id AND s.reason <> 'user_deleted'
    )
    ORDER BY w.batch_id, p.target_id, u.user_id = p.target_id DESC, w.position
), changed AS MATERIALIZED (
    SELECT w.batch_id, w.position, w.recipients AS before, array(
               SELECT u.user_id FROM unnest(w.recipients) AS u(user_id)
               WHERE u.user_id <> ALL (:user_ids::bigint[] || :target_ids::bigint[])
               UNION
               SELECT k.target_id FROM kept k WHERE k.batch_id = w.batch_id AND k.position = w.position
               ORDER BY 1
           ) AS recipients
    FROM waiting w
), replaced AS MATERIALIZED (
    -- For each target that is new in a chunk, whose place it takes: that one is not listed any more.
    SELECT DISTINCT ON (n.batch_id, n.position, k.target_id) n.batch_id, k.target_id, t.user_id
    FROM changed n
    JOIN kept k ON k.batch_id = n.batch_id AND k.position = n.position AND k.target_id <> ALL (n.before)
    JOIN target t ON t.target_id = k.target_id AND t.user_id = ANY (n.before)
    ORDER BY n.batch_id, n.position, k.target_id, t.user_id
), back AS (
    -- A user who was left out as deleted, and has come back to life and then become the target of another.
    UPDATE skipped_recipients s SET user_id = r.user_id
    FROM replaced r WHERE s.batch_id = r.batch_id AND s.user_id = r.target_id
), left_out AS (
    INSERT INTO skipped_recipients (batch_id, user_id, reason, skipped_at)
    SELECT n.batch_id, u.user_id, 'user_deleted', statement_timestamp()
    FROM changed n
    CROSS JOIN unnest(n.before) AS u(user_id)
    WHERE u.user_id <> ALL (n.recipients)
      AND NOT EXISTS (SELECT FROM replaced r WHERE r.batch_id = n.batch_id AND r.user_id = u.user_id)
)
UPDATE chunks c
SET first_id = nextval('id_blocks'), recipients = n.recipients,
    skipped = c.skipped + cardinality(n.before) - cardinality(n.recipients)
FROM changed n
WHERE c.batch_id = n.batch_id AND c.position = n.position AND n.recipients <> n.before;

-- name: merged_recipients :column
-- Merged accounts that have to do with the recipients of these chunks: among them, or merged into one of them, at once
-- or by way of others.
WITH RECURSIVE former AS (
    SELECT DISTINCT r.user_id
    FROM unnest(:batch_ids::bigint[], :positions::integer[]) AS asked(batch_id, position)
    CROSS JOIN LATERAL (
        SELECT recipients FROM chunks WHERE batch_id = asked.batch_id AND position = asked.position OFFSET 0
    ) c
    CROSS JOIN LATERAL unnest(c.recipients) AS r(user_id)
    UNION
    SELECT u.id FROM former f JOIN users u ON u.merged_into_user_id = f.user_id AND u.merged_into_user_id IS NOT NULL
)
SELECT u.id FROM users u JOIN former f ON f.user_id = u.id
WHERE u.merged_into_user_id IS NOT NULL AND u.workflow_state = 'deleted'
ORDER BY u.id;

-- name: lock_conversations_of_merged :many
-- All conversations of merged accounts, and those of their targets with the same people in the same context. Replies to
-- them line up behind the same lock.
WITH target AS MATERIALIZED (
    SELECT * FROM unnest(:user_ids::bigint[], :target_ids::bigint[]) AS t(user_id, target_id)
), held AS MATERIALIZED (
    SELECT DISTINCT own.conversation_id
    FROM target u
    CROSS JOIN LATERAL (
        SELECT p.conversation_id FROM participants p
        WHERE p.user_id = u.user_id AND p.last_message_at IS NOT NULL AND NOT p.archived
        UNION ALL
        SELECT p.conversation_id FROM participants p
        WHERE p.user_id = u.user_id AND p.last_message_at IS NOT NULL AND p.archived
        UNION ALL
        SELECT p.conversation_id FROM participants p
        WHERE p.user_id = u.user_id AND p.visible_last_authored_at IS NOT NULL
        UNION ALL
        SELECT p.conversation_id FROM participants p WHERE p.user_id = u.user_id AND p.starred
        UNION ALL
        SELECT p.conversation_id FROM participants p WHERE p.user_id = u.user_id AND p.private_peer_id IS NOT NULL
        UNION ALL
        SELECT v.conversation_id FROM message_views v WHERE v.user_id = u.user_id AND v.deleted_at IS NOT NULL
        OFFSET 0
    ) own
), twin AS (
    SELECT t.conversation_id
    FROM held
    CROSS JOIN LATERAL (
        SELECT * FROM participants
        WHERE conversation_id = held.conversation_id AND private_peer_id IS NOT NULL OFFSET 0
    ) p
    LEFT JOIN target one ON one.user_id = p.user_id
    LEFT JOIN target other ON other.user_id = p.private_peer_id
    CROSS JOIN LATERAL (
        SELECT coalesce(one.target_id, p.user_id) AS one_id, coalesce(other.target_id, p.private_peer_id) AS other_id
    ) pair
    CROSS JOIN LATERAL (
        SELECT conversation_id FROM participants
        WHERE user_id = least(pair.one_id, pair.other_id) AND private_peer_id = greatest(pair.one_id, pair.other_id)
          AND private_context = p.private_context AND private_peer_id IS NOT NULL OFFSET 0
    ) t
)
SELECT c.id, opening.private
FROM (SELECT conversation_id FROM held UNION SELECT conversation_id FROM twin ORDER BY conversation_id) found
CROSS JOIN LATERAL (SELECT id, send_id FROM conversations WHERE id = found.conversation_id FOR UPDATE) c
CROSS JOIN LATERAL (SELECT private FROM sends WHERE id = c.send_id OFFSET 0) opening;

-- name: lock_rows_of_merged :many
-- The rows that may change, locked in one order: in groups those of the accounts and their targets, in the private ones
-- of the conversations those of both sides.
SELECT p.conversation_id, p.user_id, p.private_context, p.last_message_at, p.last_authored_at, p.touched_at,
       p.history_from, p.tag_set, p.message_count, p.unread, p.archived
FROM (SELECT DISTINCT u.id FROM unnest(:conversation_ids::bigint[]) AS u(id) ORDER BY u.id) asked
CROSS JOIN LATERAL (
    SELECT * FROM participants
    WHERE conversation_id = asked.id
      AND (user_id = ANY (:user_ids::bigint[]) OR conversation_id = ANY (:private_ids::bigint[]))
    ORDER BY user_id
    FOR UPDATE
) p;

-- name: merge_views :none
-- Rows that become one (in the home conversation, of the target) had messages of their own each; the one row has them
-- all, and as deleted only what none of them had otherwise.
WITH source AS MATERIALIZED (
    SELECT * FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[], :home_ids::bigint[], :target_ids::bigint[],
                         :history_from::timestamptz[])
        AS s(conversation_id, user_id, home_id, target_id, history_from)
    LIMIT cardinality(:conversation_ids)
), had AS MATERIALIZED (
    SELECT s.home_id, s.target_id, m.id,
           CASE WHEN bool_and(m.deleted_at IS NOT NULL) THEN max(m.deleted_at) END AS deleted_at,
           bool_or(coalesce(r.restricted, false) OR m.created_at < s.history_from) AS exceptional
    FROM source s
    CROSS JOIN LATERAL (
        SELECT * FROM participant_messages WHERE conversation_id = s.conversation_id AND user_id = s.user_id OFFSET 0
    ) m
    LEFT JOIN LATERAL (
        SELECT restricted FROM messages WHERE conversation_id = m.conversation_id AND id = m.id OFFSET 0
    ) r ON true
    GROUP BY s.home_id, s.target_id, m.id
), gone AS (
    DELETE FROM message_views v USING source s
    WHERE v.conversation_id = s.conversation_id AND v.user_id = s.user_id
    RETURNING 1
)
INSERT INTO message_views (conversation_id, message_id, user_id, deleted_at)
SELECT home_id, id, target_id, deleted_at
FROM had
-- The count has the old rows deleted before the first new one, which may have the same key, is written.
WHERE (deleted_at IS NOT NULL OR exceptional) AND (SELECT count(*) FROM gone) >= 0;

-- name: hand_over_views :none
-- Rows that only change hands take what was deleted or specially given along.
UPDATE message_views v SET user_id = t.target_id
FROM (
    SELECT *
    FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[], :target_ids::bigint[])
         AS u(conversation_id, user_id, target_id)
    LIMIT cardinality(:conversation_ids)
) t
WHERE v.conversation_id = t.conversation_id AND v.user_id = t.user_id;

-- name: rehome_messages :none
-- Conversations dissolve in others: all their messages move, the first one, which they were themselves, too.
WITH move AS MATERIALIZED (
    SELECT * FROM unnest(:old_ids::bigint[], :home_ids::bigint[]) AS m(old_id, home_id)
    LIMIT (SELECT cardinality(:old_ids))
), dissolved AS (
    DELETE FROM conversations c USING move m WHERE c.id = m.old_id
    RETURNING c.id, c.send_id, c.first_tag_set, c.has_attachments, c.has_media_objects, m.home_id
), first AS (
    INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
    SELECT d.home_id, d.id, d.send_id, d.first_tag_set, false FROM dissolved d
), later AS (
    UPDATE messages r SET conversation_id = m.home_id FROM move m WHERE r.conversation_id = m.old_id
), waiting AS (
    UPDATE pending_replies r SET conversation_id = m.home_id FROM move m WHERE r.conversation_id = m.old_id
), forwarded AS (
    UPDATE sends s SET forwarded_conversation_id = m.home_id FROM move m WHERE s.forwarded_conversation_id = m.old_id
)
UPDATE conversations c
SET has_attachments = c.has_attachments OR d.has_attachments,
    has_media_objects = c.has_media_objects OR d.has_media_objects
FROM (
    SELECT home_id, bool_or(has_attachments) AS has_attachments, bool_or(has_media_objects) AS has_media_objects
    FROM dissolved GROUP BY home_id
) d
WHERE c.id = d.home_id;

-- name: drop_merged_rows :none
-- Rows whose place another row takes.
DELETE FROM participants p
USING (
    SELECT * FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[]) AS u(conversation_id, user_id)
    LIMIT cardinality(:conversation_ids)
) d
WHERE p.conversation_id = d.conversation_id AND p.user_id = d.user_id;

-- name: hand_over_rows :none
-- Rows as the targets have them. The pair's key is taken off, because no two may have the same one at any moment.
UPDATE participants p
SET user_id = t.target_id, private_peer_id = NULL, private_context = NULL,
    last_message_at = t.last_message_at, last_authored_at = t.last_authored_at, touched_at = t.touched_at,
    history_from = t.history_from, tag_set = t.tag_set, unread = t.unread, archived = t.archived
FROM (
    SELECT *
    FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[], :target_ids::bigint[],
                :last_message_at::timestamptz[], :last_authored_at::timestamptz[], :touched_at::timestamptz[],
                :history_from::timestamptz[], :tag_sets::integer[], :unread::boolean[], :archived::boolean[])
         AS u(conversation_id, user_id, target_id, last_message_at, last_authored_at, touched_at, history_from, tag_set,
              unread, archived)
    LIMIT cardinality(:conversation_ids)
) t
WHERE p.conversation_id = t.conversation_id AND p.user_id = t.user_id;

-- name: pair_anew :none
-- Who a private conversation is between, and in which context, now on the row of the lower of the two ids.
UPDATE participants p SET private_peer_id = k.peer_id, private_context = k.context
FROM (
    SELECT *
    FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[], :peer_ids::bigint[], :contexts::bigint[])
         AS u(conversation_id, user_id, peer_id, context)
    LIMIT cardinality(:conversation_ids)
) k
WHERE p.conversation_id = k.conversation_id AND p.user_id = k.user_id;

-- name: hand_over_authorship :none
-- What merged accounts wrote is the targets', in these conversations and in their batches, and so is what is noted
-- about them. Replies that wait reach the targets.
WITH target AS MATERIALIZED (
    SELECT * FROM unnest(:user_ids::bigint[], :target_ids::bigint[]) AS t(user_id, target_id)
), batch AS (
    UPDATE batches b SET sender_id = t.target_id FROM target t WHERE b.sender_id = t.user_id
    RETURNING b.send_id
), said AS MATERIALIZED (
    SELECT m.send_id
    FROM unnest(:conversation_ids::bigint[]) AS asked(id)
    CROSS JOIN LATERAL (SELECT send_id FROM conversation_messages WHERE conversation_id = asked.id OFFSET 0) m
    UNION
    SELECT send_id FROM pending_replies WHERE conversation_id = ANY (:conversation_ids::bigint[])
    UNION
    SELECT send_id FROM batch
), authored AS (
    UPDATE sends s SET author_id = t.target_id
    FROM (
        SELECT found.send_id, target.target_id
        FROM unnest(ARRAY(SELECT send_id FROM said)) AS found(send_id)
        CROSS JOIN LATERAL (SELECT author_id FROM sends WHERE id = found.send_id OFFSET 0) theirs
        JOIN target ON target.user_id = theirs.author_id
        LIMIT (SELECT count(*) FROM said)
    ) t
    WHERE s.id = t.send_id
), noted AS (
    DELETE FROM journal_entries j USING target t WHERE j.user_id = t.user_id
    RETURNING j.send_id, t.target_id
), noted_anew AS (
    INSERT INTO journal_entries (send_id, user_id) SELECT DISTINCT send_id, target_id FROM noted
    ON CONFLICT DO NOTHING
)
UPDATE pending_replies r
SET recipients = array(
    SELECT DISTINCT coalesce(t.target_id, u.user_id)
    FROM unnest(r.recipients) AS u(user_id)
    LEFT JOIN target t ON t.user_id = u.user_id
    ORDER BY 1
)
WHERE r.recipients && :user_ids::bigint[];

-- name: recount_merged_rows :none
-- Rows that took in others: what their users have now (semantics.md 2.6).
UPDATE participants p
SET message_count = n.counted, visible_last_authored_at = n.authored,
    has_attachments = n.has_attachments, has_media_objects = n.has_media_objects
FROM (
    SELECT k.conversation_id, k.user_id, count(m.id) AS counted,
           max(m.created_at) FILTER (WHERE m.author_id = k.user_id) AS authored,
           coalesce(bool_or(s.has_attachments), false) AS has_attachments,
           coalesce(bool_or(s.has_media_objects), false) AS has_media_objects
    FROM (
        SELECT * FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[]) AS u(conversation_id, user_id)
        LIMIT cardinality(:conversation_ids)
    ) k
    LEFT JOIN LATERAL (
        SELECT * FROM participant_messages
        WHERE conversation_id = k.conversation_id AND user_id = k.user_id AND deleted_at IS NULL AND NOT generated
        OFFSET 0
    ) m ON true
    LEFT JOIN LATERAL (SELECT has_attachments, has_media_objects FROM sends WHERE id = m.send_id OFFSET 0) s ON true
    GROUP BY k.conversation_id, k.user_id
) n
WHERE p.conversation_id = n.conversation_id AND p.user_id = n.user_id;
