-- What was accepted and is carried out by workers. Each row is the truth about its work: a command only names it, so a
-- command may be lost, doubled or late and nothing else is. Columns that mean the same in each of them:
--   due_at        unfinished and past this: the sweeper publishes the command again.
--   traceparent   the W3C trace context in which the work was accepted, so that the worker that carries it out, or the
--                 sweeper, goes on in the same trace. Null: there was none.
--   attempts      how many failed, tried_at when the last one did, error why: see attempt_counts in sql/schema.
--   redeliveries  how often it was begun again after its command had come back without an outcome: each time its
--                 worker may have been killed by it. The first time is not noted, so that work which goes well costs no
--                 statement more.

-- A batch is one bulk send, cut into chunks of recipients in user id order.
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
    traceparent    text,
    -- Sent to members of this course, and filed under it alone: they were looked up when it was accepted, so that no
    -- second look for tags is needed when the chunks are delivered. Null: some may be in other contexts.
    members_of_course bigint,
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
    -- So many were left out because a merge of accounts gives them the message otherwise. They count when the chunk is
    -- done, even if nobody is left in it: a batch does not end while it has a pending chunk.
    skipped          integer NOT NULL DEFAULT 0,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'skipped')),
    conversation_ids bigint[] COMPRESSION lz4,    -- only when a thread was reused; else first_id + i
    attempts         integer NOT NULL DEFAULT 0,
    tried_at         timestamptz,
    error            text,
    due_at           timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    redeliveries     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, position)
);
CREATE INDEX chunks_due ON chunks (due_at) WHERE state = 'pending';
-- As for the tables of 003_conversations.sql.
ALTER TABLE chunks SET (
    autovacuum_analyze_threshold = 5000, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = 5000);

-- Replies to conversations of many, accepted and not yet delivered (canvas/semantics.md 15). The row is the queue: a
-- conversation's replies are delivered in the order of their ids, under the lock of its row, and deleted with that.
CREATE TABLE pending_replies (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id      bigint NOT NULL,
    message_id           bigint NOT NULL,
    send_id              bigint NOT NULL,
    recipients           bigint[],              -- null: every participant
    included_message_ids bigint[] NOT NULL,
    tags                 text[] NOT NULL,       -- request tags (semantics.md 4.1)
    user_note            boolean NOT NULL,
    attempts             integer NOT NULL DEFAULT 0,
    error                text,
    failed_at            timestamptz,           -- given up; kept, because a user wrote it
    due_at               timestamptz NOT NULL,
    traceparent          text,
    tried_at             timestamptz,
    redeliveries         integer NOT NULL DEFAULT 0
);
CREATE INDEX pending_replies_waiting ON pending_replies (conversation_id, id) WHERE failed_at IS NULL;
CREATE INDEX pending_replies_due ON pending_replies (due_at) WHERE failed_at IS NULL;

-- Batch updates of one's own conversations (canvas/semantics.md 10), which the API shows as Progress: what was asked,
-- and how far it has come.
CREATE TABLE batch_updates (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          bigint NOT NULL,               -- who started it, and whose conversations are changed
    event            text NOT NULL,
    conversation_ids text[] COMPRESSION lz4 NOT NULL, -- as they were sent: the final message repeats those that failed
    state            text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'completed', 'failed')),
    done             integer NOT NULL DEFAULT 0,    -- this many of conversation_ids are dealt with, from the first on
    -- Positions in conversation_ids, from 0: the user does not take part, or who acted as the user may not touch it.
    refused          integer[] NOT NULL DEFAULT '{}',
    message          text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    due_at           timestamptz NOT NULL,
    traceparent      text,
    attempts         integer NOT NULL DEFAULT 0,
    tried_at         timestamptz,
    error            text,                          -- of an update that has failed: it was given up, not cancelled
    redeliveries     integer NOT NULL DEFAULT 0,
    CHECK (done <= cardinality(conversation_ids))
);
CREATE INDEX batch_updates_due ON batch_updates (due_at) WHERE state IN ('queued', 'running');
