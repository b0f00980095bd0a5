-- Sends that start later (CONTRACT 3.2), and how much each sender has started (CONTRACT 2, CLARION_SENDER_RECIPIENTS_PER_DAY).

-- The request of a batch that is scheduled: it is looked at again when it starts, and the row goes with that.
CREATE TABLE scheduled_sends (
    batch_id    bigint PRIMARY KEY,
    request     jsonb NOT NULL,             -- as service/application/messages/schedule.py keeps it
    due_at      timestamptz NOT NULL,       -- send_at of the batch; later, where a start has failed
    traceparent text,                       -- as for the tables of 004_batches.sql, like the two below
    attempts    integer NOT NULL DEFAULT 0,
    error       text
);
CREATE INDEX scheduled_sends_due ON scheduled_sends (due_at);

-- What each sender started in the last 24 hours, where that is limited: a row for each send.
CREATE TABLE counted_sends (
    sender_id  bigint NOT NULL,
    counted_at timestamptz NOT NULL,
    recipients integer NOT NULL
);
CREATE INDEX counted_sends_sender ON counted_sends (sender_id, counted_at);
CREATE INDEX counted_sends_age ON counted_sends (counted_at);

-- The events of a batch that is steered.
ALTER TABLE outbox
    DROP CONSTRAINT outbox_event_check,
    ADD CONSTRAINT outbox_event_check CHECK (event IN (
        'delivered', 'forwarded', 'batch_scheduled', 'batch_started', 'batch_progress', 'batch_paused', 'batch_resumed',
        'batch_finished', 'batch_failed'));
