-- name: conversations_of_participant :many
-- Conversations as one participant sees them, with the newest human message and the newest own one that they still
-- have: one pass over each conversation's messages finds both. Only so much of a body as a preview can show. Every look
-- is one into a key, whatever the statistics say (sql/README.md).
SELECT c.id, opening.subject, opening.private, opening.context_type, opening.context_id,
       whole.codes AS conversation_tags, own.codes AS own_tags,
       p.unread, p.archived, p.subscribed, p.starred, p.message_count, p.last_message_at,
       p.visible_last_authored_at, p.has_attachments, p.has_media_objects,
       newest.author_id AS newest_author_id, left(newest.body, 101) AS newest_body,
       authored.created_at AS authored_at, left(authored.body, 101) AS authored_body,
       EXISTS (SELECT FROM account_users a WHERE a.user_id = :user_id::bigint AND a.workflow_state = 'active')
           AS by_administrator,
       (SELECT CASE :scope::text WHEN 'inbox' THEN l.in_inbox WHEN 'unread' THEN l.in_unread
                                 WHEN 'archived' THEN l.in_archived WHEN 'sent' THEN l.in_sent
                                 WHEN 'starred' THEN l.in_starred END
        FROM listings l WHERE l.conversation_id = asked.id AND l.user_id = :user_id) AS listed
FROM unnest(:conversation_ids::bigint[]) WITH ORDINALITY AS asked(id, n)
CROSS JOIN LATERAL (
    SELECT * FROM participants WHERE conversation_id = asked.id AND user_id = :user_id::bigint OFFSET 0
) p
CROSS JOIN LATERAL (SELECT id, send_id, tag_set FROM conversations WHERE id = asked.id OFFSET 0) c
CROSS JOIN LATERAL (SELECT subject, private, context_type, context_id FROM sends WHERE id = c.send_id OFFSET 0) opening
CROSS JOIN LATERAL (SELECT codes FROM tag_sets WHERE id = c.tag_set OFFSET 0) whole
CROSS JOIN LATERAL (SELECT codes FROM tag_sets WHERE id = p.tag_set OFFSET 0) own
LEFT JOIN LATERAL (
    SELECT (array_agg(m.send_id ORDER BY m.created_at DESC, m.id DESC))[1] AS newest,
           (array_agg(m.send_id ORDER BY m.created_at DESC, m.id DESC) FILTER (WHERE m.author_id = :user_id::bigint))[1]
               AS authored
    FROM participant_messages m
    WHERE m.conversation_id = asked.id AND m.user_id = :user_id::bigint AND m.deleted_at IS NULL AND NOT m.generated
) visible ON true
LEFT JOIN LATERAL (SELECT author_id, body FROM sends WHERE id = visible.newest OFFSET 0) newest ON true
LEFT JOIN LATERAL (SELECT created_at, body FROM sends WHERE id = visible.authored OFFSET 0) authored ON true
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
-- make it unread again, so who opens a conversation does not wait for the disk; a statement of its own.
UPDATE participants SET unread = false, touched_at = now()
WHERE conversation_id = :conversation_id::bigint AND user_id = :user_id::bigint AND unread AND NOT archived
  AND set_config('synchronous_commit', 'off', true) = 'off';

-- name: context_names :many
-- Names of the places conversations belong to.
SELECT 'Course' AS type, id, name FROM courses WHERE id = ANY (:course_ids::bigint[])
UNION ALL
SELECT 'Group', id, name FROM groups WHERE id = ANY (:group_ids::bigint[])
UNION ALL
SELECT 'Account', id, name FROM accounts WHERE id = ANY (:account_ids::bigint[]);
