-- Who may call, how much, and what was answered before.

-- Tokens are shown once and stored hashed (canvas/conventions.md 2).
CREATE TABLE access_tokens (
    token_hash   bytea PRIMARY KEY,   -- SHA-256 of the token
    id           bigint NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY, -- by which operators name it
    user_id      bigint NOT NULL,
    name         text,
    scopes       text[],              -- null: every route
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz          -- to the minute
);

-- How full the bucket of each token is (canvas/conventions.md 11), for all replicas of the gateway. Unlogged: a change
-- costs no flush to disk, and after a crash every bucket is empty, which does no harm.
CREATE UNLOGGED TABLE throttle_buckets (
    token_hash bytea PRIMARY KEY REFERENCES access_tokens ON DELETE CASCADE,
    empties_at timestamptz NOT NULL     -- when the last of it will have drained, if nothing is poured in meanwhile
) WITH (fillfactor = 50);               -- nearly every request changes a row twice, in place

-- The answers to requests by the keys under which the requests may be repeated (CONTRACT 4). The row is written by the
-- transaction that carries the request out, so one is there without the other at no moment; a sweeper deletes it
-- after a day.
CREATE TABLE idempotency_keys (
    user_id     bigint NOT NULL,                        -- for whom it was made: a key is one user's
    key         text NOT NULL,
    fingerprint bytea NOT NULL,                         -- of what was asked; another request under the key is refused
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    status      smallint,                               -- null, like headers and body, in no committed row
    headers     jsonb,
    body        bytea COMPRESSION lz4,                  -- of the answer, JSON, byte for byte
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
