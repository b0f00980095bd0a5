-- name: own_user :single
-- A user as they are shown to themselves; one may have a token before the directory knows who that is.
-- account_admin: the records in force are those of rights_of
SELECT asked.id, coalesce(u.name, '') AS name, coalesce(nullif(u.short_name, ''), u.name, '') AS short_name,
       coalesce(u.sort_name, '') AS sortable_name, u.pronouns, u.avatar_url, u.login, u.sis_id, u.created_at,
       EXISTS (
           SELECT FROM account_users r
           LEFT JOIN accounts a ON a.id = r.account_id
           WHERE r.user_id = asked.id AND r.role = 'AccountAdmin' AND r.workflow_state = 'active'
             AND coalesce(a.workflow_state, '') <> 'deleted'
       ) AS account_admin
FROM (SELECT :user_id::bigint AS id) asked
LEFT JOIN users u ON u.id = asked.id;

-- name: people_by_id :many
-- People who are shown without being participants: authors of forwarded messages, names in generated sentences.
SELECT u.id, coalesce(nullif(u.short_name, ''), u.name) AS name, u.name AS full_name,
       u.pronouns, u.uuid, u.avatar_url
FROM users u
WHERE u.id = ANY (:user_ids::bigint[])
ORDER BY u.id;

-- name: shared_contexts :many
-- What a search says of the people that it found.
SELECT user_id, course_id, group_id, types
FROM shared_contexts(:viewer_id::bigint, :user_ids::bigint[])
ORDER BY user_id, course_id, group_id;
