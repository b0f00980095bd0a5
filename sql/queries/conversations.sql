-- name: conversations_of_participant :many
-- All that an answer says of conversations but the messages, in one statement, since nearly every answer does.
-- participants     JSON array of rows, most recent poster first, then by the name shown, as people sort names
--                  (semantics.md 7.4); one may be known before the directory says who it is. The last element: rows of
--                  shared_contexts, null unless :with_contexts
-- audience_roles   of a conversation with one other person, and :with_roles, a JSON object: for each own tag as what
--                  that person is active in the course, one type per enrolment, or whether in the group (endpoints.md 3.5)
-- context_name     of its own context, else of its first tag (endpoints.md 3.8)
-- newest, authored the newest human message and the newest own one that the participant still has: one pass over each
--                  conversation's messages finds both; only so much of a body as a preview can show
-- Every look is one into a key, whatever the statistics say (sql/README.md).
WITH common AS MATERIALIZED (
    -- What the viewer shares with each of the others, by their id: looked up once, in however many conversations they are.
    SELECT jsonb_object_agg(user_id, contexts) AS by_user
    FROM (
        SELECT s.user_id, jsonb_agg(jsonb_build_array(s.course_id, s.group_id, s.types)
                                    ORDER BY s.course_id, s.group_id) AS contexts
        FROM (
            SELECT array_agg(DISTINCT p.user_id) AS ids
            FROM unnest(:conversation_ids::bigint[]) AS asked(id)
            CROSS JOIN LATERAL (SELECT user_id FROM participants WHERE conversation_id = asked.id OFFSET 0) p
            WHERE p.user_id <> :user_id::bigint AND :with_contexts::boolean
        ) others
        CROSS JOIN LATERAL shared_contexts(:user_id, others.ids) s
        WHERE :with_contexts
        GROUP BY s.user_id
    ) shared
)
SELECT c.id, opening.subject, opening.private, opening.context_type, opening.context_id, own.codes AS own_tags,
       p.unread, p.archived, p.subscribed, p.starred, p.message_count, p.received_at AS last_message_at,
       p.sent_at AS visible_last_authored_at, p.has_attachments, p.has_media_objects,
       newest.author_id AS newest_author_id, left(newest.body, 101) AS newest_body,
       authored.created_at AS authored_at, left(authored.body, 101) AS authored_body,
       EXISTS (SELECT FROM account_users a WHERE a.user_id = :user_id AND a.workflow_state = 'active')
           AS by_administrator,
       CASE :scope::text WHEN 'inbox' THEN p.in_inbox WHEN 'unread' THEN p.in_unread
                         WHEN 'archived' THEN p.in_archived WHEN 'sent' THEN p.in_sent
                         WHEN 'starred' THEN p.in_starred END AS listed,
       people.participants, audience.roles AS audience_roles,
       CASE place.kind WHEN 'course' THEN (SELECT name FROM courses WHERE id = place.id)
                       WHEN 'group' THEN (SELECT name FROM groups WHERE id = place.id)
                       WHEN 'account' THEN (SELECT name FROM accounts WHERE id = place.id) END AS context_name
