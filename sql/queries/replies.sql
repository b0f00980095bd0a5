-- name: conversation_to_reply :one
-- What the checks of add_message ask. A conversation that the viewer has deleted is found too (endpoints.md 4.9).
SELECT opening.private, opening.context_type, opening.context_id,
       array(SELECT p.user_id FROM participants p WHERE p.conversation_id = c.id ORDER BY p.user_id) AS participant_ids
FROM conversations c
JOIN sends opening ON opening.id = c.send_id
WHERE c.id = :conversation_id::bigint
  AND EXISTS (SELECT FROM participants v WHERE v.conversation_id = c.id AND v.user_id = :user_id::bigint);

-- name: outsiders_of_course :column
-- Those of some users who are not in the course now, as a student's reply to them is refused by name.
SELECT coalesce(nullif(u.short_name, ''), u.name)
FROM users u
WHERE u.id = ANY (:user_ids::bigint[]) AND NOT EXISTS (
    SELECT FROM enrollment_standings e
    WHERE e.course_id = :course_id::bigint AND e.user_id = u.id AND e.standing IN ('active', 'invited')
)
ORDER BY u.id;

-- name: included_message_rows :many
-- Of the messages that are to be given again: which stand in the conversation, and of which the viewer has a row.
SELECT m.id, EXISTS (
    SELECT FROM participant_messages own
    WHERE own.conversation_id = m.conversation_id AND own.id = m.id AND own.user_id = :user_id::bigint OFFSET 0
) AS had
FROM unnest(:message_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT conversation_id, id FROM conversation_messages
    WHERE conversation_id = :conversation_id::bigint AND id = asked.id OFFSET 0
) m;

-- name: lock_conversation :value
-- All who write into a conversation line up here first, so that one message comes after the other.
SELECT c.tag_set FROM conversations c WHERE c.id = :conversation_id::bigint FOR NO KEY UPDATE;

-- name: lock_participants :many
-- Then all participants, always in this order. No join: a row changed meanwhile would not be found in it again.
SELECT p.user_id, p.tag_set FROM participants p WHERE p.conversation_id = :conversation_id::bigint
ORDER BY p.user_id FOR NO KEY UPDATE;

-- name: next_moment :single
-- When the next message of a locked conversation is written: by the database's clock, and after all that was said or
-- waits to be said there, whichever clock timed that. Also who is about to join by what waits, and whether any does.
SELECT greatest(
           clock_timestamp(),
           (SELECT max(greatest(p.last_message_at, p.last_authored_at)) FROM participants p
            WHERE p.conversation_id = :conversation_id::bigint) + interval '1 microsecond',
           max(s.created_at) + interval '1 microsecond'
       ) AS at,
       count(*) > 0 AS waiting,
       array(
           SELECT DISTINCT unnest(w.recipients) FROM pending_replies w
           WHERE w.conversation_id = :conversation_id::bigint AND w.failed_at IS NULL
       ) AS joining
FROM pending_replies r
CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = r.send_id OFFSET 0) s
WHERE r.conversation_id = :conversation_id::bigint AND r.failed_at IS NULL;

-- name: join_by_message :none
-- People to whom a reply to a group is the first they see of it; the message itself then counts and wakes them.
INSERT INTO participants (conversation_id, user_id, history_from, tag_set, message_count, unread,
                          has_attachments, has_media_objects)
SELECT c.id, n.user_id, :since::timestamptz, 0, 0, true, c.has_attachments, c.has_media_objects
FROM conversations c, unnest(:user_ids::bigint[]) AS n(user_id)
WHERE c.id = :conversation_id::bigint
ORDER BY n.user_id;

