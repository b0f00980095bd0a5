-- name: change_bucket :value
-- service.domain.leaky_bucket.poured, by the database's clock: the replicas have one each. :seconds and :longest are
-- both in seconds.
UPDATE throttle_buckets b SET empties_at = least(
    greatest(b.empties_at, clock_timestamp()) + :seconds::float8 * interval '1 second',
    clock_timestamp() + :longest::float8 * interval '1 second')
WHERE b.token_hash = :client::bytea
RETURNING extract(epoch FROM empties_at - clock_timestamp())::float8 AS drains_in;
