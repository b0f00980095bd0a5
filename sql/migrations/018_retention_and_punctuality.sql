-- What is kept of batches that have ended (CONTRACT 2, CLARION_RETENTION_DAYS), and how punctual they were.

-- When it was forgotten who its recipients were: its chunks are removed, its counters stay. 'infinity': that has begun.
-- Null: they are there.
ALTER TABLE batches ADD COLUMN forgotten_at timestamptz;
CREATE INDEX batches_remembered ON batches (finished_at) WHERE finished_at IS NOT NULL AND forgotten_at IS NULL;
CREATE INDEX batches_forgetting ON batches (id) WHERE forgotten_at = 'infinity';
-- Batch updates that have ended, the oldest first.
CREATE INDEX batch_updates_ended ON batch_updates (updated_at) WHERE state IN ('completed', 'failed');

-- The end (finished_at) that was measured last, as for audited_end. What ended before this migration counts as measured.
ALTER TABLE batches ADD COLUMN measured_end timestamptz;
UPDATE batches SET measured_end = now() WHERE finished_at IS NOT NULL;
CREATE INDEX batches_unmeasured ON batches (finished_at) WHERE finished_at > coalesce(measured_end, '-infinity');

-- By the day (UTC) on which they could begin: bulk sends that went through in one go, and how many of their recipients
-- had the message in time.
CREATE TABLE punctuality (
    day        date PRIMARY KEY,
    batches    integer NOT NULL,
    recipients bigint NOT NULL,     -- delivered or failed
    in_time    bigint NOT NULL      -- delivered within ten seconds: service/domain/punctuality.py
);
