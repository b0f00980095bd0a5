-- name: find_masquerade_target :one
-- A user by one of the forms of canvas/conventions.md 7; the forms that are not used are null. With the accounts to
-- which the user belongs, and those where an administrator's role is held: what it takes to act as the user depends on
-- both (conventions.md 3). awaited as in find_caller.
SELECT u.id AS user_id,
       EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type = 'StudentViewEnrollment')
       AND NOT EXISTS (SELECT FROM enrollments e WHERE e.user_id = u.id AND e.type <> 'StudentViewEnrollment')
           AS fake_student,
       u.login, u.sis_id,
       array(
           SELECT m.account_id FROM user_accounts m WHERE m.user_id = u.id
           UNION
           SELECT c.account_id FROM enrollments e JOIN courses c ON c.id = e.course_id
           WHERE e.user_id = u.id AND e.workflow_state NOT IN ('deleted', 'rejected') AND c.account_id IS NOT NULL
           UNION
           SELECT a.account_id FROM account_users a WHERE a.user_id = u.id AND a.workflow_state <> 'deleted'
           ORDER BY 1
       ) AS account_ids,
       array(
           SELECT DISTINCT a.account_id FROM account_users a
           WHERE a.user_id = u.id AND a.workflow_state <> 'deleted'
           ORDER BY 1
       ) AS administered_account_ids,
       array(SELECT ARRAY[w.batch_id, w.position] FROM awaited_chunks(u.id) w ORDER BY w.batch_id, w.position) AS awaited
FROM users u
WHERE (u.id = :user_id::bigint OR u.uuid = :uuid::text OR u.sis_id = :sis_id::text OR u.login = :login::text)
  AND u.workflow_state <> 'deleted'
ORDER BY u.id
LIMIT 1;

-- name: find_merged_target :value
-- Into whom a user was merged, at the end of the chain, where that is a living user (conventions.md 3).
WITH RECURSIVE step AS (
    SELECT u.merged_into_user_id AS target_id, ARRAY[u.id] AS passed
    FROM users u
    WHERE (u.id = :user_id::bigint OR u.uuid = :uuid::text OR u.sis_id = :sis_id::text OR u.login = :login::text)
      AND u.workflow_state = 'deleted' AND u.merged_into_user_id IS NOT NULL
    UNION ALL
    SELECT u.merged_into_user_id, s.passed || u.id
    FROM step s
    JOIN users u ON u.id = s.target_id AND u.workflow_state = 'deleted' AND u.merged_into_user_id IS NOT NULL
    WHERE s.target_id <> ALL (s.passed)
)
SELECT u.id FROM step s JOIN users u ON u.id = s.target_id AND u.workflow_state <> 'deleted' ORDER BY u.id LIMIT 1;
