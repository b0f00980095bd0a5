-- The transactional outbox (CONTRACT 4): what is to be told on the exchange of events, written by the transaction that
-- changed something, published and deleted by a relay. One row stands for all copies of a chunk.

-- Rows of one lane are published in the order of their ids, by one relay at a time. Ids come in blocks of 2000, and all
-- threads of a new chunk are in one block, so one row of one lane tells of them.
CREATE FUNCTION outbox_lane(conversation_id bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (conversation_id / 2000 % 16)::smallint;

-- A row is inserted after the locks on the conversation, or on the batch: so the ids of its rows are in the order of
-- the commits. event says what the row tells, and with it which columns it uses:
--   delivered   messages of one author and moment. Either first_id and copies: the conversations first_id .. first_id +
--               copies - 1 were opened, each by the message of its own id; or conversation_ids and, parallel to them,
--               message_ids: where the two are equal, the conversation was opened by the message.
--   forwarded   people joined the conversations of conversation_ids by the messages of message_ids, which are told of
--               as well, right behind.
--   batch_*     body holds what is told, under the names of the event.
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
    cause            jsonb NOT NULL,                                   -- service/domain/event_metadata.py: metadata, all text
    traceparent      text,
    PRIMARY KEY (lane, id),
    CHECK (CASE WHEN event LIKE 'batch\_%' THEN lane = 16 AND body IS NOT NULL
                ELSE lane < 16 AND author_id IS NOT NULL AND created_at IS NOT NULL
                     AND (first_id IS NOT NULL AND copies > 0 AND event = 'delivered'
                          OR cardinality(conversation_ids) > 0
                             AND cardinality(conversation_ids) = cardinality(message_ids)) END)
);

-- Events that were published and wanted by no queue: gone, and counted.
CREATE TABLE unroutable_events (
    event    text PRIMARY KEY,
    count    bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL
);

-- What is told when the counters of a batch move: its beginning, with the first recipients that are settled; then how far
-- it is, or how it ended.
CREATE FUNCTION batch_events(state text, first boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN first THEN ARRAY['batch_started'] ELSE ARRAY[]::text[] END
           || CASE state WHEN 'sent' THEN 'batch_finished' WHEN 'cancelled' THEN 'batch_finished'
                         WHEN 'error' THEN 'batch_failed' ELSE 'batch_progress' END;

-- A batch as its events tell of it (CONTRACT 4): ids and counts as text.
CREATE FUNCTION batch_body(batch batches) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object(
        'batch_id', (batch).id::text, 'state', (batch).state, 'total', (batch).total::text,
        'delivered', (batch).delivered::text, 'failed', (batch).failed::text, 'skipped', (batch).skipped::text);
