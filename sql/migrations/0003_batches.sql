-- A batch is one bulk send, cut into chunks of recipients in user id order. The chunk row is the truth about
-- its recipients: a command only names it, so a command may be lost, doubled or late and nothing else is.

CREATE TABLE batches (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    send_id        bigint NOT NULL,
    sender_id      bigint NOT NULL,
    message_id     bigint NOT NULL,               -- id of the template message, which belongs to no conversation
    tags           text[] NOT NULL,               -- request tags (semantics.md 4.1)
    user_note      boolean NOT NULL,
    state          text NOT NULL CHECK (state IN ('created', 'sending', 'paused', 'sent', 'cancelled', 'error')),
    total          integer NOT NULL,
    delivered      integer NOT NULL DEFAULT 0,
    failed         integer NOT NULL DEFAULT 0,
    skipped        integer NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    CHECK (delivered + failed + skipped <= total)
);
CREATE INDEX batches_sender ON batches (sender_id, id);
-- The sweeper looks here for what was accepted and is not done.
CREATE INDEX batches_unfinished ON batches (id) WHERE state IN ('created', 'sending');

CREATE TABLE chunks (
    batch_id         bigint NOT NULL,
    position         integer NOT NULL,
    first_id         bigint NOT NULL,             -- recipient i of the chunk gets conversation and message first_id + i
    recipients       bigint[] COMPRESSION lz4 NOT NULL,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'skipped')),
    conversation_ids bigint[] COMPRESSION lz4,    -- only when a thread was reused; else first_id + i
    attempts         integer NOT NULL DEFAULT 0,
    error            text,
    due_at           timestamptz NOT NULL,        -- pending and past this: the sweeper publishes it again
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (batch_id, position)
);
CREATE INDEX chunks_due ON chunks (due_at) WHERE state = 'pending';
