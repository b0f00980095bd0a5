-- name: enrollments_of :many
-- The enrolments that give their user any standing. Few per user, so the view's per-row CASE costs nothing.
SELECT course_id, section_id, type, standing, section_limited, associated_user_id, by_hand
FROM enrollment_standings
WHERE user_id = :user_id::bigint AND type <> 'StudentViewEnrollment' AND standing IN ('active', 'invited', 'completed')
ORDER BY course_id, id;

-- name: admin_records_of :many
-- Administrator records that are in force; an account that no event named yet is no site-admin account.
SELECT r.account_id, r.role, coalesce(a.site_admin, false) AS site_admin
FROM account_users r
LEFT JOIN accounts a ON a.id = r.account_id
WHERE r.user_id = :user_id::bigint AND r.workflow_state = 'active' AND coalesce(a.workflow_state, '') <> 'deleted';

-- name: group_ids_of :value
-- Groups a user belongs to, as one array.
SELECT coalesce(array_agg(DISTINCT m.group_id), '{}') AS group_ids
FROM group_memberships m
WHERE m.user_id = :user_id::bigint AND m.workflow_state = 'accepted';

-- name: courses_by_id :many
-- What rights need to know of courses, their own dates judged here so that one clock decides.
SELECT id, name, workflow_state, account_id,
       restrict_enrollments_to_course_dates AND coalesce(conclude_at <= now(), false) AS ended,
       coalesce(conclude_at < now() - interval '1 month', false) AS ended_long_ago
FROM courses
WHERE id = ANY (:course_ids::bigint[]);

-- name: sections_by_id :many
-- The courses of sections named in a request.
SELECT id, course_id FROM sections WHERE id = ANY (:section_ids::bigint[]) AND workflow_state <> 'deleted';

-- name: groups_by_id :many
-- Groups and where they belong; a group that lost its context is a group of its account.
SELECT id, CASE WHEN context_type = 'Course' THEN context_id END AS course_id,
       coalesce(CASE WHEN context_type = 'Account' THEN context_id END, account_id) AS account_id,
       non_collaborative AS differentiation_tag
FROM groups
WHERE id = ANY (:group_ids::bigint[]) AND workflow_state <> 'deleted';

-- name: account_chains :many
-- Every account with all above it, itself first. The path guards against a circle in mistaken events.
WITH RECURSIVE up AS (
    SELECT id AS start, ARRAY[id] AS path, id AS top FROM unnest(:account_ids::bigint[]) AS id
    UNION ALL
    SELECT up.start, up.path || a.parent_account_id, a.parent_account_id
    FROM up JOIN accounts a ON a.id = up.top
    WHERE a.parent_account_id IS NOT NULL AND a.parent_account_id <> ALL (up.path)
)
SELECT DISTINCT ON (start) start, path FROM up ORDER BY start, cardinality(path) DESC;

-- name: overrides_on :many
-- Role overrides in force on courses and accounts; of two for the same thing the newer one.
SELECT DISTINCT ON (context_type, context_id, role, permission) context_type, context_id, role, permission, enabled
FROM role_overrides
WHERE workflow_state = 'active'
  AND ((context_type = 'Course' AND context_id = ANY (:course_ids::bigint[]))
       OR (context_type = 'Account' AND context_id = ANY (:account_ids::bigint[])))
ORDER BY context_type, context_id, role, permission, as_of DESC, id DESC;

-- name: is_root_account :value
-- A conversation may be filed under a root account and no other. No row: the account is not known.
SELECT parent_account_id IS NULL AS is_root
FROM accounts
WHERE id = :account_id::bigint AND workflow_state <> 'deleted';

-- name: accounts_granting :value
-- Accounts where a right is held, from the administrator's own down: a role and whether it has the right (granted)
-- are handed to every account below, and an override there turns it. A record with everywhere (site admin) is handed
-- to every root account as well. One array comes back.
WITH RECURSIVE held AS (
    SELECT r.account_id, r.role, r.granted, r.everywhere, ARRAY[r.account_id] AS path
    FROM unnest(:account_ids::bigint[], :roles::text[], :granted::boolean[], :everywhere::boolean[])
        AS r (account_id, role, granted, everywhere)
    UNION ALL
    SELECT a.id, held.role, held.role = 'AccountAdmin' OR coalesce(o.enabled, held.granted), false, held.path || a.id
    FROM held
    JOIN accounts a ON (a.parent_account_id = held.account_id OR (held.everywhere AND a.parent_account_id IS NULL))
                   AND a.id <> ALL (held.path)
    LEFT JOIN LATERAL (
        SELECT enabled FROM role_overrides
        WHERE context_type = 'Account' AND context_id = a.id AND role = held.role AND permission = :right::text
          AND workflow_state = 'active'
        ORDER BY as_of DESC, id DESC LIMIT 1
    ) o ON true
)
SELECT coalesce(array_agg(DISTINCT account_id), '{}') AS account_ids FROM held WHERE granted;
