-- name: insert_send :one
-- What one request said, once, whoever many receive it.
INSERT INTO sends (author_id, created_at, body, subject, private, context_type, context_id, root_account_ids,
                   attachment_ids, forwarded_message_ids, forwarded_conversation_id, media_id,
                   has_attachments, has_media_objects, automated)
VALUES ($1::bigint, $2::timestamptz, $3::text, $4::text, $5::boolean, $6::text, $7::bigint, $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint, $12::text, $13::boolean, $14::boolean, $15::boolean)
RETURNING id;

-- name: usable_attachments :many
-- Only files in the author's own folder of that name may be sent; other ids are dropped (semantics.md 14).
SELECT a.id
FROM unnest($2::bigint[]) WITH ORDINALITY AS asked(id, n)
JOIN attachments a ON a.id = asked.id
WHERE a.context_type = 'User' AND a.context_id = $1::bigint AND a.folder_name = 'conversation attachments'
  AND a.workflow_state <> 'deleted'
GROUP BY a.id
ORDER BY min(asked.n);

-- name: forwardable_messages :many
-- Which of the asked messages stand in conversations the author takes part in, and whether they carry files.
SELECT m.id, m.conversation_id, s.has_attachments, s.has_media_objects
FROM participants p
JOIN conversation_messages m ON m.conversation_id = p.conversation_id
JOIN sends s ON s.id = m.send_id
WHERE p.user_id = $1::bigint AND m.id = ANY ($2::bigint[]);

-- name: keep_media_object :none
-- An unknown media comment becomes a media object of the sender; a known one is reused (semantics.md 14).
INSERT INTO media_objects (media_id, media_type, owner_id) VALUES ($1::text, $2::text, $3::bigint)
ON CONFLICT (media_id) DO NOTHING;

-- name: insert_journal_entries :none
-- user_note: an entry for each recipient whose instructor the author is; a repeated delivery adds none.
INSERT INTO journal_entries (send_id, user_id)
SELECT $1::bigint, u FROM unnest($2::bigint[]) AS u
ON CONFLICT DO NOTHING;
