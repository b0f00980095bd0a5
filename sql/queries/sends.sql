-- name: insert_send :one
-- What one request said: stored once, however many receive it. Where no moment is given it is the database's present one:
-- all processes have that one clock.
INSERT INTO sends (author_id, created_at, body, subject, private, context_type, context_id, root_account_ids,
                   attachment_ids, forwarded_message_ids, forwarded_conversation_id, media_id,
                   has_attachments, has_media_objects, automated)
VALUES (:author_id::bigint, coalesce(:created_at::timestamptz, statement_timestamp()), :body::text, :subject::text, :private::boolean,
        :context_type::text, :context_id::bigint, :root_account_ids::bigint[],
        :attachment_ids::bigint[], :forwarded_message_ids::bigint[], :forwarded_conversation_id::bigint,
        :media_id::text, :has_attachments::boolean, :has_media_objects::boolean, :automated::boolean)
RETURNING id, created_at;

-- name: usable_attachments :column
-- Only files in the author's own folder of that name may be sent; other ids are dropped (semantics.md 14).
SELECT a.id
FROM unnest(:attachment_ids::bigint[]) WITH ORDINALITY AS asked(id, n)
JOIN attachments a ON a.id = asked.id
WHERE a.context_type = 'User' AND a.context_id = :author_id::bigint AND a.folder_name = 'conversation attachments'
  AND a.workflow_state <> 'deleted'
GROUP BY a.id
ORDER BY min(asked.n);

-- name: forwardable_messages :many
-- Which of the asked messages stand in conversations the author takes part in, and whether they carry files.
SELECT m.id, m.conversation_id, s.has_attachments, s.has_media_objects
FROM participants p
JOIN conversation_messages m ON m.conversation_id = p.conversation_id
JOIN sends s ON s.id = m.send_id
WHERE p.user_id = :author_id::bigint AND m.id = ANY (:message_ids::bigint[]);

-- name: keep_media_object :none
-- An unknown media comment becomes a media object of the sender; a known one is reused (semantics.md 14).
INSERT INTO media_objects (media_id, media_type, owner_id)
VALUES (:media_id::text, :media_type::text, :owner_id::bigint)
ON CONFLICT (media_id) DO NOTHING;

-- name: insert_journal_entries :none
-- user_note: an entry for each recipient whose instructor the author is; a repeated delivery adds none.
INSERT INTO journal_entries (send_id, user_id)
SELECT :send_id::bigint, u FROM unnest(:user_ids::bigint[]) AS u
ON CONFLICT DO NOTHING;
