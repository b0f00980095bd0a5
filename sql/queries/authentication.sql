-- name: find_caller :one
-- Everything authentication needs, in the one statement that every request pays for. A user who is not (yet)
-- in the directory has a null workflow_state. The fake student (CONTRACT 6.6) has student view enrolments only.
-- With $2 it also reserves the request's pre-flight cost in the bucket of the token, as change_bucket does.
WITH found AS (
    SELECT t.token_hash, t.user_id, t.scopes, t.expires_at, t.revoked_at, u.workflow_state, u.login, u.sis_id,
           EXISTS (SELECT FROM enrollments e WHERE e.user_id = t.user_id AND e.type = 'StudentViewEnrollment')
           AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = t.user_id AND e.type <> 'StudentViewEnrollment')
               AS fake_student
    FROM access_tokens t
    LEFT JOIN users u ON u.id = t.user_id
    WHERE t.token_hash = $1::bytea
), bucket AS (
    INSERT INTO throttle_buckets AS b (token_hash, empties_at)
    SELECT f.token_hash, clock_timestamp() + least($2::float8, $3::float8) * interval '1 second'
    FROM found f
    WHERE $2::float8 IS NOT NULL
    ON CONFLICT (token_hash) DO UPDATE SET empties_at = least(
        greatest(b.empties_at, clock_timestamp()) + $2::float8 * interval '1 second',
        clock_timestamp() + $3::float8 * interval '1 second')
    RETURNING extract(epoch FROM empties_at - clock_timestamp())::float8 AS drains_in
)
SELECT f.user_id, f.scopes, f.expires_at, f.revoked_at, f.workflow_state, f.fake_student, f.login, f.sis_id,
       bucket.drains_in
FROM found f
LEFT JOIN bucket ON true;

-- name: change_bucket :one
-- service.domain.leaky_bucket.poured, by the database's clock: the replicas have one each. $2 and $3 are seconds.
UPDATE throttle_buckets b SET empties_at = least(
    greatest(b.empties_at, clock_timestamp()) + $2::float8 * interval '1 second',
    clock_timestamp() + $3::float8 * interval '1 second')
WHERE b.token_hash = $1::bytea
RETURNING extract(epoch FROM empties_at - clock_timestamp())::float8 AS drains_in;

-- name: find_masquerade_target :one
-- A user by one of the forms of canvas/conventions.md 7; the forms that are not used are null.
SELECT u.id AS user_id,
       EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type = 'StudentViewEnrollment')
       AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type <> 'StudentViewEnrollment')
           AS fake_student,
       u.login, u.sis_id
FROM users u
WHERE (u.id = $1::bigint OR u.uuid = $2::text OR u.sis_id = $3::text OR u.login = $4::text)
  AND u.workflow_state <> 'deleted'
ORDER BY u.id
LIMIT 1;

-- name: administered_accounts :many
-- Where a user is an administrator: to act as one takes all of the rights held there (conventions.md 3).
SELECT DISTINCT a.account_id
FROM account_users a
WHERE a.user_id = $1::bigint AND a.workflow_state <> 'deleted'
ORDER BY a.account_id;
