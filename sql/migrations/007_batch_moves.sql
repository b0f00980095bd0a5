-- Batches that can be steered, and the state of each of their recipients (CONTRACT 3.1).

-- A scheduled batch has the chunks of those it was accepted for; whom it goes to is looked up again when it starts.
ALTER TABLE batches
    DROP CONSTRAINT batches_state_check,
    ADD CONSTRAINT batches_state_check
        CHECK (state IN ('scheduled', 'created', 'sending', 'paused', 'sent', 'cancelled', 'error')),
    ADD COLUMN send_at timestamptz,     -- when it is to start; null: it was never scheduled
    ADD COLUMN error text,              -- why the batch as a whole ended in error
    -- It was stopped in between, or started later than it was accepted: who is deleted by now, or cannot be reached any
    -- more, is skipped when a chunk is delivered.
    ADD COLUMN recheck boolean NOT NULL DEFAULT false;
CREATE INDEX batches_scheduled ON batches (send_at) WHERE state = 'scheduled';

-- Recipients stand in user id order, so these two say whether a user may be among them without reading the array, and in
-- which order a batch's chunks list its recipients, also when one was cut in two.
ALTER TABLE chunks
    ADD COLUMN lowest_user_id bigint GENERATED ALWAYS AS (recipients[1]) STORED,
    ADD COLUMN highest_user_id bigint GENERATED ALWAYS AS (recipients[cardinality(recipients)]) STORED;

-- Recipients of a batch who were taken out of their chunk. All others have the state of the chunk that they are in.
CREATE TABLE skipped_recipients (
    batch_id   bigint NOT NULL,
    user_id    bigint NOT NULL,
    reason     text NOT NULL CHECK (reason IN ('cancelled', 'user_deleted', 'no_longer_reachable', 'sender_not_allowed')),
    skipped_at timestamptz NOT NULL,
    PRIMARY KEY (batch_id, user_id)
);
