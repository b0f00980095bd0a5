-- Batch updates of one's own conversations (canvas/semantics.md 10). The row is the truth about what was asked and how
-- far it has come: a command only names it, so a command may be lost, doubled or late.
CREATE TABLE progresses (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          bigint NOT NULL,               -- who started it, and whose conversations are changed
    event            text NOT NULL,
    conversation_ids text[] COMPRESSION lz4 NOT NULL, -- as they were sent: the final message repeats those that failed
    state            text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'completed', 'failed')),
    done             integer NOT NULL DEFAULT 0,    -- this many of conversation_ids are dealt with, from the first on
    refused          integer[] NOT NULL DEFAULT '{}', -- positions among those, from 0, where the user does not take part
    message          text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    due_at           timestamptz NOT NULL,          -- unfinished and past this: the sweeper publishes it again
    CHECK (done <= cardinality(conversation_ids))
);
CREATE INDEX progresses_due ON progresses (due_at) WHERE state IN ('queued', 'running');

-- What users have deleted, for those who may look it up (canvas/endpoints.md 4.15).
CREATE INDEX message_views_deleted ON message_views (user_id, deleted_at) WHERE deleted_at IS NOT NULL;
