-- Batches that have ended are compared with the inboxes, once for each end: service/application/messages/audit.py.

-- The end (finished_at) that was audited last. A batch that goes on after it, by a retry, say, ends later and is
-- audited anew. What ended before this migration counts as audited.
ALTER TABLE batches ADD COLUMN audited_end timestamptz;
UPDATE batches SET audited_end = now() WHERE finished_at IS NOT NULL;
CREATE INDEX batches_unaudited ON batches (finished_at) WHERE finished_at > coalesce(audited_end, '-infinity');

-- Audits that have begun. The row is claim and place: whoever has it locked goes on with it, and it goes with its end.
CREATE TABLE audits (
    batch_id   bigint PRIMARY KEY,
    ended_at   timestamptz NOT NULL,            -- finished_at of the end that is audited
    position   integer NOT NULL DEFAULT -1,     -- chunks up to this one are done
    recipients integer NOT NULL DEFAULT 0,      -- so many of them were compared
    missing    integer NOT NULL DEFAULT 0,      -- and so many lacked something
    due_at     timestamptz NOT NULL,            -- ended_at; later, where it has failed
    error      text
);
CREATE INDEX audits_due ON audits (due_at);

-- When a batch was last paused, resumed, cancelled or tried again: what it has not done since then may be stuck.
ALTER TABLE batches ADD COLUMN moved_at timestamptz;

-- Conversations that an administrator has taken from all (canvas/endpoints.md 4.15): nobody is to have them any more.
CREATE TABLE taken_conversations (conversation_id bigint PRIMARY KEY);