-- name: deliver_again :none
-- included_messages: rows for those who have none, or deleted it (semantics.md 7.7). States and times are the business
-- of the new message, which follows.
WITH missing AS MATERIALIZED (
    SELECT r.user_id, m.id, s.added_user_ids IS NULL AS human, s.has_attachments, s.has_media_objects
    FROM unnest(:message_ids::bigint[]) AS asked(id)
    CROSS JOIN LATERAL (
        SELECT id, send_id FROM conversation_messages
        WHERE conversation_id = :conversation_id::bigint AND id = asked.id OFFSET 0
    ) m
    CROSS JOIN LATERAL (
        SELECT added_user_ids, has_attachments, has_media_objects FROM sends WHERE id = m.send_id OFFSET 0
    ) s
    CROSS JOIN unnest(:user_ids::bigint[]) AS r(user_id)
    WHERE NOT EXISTS (
        SELECT FROM participant_messages own
        WHERE own.conversation_id = :conversation_id::bigint AND own.user_id = r.user_id AND own.id = m.id
          AND own.deleted_at IS NULL OFFSET 0
    )
), given AS (
    INSERT INTO message_views (conversation_id, message_id, user_id)
    SELECT :conversation_id::bigint, id, user_id FROM missing ORDER BY user_id, id
    ON CONFLICT (conversation_id, user_id, message_id) DO UPDATE SET deleted_at = NULL
)
UPDATE participants p
SET message_count = p.message_count + g.counted,
    has_attachments = p.has_attachments OR g.has_attachments,
    has_media_objects = p.has_media_objects OR g.has_media_objects
FROM (
    SELECT user_id, count(*) FILTER (WHERE human) AS counted,
           bool_or(has_attachments) AS has_attachments, bool_or(has_media_objects) AS has_media_objects
    FROM missing GROUP BY user_id
) g
WHERE p.conversation_id = :conversation_id::bigint AND p.user_id = g.user_id;

-- name: write_reply :none
-- One message into a locked conversation, for those who get it (the side effects of endpoints.md 4.2 and 4.9). The
-- author is among them; their own times and flags move only when the request's recipients did not leave them out. The
-- outbox records it; event says whether people joined by it.
WITH written AS (
    INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
    VALUES (:conversation_id::bigint, :message_id::bigint, :send_id::bigint, :message_tag_set::integer,
            :restricted::boolean)
), shown AS (
    INSERT INTO message_views (conversation_id, message_id, user_id)
    SELECT :conversation_id::bigint, :message_id::bigint, r.user_id
    FROM unnest(:receivers::bigint[]) AS r(user_id) WHERE :restricted::boolean
), collected AS (
    UPDATE conversations c
    SET tag_set = :conversation_tag_set::integer,
        has_attachments = c.has_attachments OR :has_attachments::boolean,
        has_media_objects = c.has_media_objects OR :has_media_objects::boolean
    WHERE c.id = :conversation_id::bigint
      AND (c.tag_set <> :conversation_tag_set::integer OR :has_attachments::boolean OR :has_media_objects::boolean)
), recorded AS (
    INSERT INTO outbox (lane, event, author_id, created_at, conversation_ids, message_ids, cause, traceparent)
    SELECT outbox_lane(:conversation_id), :event::text, :author_id::bigint, :created_at::timestamptz,
           ARRAY[:conversation_id], ARRAY[:message_id], :cause::jsonb, :traceparent::text
    WHERE :cause IS NOT NULL
), receiver AS (
    SELECT q.user_id, r.tag_set,
           q.user_id <> :author_id::bigint AND (q.subscribed OR q.last_message_at IS NULL) AS woken,
           q.user_id = :author_id::bigint AND :author_moves::boolean AS authored,
           q.user_id <> :author_id::bigint OR :author_moves::boolean AS flagged
    FROM unnest(:receivers::bigint[], :tag_sets::integer[]) AS r(user_id, tag_set)
    JOIN participants q ON q.conversation_id = :conversation_id::bigint AND q.user_id = r.user_id
)
UPDATE participants p
SET message_count = p.message_count + 1,
    tag_set = r.tag_set,
    last_message_at = CASE WHEN r.woken THEN greatest(p.last_message_at, :created_at::timestamptz)
                           ELSE p.last_message_at END,
    unread = p.unread OR r.woken,
    archived = p.archived AND NOT r.woken,
    last_authored_at = CASE WHEN r.authored THEN greatest(p.last_authored_at, :created_at::timestamptz)
                            ELSE p.last_authored_at END,
    visible_last_authored_at = CASE WHEN r.authored THEN greatest(p.visible_last_authored_at, :created_at::timestamptz)
                                    ELSE p.visible_last_authored_at END,
    touched_at = CASE WHEN r.woken OR r.authored THEN p.touched_at ELSE :created_at::timestamptz END,
    has_attachments = p.has_attachments OR (r.flagged AND :has_attachments::boolean),
    has_media_objects = p.has_media_objects OR (r.flagged AND :has_media_objects::boolean)
