-- name: insert_send :single
-- What one request said: stored once, however many receive it. Where no moment is given it is the database's present one:
-- all processes have that one clock. Beside it the codes of those among whom it is to be filed, as codes_of_users has
-- them: a JSON array of rows.
WITH said AS (
    INSERT INTO sends (author_id, created_at, body, subject, private, context_type, context_id, root_account_ids,
                       attachment_ids, forwarded_message_ids, forwarded_conversation_id, media_id,
                       has_attachments, has_media_objects, automated)
    VALUES (:author_id::bigint, coalesce(:created_at::timestamptz, statement_timestamp()), :body::text, :subject::text,
            :private::boolean, :context_type::text, :context_id::bigint, :root_account_ids::bigint[],
            :attachment_ids::bigint[], :forwarded_message_ids::bigint[], :forwarded_conversation_id::bigint,
            :media_id::text, :has_attachments::boolean, :has_media_objects::boolean, :automated::boolean)
    RETURNING id, created_at
)
SELECT said.id, said.created_at,
       (SELECT json_agg(json_build_array(held.user_id, held.code, held.active))
        FROM (SELECT user_id, code, bool_or(active) AS active FROM user_codes
              WHERE user_id = ANY (:filed_user_ids::bigint[]) GROUP BY user_id, code) held) AS codes
FROM said;

-- name: renew_send :single
-- A scheduled send says what it says as of its start. The row stays the same one: who looks at the batch meanwhile has
-- read its id already. Else as insert_send.
WITH said AS (
    UPDATE sends
    SET author_id = :author_id::bigint, created_at = statement_timestamp(), body = :body::text,
        subject = :subject::text, private = :private::boolean, context_type = :context_type::text,
        context_id = :context_id::bigint, root_account_ids = :root_account_ids::bigint[],
        attachment_ids = :attachment_ids::bigint[], forwarded_message_ids = :forwarded_message_ids::bigint[],
        forwarded_conversation_id = :forwarded_conversation_id::bigint, media_id = :media_id::text,
        has_attachments = :has_attachments::boolean, has_media_objects = :has_media_objects::boolean,
        automated = :automated::boolean
    WHERE id = :send_id::bigint
    RETURNING id, created_at
)
SELECT said.id, said.created_at,
       (SELECT json_agg(json_build_array(held.user_id, held.code, held.active))
        FROM (SELECT user_id, code, bool_or(active) AS active FROM user_codes
              WHERE user_id = ANY (:filed_user_ids::bigint[]) GROUP BY user_id, code) held) AS codes
FROM said;

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
-- Which of the asked messages the author has and has not deleted, in the conversation in which the first of them
-- stands, and whether they carry files. That conversation is looked for once, the others are looked for there alone. A
-- first message has its conversation's id; for a later one all that the author has is gone through, which no one index
-- holds: a row in none of these has lost its messages at one time, and then message_views knows it. OFFSET 0: a look
-- into the primary key for each, and no join. LIMIT 1 for the first: that of the whole makes PostgreSQL 17 hope to meet
-- the row early in the table.
WITH home AS MATERIALIZED (
    SELECT found.conversation_id FROM (
        (SELECT p.conversation_id FROM participants p
        WHERE p.conversation_id = (:message_ids::bigint[])[1] AND p.user_id = :author_id::bigint
        LIMIT 1)
        UNION ALL
        SELECT own.conversation_id FROM (
            SELECT conversation_id FROM participants
            WHERE user_id = :author_id::bigint AND last_message_at IS NOT NULL AND NOT archived
            UNION
            SELECT conversation_id FROM participants
            WHERE user_id = :author_id::bigint AND last_message_at IS NOT NULL AND archived
            UNION
            SELECT conversation_id FROM participants
            WHERE user_id = :author_id::bigint AND visible_last_authored_at IS NOT NULL
            UNION
            SELECT conversation_id FROM message_views WHERE user_id = :author_id::bigint AND deleted_at IS NOT NULL
        ) own
        WHERE EXISTS (
            SELECT FROM messages m
            WHERE m.conversation_id = own.conversation_id AND m.id = (:message_ids::bigint[])[1] OFFSET 0
        )
    ) found
    LIMIT 1
)
SELECT m.id, m.conversation_id, s.has_attachments, s.has_media_objects
FROM home
JOIN participant_messages m ON m.conversation_id = home.conversation_id AND m.user_id = :author_id::bigint
JOIN sends s ON s.id = m.send_id
WHERE m.id = ANY (:message_ids::bigint[]) AND m.deleted_at IS NULL;

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
