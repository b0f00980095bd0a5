-- name: flushed_position :value
-- How much of the primary's log is flushed, in bytes: all that was committed is in it.
SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS position;

-- name: replayed_position :value
-- How much of the primary's log a replica shows, in bytes; null on a server that follows no other.
SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END AS position;
