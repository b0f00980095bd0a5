-- Requests of neighbours by the keys under which they may be repeated (CONTRACT 4). The row is written by the transaction
-- that carries the request out, so one is there without the other at no moment; a sweeper deletes it after a day.
CREATE TABLE requests (
    user_id     bigint NOT NULL,                        -- for whom it was made: a key is one user's
    key         text NOT NULL,
    fingerprint bytea NOT NULL,                         -- of what was asked; another request under the key is refused
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    status      smallint,                               -- null, like headers and body, in no committed row
    headers     jsonb,
    body        bytea COMPRESSION lz4,                  -- of the answer, JSON, byte for byte
    PRIMARY KEY (user_id, key)
);
CREATE INDEX requests_created_at ON requests (created_at);
