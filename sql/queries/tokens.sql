-- name: create_tokens :none
-- Many tokens that differ only in hash and user, in one statement.
INSERT INTO access_tokens (token_hash, user_id, name, scopes, expires_at)
SELECT hash, user_id, $3::text, $4::text[], $5::timestamptz
FROM unnest($1::bytea[], $2::bigint[]) AS made (hash, user_id)
ORDER BY hash;

-- name: revoke_token :one
-- Revoking twice keeps the first time. No row: there is no such token.
UPDATE access_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE token_hash = $1::bytea RETURNING user_id;
