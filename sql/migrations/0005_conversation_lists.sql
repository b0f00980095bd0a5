-- The lists of canvas/semantics.md 6.1, one view each: whose row, which conversation, and by what time it is ordered
-- (newest first, then conversation id, descending). A row with message_count 0 has lost its times, so only the
-- starred list has to look at the count.

CREATE VIEW inbox_list AS
SELECT user_id, conversation_id, tag_set, last_message_at AS listed_at
FROM participants WHERE last_message_at IS NOT NULL AND NOT archived;

CREATE VIEW unread_list AS
SELECT user_id, conversation_id, tag_set, last_message_at AS listed_at
FROM participants WHERE last_message_at IS NOT NULL AND NOT archived AND unread;

CREATE VIEW archived_list AS
SELECT user_id, conversation_id, tag_set, last_message_at AS listed_at
FROM participants WHERE last_message_at IS NOT NULL AND archived;

CREATE VIEW sent_list AS
SELECT user_id, conversation_id, tag_set, visible_last_authored_at AS listed_at
FROM participants WHERE visible_last_authored_at IS NOT NULL;

CREATE VIEW starred_list AS
SELECT user_id, conversation_id, tag_set,
       coalesce(greatest(last_message_at, last_authored_at, touched_at), '-infinity') AS listed_at
FROM participants WHERE starred AND message_count > 0;

-- All five under their names, for statements that do not read in order.
CREATE VIEW conversation_lists AS
SELECT 'inbox'::text AS scope, user_id, conversation_id, tag_set, listed_at FROM inbox_list
UNION ALL SELECT 'unread', user_id, conversation_id, tag_set, listed_at FROM unread_list
UNION ALL SELECT 'archived', user_id, conversation_id, tag_set, listed_at FROM archived_list
UNION ALL SELECT 'sent', user_id, conversation_id, tag_set, listed_at FROM sent_list
UNION ALL SELECT 'starred', user_id, conversation_id, tag_set, listed_at FROM starred_list;