FROM receiver r
WHERE p.conversation_id = :conversation_id::bigint AND p.user_id = r.user_id;

-- name: join_with_history :none
-- add_recipients: newcomers with all that the adder has a row for, deleted by the adder or not (endpoints.md 4.8): the
-- same beginning, and a view of each message the adder has against the general rule.
WITH human AS (
    SELECT max(s.created_at) AS newest, count(*) AS counted
    FROM conversation_messages m
    CROSS JOIN LATERAL (SELECT created_at, added_user_ids FROM sends WHERE id = m.send_id OFFSET 0) s
    WHERE m.conversation_id = :conversation_id::bigint AND s.added_user_ids IS NULL
), given AS (
    INSERT INTO message_views (conversation_id, message_id, user_id)
    SELECT v.conversation_id, v.message_id, n.user_id
    FROM participants adder
    JOIN message_views v ON v.conversation_id = adder.conversation_id AND v.user_id = adder.user_id
    CROSS JOIN LATERAL (
        SELECT send_id, restricted FROM conversation_messages
        WHERE conversation_id = v.conversation_id AND id = v.message_id OFFSET 0
    ) m
    CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = m.send_id OFFSET 0) s
    CROSS JOIN unnest(:newcomers::bigint[]) AS n(user_id)
    WHERE adder.conversation_id = :conversation_id::bigint AND adder.user_id = :adder_id::bigint
      AND (m.restricted OR s.created_at < adder.history_from)
)
INSERT INTO participants (conversation_id, user_id, last_message_at, history_from, tag_set, message_count, unread,
                          has_attachments, has_media_objects)
SELECT c.id, n.user_id, human.newest, adder.history_from, n.tag_set, human.counted, true,
       c.has_attachments, c.has_media_objects
FROM conversations c
JOIN participants adder ON adder.conversation_id = c.id AND adder.user_id = :adder_id::bigint
CROSS JOIN human
CROSS JOIN unnest(:newcomers::bigint[], :tag_sets::integer[]) AS n(user_id, tag_set)
WHERE c.id = :conversation_id::bigint
ORDER BY n.user_id;

-- name: announce_arrival :none
-- The generated message "users added": every participant has it and no row changes (semantics.md 7.5). The outbox
-- records it.
WITH said AS (
    INSERT INTO sends (author_id, created_at, body, private, root_account_ids, added_user_ids)
    VALUES (:adder_id::bigint, :created_at::timestamptz, '', false, :root_account_ids::bigint[], :newcomers::bigint[])
    RETURNING id
), recorded AS (
    INSERT INTO outbox (lane, event, author_id, created_at, conversation_ids, message_ids, cause, traceparent)
    SELECT outbox_lane(:conversation_id), 'forwarded', :adder_id, :created_at,
           ARRAY[:conversation_id], ARRAY[:message_id::bigint], :cause::jsonb, :traceparent::text
    WHERE :cause IS NOT NULL
)
INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
SELECT :conversation_id::bigint, :message_id, said.id, 0, false FROM said;

-- name: newest_message :one
-- What add_recipients shows: the newest message that the viewer still has, generated or not.
SELECT m.id, m.conversation_id, m.send_id FROM participant_messages m
WHERE m.conversation_id = :conversation_id::bigint AND m.user_id = :user_id::bigint AND m.deleted_at IS NULL
ORDER BY m.created_at DESC, m.send_id DESC, m.id DESC
LIMIT 1;
