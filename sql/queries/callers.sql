-- name: find_caller :one
-- Everything authentication needs, in the one statement that every request pays for. A user who is not (yet)
-- in the directory has a null workflow_state. The fake student (CONTRACT 6.6) has student view enrolments only.
SELECT t.user_id, t.scopes, t.expires_at, t.revoked_at, u.workflow_state,
       EXISTS (SELECT FROM enrollments e WHERE e.user_id = t.user_id AND e.type = 'StudentViewEnrollment')
       AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = t.user_id AND e.type <> 'StudentViewEnrollment')
           AS fake_student
FROM access_tokens t
LEFT JOIN users u ON u.id = t.user_id
WHERE t.token_hash = $1::bytea;

-- name: find_masquerade_target :one
-- A user by one of the forms of canvas/conventions.md 7; the forms that are not used are null.
SELECT u.id AS user_id,
       EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type = 'StudentViewEnrollment')
       AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type <> 'StudentViewEnrollment')
           AS fake_student
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
