-- name: create_tokens :none
-- Many tokens that differ only in hash and user, in one statement.
INSERT INTO access_tokens (token_hash, user_id, name, scopes, expires_at)
SELECT hash, user_id, :name::text, :scopes::text[], :expires_at::timestamptz
FROM unnest(:hashes::bytea[], :user_ids::bigint[]) AS made (hash, user_id)
ORDER BY hash;

-- name: revoke_token :none
-- Revoking twice keeps the first time. No row written: there is no such token.
UPDATE access_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE token_hash = :hash::bytea;
