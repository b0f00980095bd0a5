-- A bucket of the throttle may also belong to a user who signs in by JWT, who has no row in access_tokens. token_hash is
-- then the SHA-256 of the issuer and the user's name there.
ALTER TABLE throttle_buckets DROP CONSTRAINT throttle_buckets_token_hash_fkey;
