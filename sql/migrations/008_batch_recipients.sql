-- What became of each recipient of a batch, and how fast it goes (CONTRACT 3.1); and how often its chunks were split.

ALTER TABLE batches ADD COLUMN splits integer NOT NULL DEFAULT 0;
-- Counted without reading the array, which is long and compressed.
ALTER TABLE chunks ADD COLUMN size integer GENERATED ALWAYS AS (cardinality(recipients)) STORED;

-- Recipients are listed behind a user, of one state or of all: which chunks may have them says the index alone.
CREATE INDEX chunks_recipients ON chunks (batch_id, lowest_user_id, highest_user_id, state);
-- What was settled in the last seconds.
CREATE INDEX chunks_settled ON chunks (batch_id, updated_at) INCLUDE (size)
    WHERE state IN ('delivered', 'failed');
-- Chunks whose skipped recipients are not yet in the counters of their batch: hardly ever any.
CREATE INDEX chunks_reduced ON chunks (batch_id) WHERE state = 'pending' AND skipped > 0;
