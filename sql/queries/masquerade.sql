-- name: find_masquerade_target :one
-- A user by one of the forms of canvas/conventions.md 7; the forms that are not used are null.
SELECT u.id AS user_id,
       EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type = 'StudentViewEnrollment')
       AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type <> 'StudentViewEnrollment')
           AS fake_student,
       u.login, u.sis_id
FROM users u
WHERE (u.id = :user_id::bigint OR u.uuid = :uuid::text OR u.sis_id = :sis_id::text OR u.login = :login::text)
  AND u.workflow_state <> 'deleted'
ORDER BY u.id
LIMIT 1;

-- name: administered_accounts :column
-- Where a user is an administrator: to act as one takes all of the rights held there (conventions.md 3).
SELECT DISTINCT a.account_id
FROM account_users a
WHERE a.user_id = :user_id::bigint AND a.workflow_state <> 'deleted'
ORDER BY a.account_id;
