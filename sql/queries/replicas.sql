-- name: flushed_position :value
-- How much of the primary's log is flushed, [timeline, bytes]: all that was committed is in it.
SELECT ARRAY[('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::bigint,
             (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint] AS position;

-- name: replayed_position :value
-- How much of a log a replica shows, [timeline, bytes]; null on a server that follows no other. Its timeline is the one that its
-- files are on: it says so a little late when the primary was replaced, and never too early.
SELECT CASE WHEN pg_is_in_recovery() THEN ARRAY[
           greatest((pg_control_checkpoint()).timeline_id, (pg_control_recovery()).min_recovery_end_timeline)::bigint,
           (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint] END AS position;
