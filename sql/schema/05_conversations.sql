-- Conversations and their lists as readers see them.

-- All messages of a conversation, the first included.
CREATE OR REPLACE VIEW conversation_messages AS
SELECT c.id AS conversation_id, c.id, c.send_id, c.first_tag_set AS tag_set, false AS restricted FROM conversations c
UNION ALL
SELECT m.conversation_id, m.id, m.send_id, m.tag_set, m.restricted FROM messages m;

-- Whether no message of a conversation was accepted before this send: by the database's clock, and of the same moment by
-- the send's id. Volatile, so that it sees what others have committed while the caller's statement waited for its locks.
CREATE OR REPLACE FUNCTION accepted_first(in_conversation bigint, of_send bigint) RETURNS boolean
    LANGUAGE sql VOLATILE AS $$
    SELECT NOT EXISTS (
        SELECT FROM conversation_messages m
        CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = m.send_id OFFSET 0) theirs
        CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = of_send OFFSET 0) own
        WHERE m.conversation_id = in_conversation AND (theirs.created_at, m.send_id) < (own.created_at, of_send)
    )
$$;

-- All (user, message) pairs where the user has the message row of canvas/semantics.md 1, deleted or not. OFFSET 0 keeps
-- the looks into sends and message_views looks into their keys, message by message, whatever the statistics say.
CREATE OR REPLACE VIEW participant_messages AS
SELECT p.user_id, m.conversation_id, m.id, m.send_id, m.tag_set, v.deleted_at,
       s.author_id, s.created_at, s.added_user_ids IS NOT NULL AS generated
FROM participants p
JOIN conversation_messages m ON m.conversation_id = p.conversation_id
CROSS JOIN LATERAL (SELECT author_id, created_at, added_user_ids FROM sends WHERE id = m.send_id OFFSET 0) s
LEFT JOIN LATERAL (
    SELECT user_id, deleted_at FROM message_views
    WHERE conversation_id = m.conversation_id AND user_id = p.user_id AND message_id = m.id OFFSET 0
) v ON true
WHERE v.user_id IS NOT NULL OR (NOT m.restricted AND (p.history_from IS NULL OR s.created_at >= p.history_from));

-- A participant's row, which lists of canvas/semantics.md 6.1 hold it, and by what time each list is ordered (newest
-- first, then conversation id, descending). One place for the definitions; written so that a condition on one of the flags is
-- the condition of the partial index for that list. A row with message_count 0 has lost its times, so only the starred
-- list has to look at the count.
CREATE OR REPLACE VIEW listings AS
SELECT user_id, conversation_id, tag_set,
       last_message_at IS NOT NULL AND NOT archived AS in_inbox,
       last_message_at IS NOT NULL AND NOT archived AND unread AS in_unread,
       last_message_at IS NOT NULL AND archived AS in_archived,
       visible_last_authored_at IS NOT NULL AS in_sent,
       starred AND message_count > 0 AS in_starred,
       last_message_at AS received_at,
       visible_last_authored_at AS sent_at,
       coalesce(greatest(last_message_at, last_authored_at, touched_at), '-infinity') AS changed_at,
       unread, archived, subscribed, starred, message_count, has_attachments, has_media_objects
FROM participants;
