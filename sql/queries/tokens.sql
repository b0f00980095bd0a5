-- name: create_tokens :none
-- Many tokens that differ only in hash and user, in one statement; none where they would have expired already.
INSERT INTO access_tokens (token_hash, user_id, name, scopes, expires_at)
SELECT hash, user_id, :name::text, :scopes::text[], :expires_at::timestamptz
FROM unnest(:hashes::bytea[], :user_ids::bigint[]) AS made (hash, user_id)
WHERE coalesce(:expires_at::timestamptz > now(), true)
ORDER BY hash;

-- name: revoke_token :none
-- By the token or by its id. Revoking twice keeps the first time. No row written: there is no such token.
UPDATE access_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE token_hash = :hash::bytea OR id = :id::bigint;

-- name: list_tokens :many
-- For operators: which tokens there are, and which of them are not used. A user need not be in the directory.
SELECT t.id, t.user_id, u.name AS user_name, t.name, t.created_at, t.expires_at, t.last_used_at, t.revoked_at
FROM access_tokens t
LEFT JOIN users u ON u.id = t.user_id
ORDER BY t.id;
