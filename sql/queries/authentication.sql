-- name: find_caller :one
-- Everything authentication needs, in the one statement that every request pays for. A user who is not (yet)
-- in the directory has a null workflow_state. The fake student (CONTRACT 6.6) has student view enrolments only. awaited:
-- batch and position of each chunk that a read has to have delivered first, the oldest first (CONTRACT 3.3).
-- With :reserving it also reserves the request's pre-flight cost in the bucket of the token, as change_bucket does;
-- :reserving and :longest are seconds. That the token was used is noted once a minute at most. A crash of the server may
-- forget both, so no reader waits for the disk, nor for what a big send is writing there; a statement of its own.
-- With :replicated log_position is how much of the log a replica has to have for this caller, [timeline, bytes]: all that was
-- committed, which is flushed before it is seen. The log is flushed by whole pages where no commit waits for it; what ends in the midst of a
-- record no replica can have, and then this statement's own commit flushes the rest.
WITH found AS (
    SELECT t.token_hash, t.user_id, t.scopes, t.expires_at,
           coalesce(t.expires_at <= statement_timestamp(), false) AS expired, t.revoked_at, t.last_used_at,
           u.workflow_state, u.login, u.sis_id,
           EXISTS (SELECT FROM enrollments e WHERE e.user_id = t.user_id AND e.type = 'StudentViewEnrollment')
           AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = t.user_id AND e.type <> 'StudentViewEnrollment')
               AS fake_student
    FROM access_tokens t
    LEFT JOIN users u ON u.id = t.user_id
    WHERE t.token_hash = :token_hash::bytea
      AND set_config('synchronous_commit', CASE
              WHEN :replicated::boolean AND (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)
                   % current_setting('wal_block_size')::integer = 0 THEN 'local'
              ELSE 'off' END, true) IS NOT NULL
), bucket AS (
    INSERT INTO throttle_buckets AS b (token_hash, empties_at)
    SELECT f.token_hash, clock_timestamp() + least(:reserving::float8, :longest::float8) * interval '1 second'
    FROM found f
    WHERE :reserving::float8 IS NOT NULL
    ON CONFLICT (token_hash) DO UPDATE SET empties_at = least(
        greatest(b.empties_at, clock_timestamp()) + :reserving::float8 * interval '1 second',
        clock_timestamp() + :longest::float8 * interval '1 second')
    RETURNING extract(epoch FROM empties_at - clock_timestamp())::float8 AS drains_in
), used AS (
    UPDATE access_tokens t SET last_used_at = now()
    FROM found f
    WHERE t.token_hash = f.token_hash AND f.revoked_at IS NULL
      AND coalesce(f.expires_at > now(), true)
      AND coalesce(f.last_used_at < now() - interval '1 minute', true)
)
SELECT f.user_id, f.scopes, f.expires_at, f.expired, f.revoked_at, f.workflow_state, f.fake_student, f.login, f.sis_id,
       bucket.drains_in,
       array(SELECT ARRAY[w.batch_id, w.position] FROM awaited_chunks(f.user_id) w ORDER BY w.batch_id, w.position) AS awaited,
       CASE WHEN :replicated THEN ARRAY[
           ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::bigint,
           (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint] END AS log_position
FROM found f
LEFT JOIN bucket ON true;

-- name: find_bearer :one
-- As find_caller, and as the one statement too, for the user whom a verified JWT names by one of its forms; the forms that
-- are not used are null. No row where its time has not come or is over (:valid_from and :valid_until, seconds since 1970
-- with the leeway), and where there is no living user of that name or more than one. :client is whose bucket it is.
WITH named AS (
    SELECT u.id AS user_id, u.workflow_state, u.login, u.sis_id
    FROM users u
    WHERE (u.id = :user_id::bigint OR u.uuid = :uuid::text OR u.sis_id = :sis_id::text OR u.login = :login::text)
      AND u.workflow_state <> 'deleted'
      AND extract(epoch FROM statement_timestamp())::float8 >= :valid_from::float8
      AND extract(epoch FROM statement_timestamp())::float8 < :valid_until::float8
    LIMIT 2
), found AS (
    SELECT n.*,
           EXISTS (SELECT FROM enrollments e WHERE e.user_id = n.user_id AND e.type = 'StudentViewEnrollment')
           AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = n.user_id AND e.type <> 'StudentViewEnrollment')
               AS fake_student
    FROM named n
    WHERE (SELECT count(*) FROM named) = 1
      AND set_config('synchronous_commit', CASE
              WHEN :replicated::boolean AND (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)
                   % current_setting('wal_block_size')::integer = 0 THEN 'local'
              ELSE 'off' END, true) IS NOT NULL
), bucket AS (
    INSERT INTO throttle_buckets AS b (token_hash, empties_at)
    SELECT :client::bytea, clock_timestamp() + least(:reserving::float8, :longest::float8) * interval '1 second'
    FROM found f
    WHERE :reserving::float8 IS NOT NULL
    ON CONFLICT (token_hash) DO UPDATE SET empties_at = least(
        greatest(b.empties_at, clock_timestamp()) + :reserving::float8 * interval '1 second',
        clock_timestamp() + :longest::float8 * interval '1 second')
    RETURNING extract(epoch FROM empties_at - clock_timestamp())::float8 AS drains_in
)
SELECT f.user_id, :scopes::text[] AS scopes, NULL::timestamptz AS expires_at, false AS expired,
       NULL::timestamptz AS revoked_at, f.workflow_state, f.fake_student, f.login, f.sis_id, bucket.drains_in,
       array(SELECT ARRAY[w.batch_id, w.position] FROM awaited_chunks(f.user_id) w ORDER BY w.batch_id, w.position) AS awaited,
       CASE WHEN :replicated THEN ARRAY[
           ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::bigint,
           (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint] END AS log_position
FROM found f
LEFT JOIN bucket ON true;
