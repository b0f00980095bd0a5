-- Batches share the workers: of each, a few chunks are commanded at a time (CONTRACT 2, CLARION_BATCH_CHUNKS_IN_FLIGHT). The
-- others wait for their turn, with due_at = 'infinity'.

-- Of one batch what is commanded, and behind it what waits, in the order in which it is commanded.
CREATE INDEX chunks_turns ON chunks (batch_id, due_at, position) WHERE state = 'pending';

-- From when on the next recipients may have their message, where that is limited for each sender or account (CONTRACT 2,
-- CLARION_SENDER_RECIPIENTS_PER_MINUTE): a row for each that has sent since.
CREATE TABLE paces (
    kind    text NOT NULL CHECK (kind IN ('sender', 'account')),
    id      bigint NOT NULL,
    next_at timestamptz NOT NULL,
    PRIMARY KEY (kind, id)
);
