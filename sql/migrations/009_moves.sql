-- What a batch that was stopped needs to go on, and to say so (CONTRACT 3.1 and 4).

ALTER TABLE batches
    -- How often it was turned round: paused, resumed, cancelled, tried again. It keeps events apart that may come
    -- again after that.
    ADD COLUMN moves integer NOT NULL DEFAULT 0,
    -- By which way recipients were reached beside one by one, so that it can be asked again whether they still are: the
    -- codes of recipients that name more than one person, and the conversation whose participants may be written to.
    ADD COLUMN audiences text[] NOT NULL DEFAULT '{}',
    ADD COLUMN from_conversation_id bigint;
-- Cancelled while chunks of it were in work: the sweeper looks here for those that did not end.
CREATE INDEX batches_cancelling ON batches (id) WHERE state = 'cancelled' AND finished_at IS NULL;

ALTER TABLE outbox
    ADD COLUMN moves integer,  -- batch_*: those of the batch by then; null: none
    DROP CONSTRAINT outbox_event_check,
    ADD CONSTRAINT outbox_event_check CHECK (event IN (
        'delivered', 'forwarded', 'batch_scheduled', 'batch_started', 'batch_progress', 'batch_paused', 'batch_resumed',
        'batch_finished', 'batch_failed'));