FROM unnest(:conversation_ids) WITH ORDINALITY AS asked(id, n)
CROSS JOIN LATERAL (SELECT * FROM listings WHERE conversation_id = asked.id AND user_id = :user_id OFFSET 0) p
CROSS JOIN LATERAL (SELECT id, send_id, earliest_send_id, tag_set FROM conversations WHERE id = asked.id OFFSET 0) c
CROSS JOIN LATERAL (
    SELECT subject, private, context_type, context_id FROM sends WHERE id = coalesce(c.earliest_send_id, c.send_id) OFFSET 0
) opening
CROSS JOIN LATERAL (SELECT codes FROM tag_sets WHERE id = c.tag_set OFFSET 0) whole
CROSS JOIN LATERAL (SELECT codes FROM tag_sets WHERE id = p.tag_set OFFSET 0) own
CROSS JOIN LATERAL (
    SELECT coalesce(lower(opening.context_type), split_part(whole.codes[1], '_', 1)) AS kind,
           coalesce(opening.context_id, split_part(whole.codes[1], '_', 2)::bigint) AS id
) place
LEFT JOIN LATERAL (
    SELECT (array_agg(m.send_id ORDER BY m.created_at DESC, m.send_id DESC))[1] AS newest,
           (array_agg(m.send_id ORDER BY m.created_at DESC, m.send_id DESC) FILTER (WHERE m.author_id = :user_id))[1]
               AS authored
    FROM participant_messages m
    WHERE m.conversation_id = asked.id AND m.user_id = :user_id AND m.deleted_at IS NULL AND NOT m.generated
) visible ON true
LEFT JOIN LATERAL (SELECT author_id, body FROM sends WHERE id = visible.newest OFFSET 0) newest ON true
LEFT JOIN LATERAL (SELECT created_at, body FROM sends WHERE id = visible.authored OFFSET 0) authored ON true
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(m.user_id, coalesce(u.short_name, u.name, ''), coalesce(u.name, ''), u.pronouns,
                                     u.uuid, u.avatar_url, (SELECT by_user FROM common) -> m.user_id::text)
                    ORDER BY m.last_authored_at DESC NULLS LAST,
                             lower(coalesce(u.short_name, u.name, '')) COLLATE "und-x-icu", m.user_id) AS participants,
           CASE WHEN count(*) FILTER (WHERE m.user_id <> :user_id) = 1
                THEN min(m.user_id) FILTER (WHERE m.user_id <> :user_id) END AS only_other
    FROM (SELECT user_id, last_authored_at FROM participants WHERE conversation_id = asked.id OFFSET 0) m
    LEFT JOIN LATERAL (
        SELECT nullif(short_name, '') AS short_name, name, pronouns, uuid, avatar_url
        FROM users WHERE id = m.user_id LIMIT 1
    ) u ON true
) people
CROSS JOIN LATERAL (
    SELECT json_object_agg(tag.code, array(
               SELECT e.type FROM enrollment_standings e
               WHERE tag.kind = 'course' AND e.course_id = tag.id AND e.user_id = people.only_other
                 AND e.standing = 'active' AND e.type <> 'StudentViewEnrollment'
               ORDER BY e.id
           ) || array(
               SELECT 'Member' FROM group_memberships g
               WHERE tag.kind = 'group' AND g.group_id = tag.id AND g.user_id = people.only_other
                 AND g.workflow_state = 'accepted'
               LIMIT 1
           )) AS roles
    FROM (
        SELECT code, split_part(code, '_', 1) AS kind, split_part(code, '_', 2)::bigint AS id
        FROM unnest(own.codes) AS code
        WHERE people.only_other IS NOT NULL AND :with_roles::boolean OFFSET 0
    ) tag
) audience
ORDER BY asked.n;

-- name: own_conversation :one
-- Whether a user has a conversation at all (message_count above 0), whether it waits to be read, and its stored
-- context.
SELECT p.unread AND NOT p.archived AS waiting, opening.context_type, opening.context_id
FROM participants p
JOIN conversations c ON c.id = p.conversation_id
JOIN sends opening ON opening.id = c.send_id
WHERE p.conversation_id = :conversation_id::bigint AND p.user_id = :user_id::bigint
  AND p.message_count > 0;

-- name: mark_read :none
-- Reading: unread and touched_at stand in no index, so the row stays where it is (a HOT update). A crash of the server may
-- make it unread again, so who opens a conversation does not wait for the disk; a statement of its own. Where replicas are
-- read it does wait (:waits): they get only what is flushed.
UPDATE participants SET unread = false, touched_at = now()
WHERE conversation_id = :conversation_id::bigint AND user_id = :user_id::bigint AND unread AND NOT archived
  AND set_config('synchronous_commit', CASE WHEN :waits::boolean THEN 'on' ELSE 'off' END, true) IS NOT NULL;
