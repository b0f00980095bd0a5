-- Which lists of canvas/semantics.md 6.1 hold a participant's row, and by what time each list is ordered (newest first,
-- then conversation id, descending). One place for the definitions; written so that a condition on one of the flags is
-- the condition of the partial index for that list. A row with message_count 0 has lost its times, so only the starred
-- list has to look at the count.
CREATE VIEW listings AS
SELECT user_id, conversation_id, tag_set,
       last_message_at IS NOT NULL AND NOT archived AS in_inbox,
       last_message_at IS NOT NULL AND NOT archived AND unread AS in_unread,
       last_message_at IS NOT NULL AND archived AS in_archived,
       visible_last_authored_at IS NOT NULL AS in_sent,
       starred AND message_count > 0 AS in_starred,
       last_message_at AS received_at,
       visible_last_authored_at AS sent_at,
       coalesce(greatest(last_message_at, last_authored_at, touched_at), '-infinity') AS changed_at
FROM participants;
