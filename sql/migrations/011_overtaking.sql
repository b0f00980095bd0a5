-- Sends that overtake each other, and readers who overtake the workers (CONTRACT 3.3).

-- The send of the message that was accepted first, where another one was written first: the thread has its subject. A
-- column without a value costs the rows of a new thread nothing.
ALTER TABLE conversations ADD COLUMN earliest_send_id bigint;
