-- How full the bucket of each token is (canvas/conventions.md 11), for all replicas of the gateway. Unlogged: a change
-- costs no flush to disk, and after a crash every bucket is empty, which harms nobody.
CREATE UNLOGGED TABLE throttle_buckets (
    token_hash bytea PRIMARY KEY REFERENCES access_tokens ON DELETE CASCADE,
    empties_at timestamptz NOT NULL     -- when the last of it will have drained, if nothing is poured in meanwhile
) WITH (fillfactor = 50);               -- nearly every request changes a row twice, in place
