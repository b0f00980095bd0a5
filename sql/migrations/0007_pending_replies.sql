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
    failed_at            timestamptz,           -- given up; kept, because somebody wrote it
    due_at               timestamptz NOT NULL   -- waiting past this: the sweeper publishes it again
);
CREATE INDEX pending_replies_waiting ON pending_replies (conversation_id, id) WHERE failed_at IS NULL;
CREATE INDEX pending_replies_due ON pending_replies (due_at) WHERE failed_at IS NULL;
