-- The transactional outbox (CONTRACT 4): the events that are to be published, written by the transaction that changed
-- something, published and deleted by a relay. One row stands for all copies of a chunk.

-- Rows of one lane are published in the order of their ids, by one relay at a time. Ids come in blocks of 2000, and all
-- threads of a new chunk are in one block, so one row of one lane stands for them. Never replaced: rows of one
-- conversation in two lanes would lose their order.
CREATE FUNCTION outbox_lane(conversation_id bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (conversation_id / 2000 % 16)::smallint;

-- A row is inserted after the locks on the conversation, or on the batch: so the ids of its rows are in the order of
-- the commits. event says what the row stands for, and with it which columns it uses:
--   delivered   messages of one author and moment. Either first_id and copies: the conversations first_id .. first_id +
--               copies - 1 were opened, each by the message of its own id; or conversation_ids and, parallel to them,
--               message_ids: where the two are equal, the conversation was opened by the message.
--   forwarded   people joined the conversations of conversation_ids by the messages of message_ids, which have events
--               as well, right behind.
--   batch_*     body is that of the event, under its names.
CREATE TABLE outbox (
    id               bigint GENERATED ALWAYS AS IDENTITY,
    lane             smallint NOT NULL CHECK (lane BETWEEN 0 AND 16),  -- outbox_lane of its conversations; 16: batch_*
    event            text NOT NULL CHECK (event IN ('delivered', 'forwarded', 'batch_started', 'batch_progress',
                                                    'batch_finished', 'batch_failed')),
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),   -- time of the events
    author_id        bigint,
    created_at       timestamptz,                                      -- of the messages
    first_id         bigint,
    copies           integer,
    conversation_ids bigint[] COMPRESSION lz4,
    message_ids      bigint[] COMPRESSION lz4,
    body             jsonb,
    cause            jsonb NOT NULL,                                   -- the events' metadata, all text
    traceparent      text,
    batch_id         bigint,                                           -- with position: the chunk of which these are
    position         integer,                                          -- the copies, in the order of its recipients
    PRIMARY KEY (lane, id),
    CHECK (CASE WHEN event LIKE 'batch\_%' THEN lane = 16 AND body IS NOT NULL
                ELSE lane < 16 AND author_id IS NOT NULL AND created_at IS NOT NULL
                     AND (first_id IS NOT NULL AND copies > 0 AND event = 'delivered'
                          OR cardinality(conversation_ids) > 0
                             AND cardinality(conversation_ids) = cardinality(message_ids)) END)
);

-- As for the tables of 003_conversations.sql; and emptied, it keeps its pages, or PostgreSQL would know it to be small.
ALTER TABLE outbox SET (
    autovacuum_analyze_threshold = 5000, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = 5000,
    vacuum_truncate = off);

-- Events that were published and wanted by no queue: gone, and counted.
CREATE TABLE unroutable_events (
    event    text PRIMARY KEY,
    count    bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL
);
