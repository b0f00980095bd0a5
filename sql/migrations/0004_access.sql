-- Tokens are shown once and stored hashed (canvas/conventions.md 2).
CREATE TABLE access_tokens (
    token_hash bytea PRIMARY KEY,   -- SHA-256 of the token
    user_id    bigint NOT NULL,
    name       text,
    scopes     text[],              -- null: every route
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
