-- Sends that overtake each other, and readers who overtake the workers (CONTRACT 3.3).

-- The send of the message that was accepted first, where another one was written first: the thread has its subject. A
-- column without a value costs the rows of a new thread nothing.
ALTER TABLE conversations ADD COLUMN earliest_send_id bigint;

-- A reader looks here for chunks that are not delivered yet and may have him among their recipients. Empty but for what
-- is waiting right now.
CREATE INDEX chunks_awaited ON chunks (lowest_user_id, highest_user_id) WHERE state = 'pending';
