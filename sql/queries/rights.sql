-- name: rights_of :single
-- All that decides on a user's rights in some courses, sections, groups and accounts, and with :everywhere in all own
-- courses and groups: one statement, since nearly every request asks. Each column is a JSON array of rows.
-- enrolled    those that give any standing; few per user, so the view's CASE for each costs nothing
-- record      administrator records in force; an account that no event named yet is no site-admin account
-- circle      groups; one that lost its context is a group of its account
-- course      with its own dates judged here, so that one clock decides
-- chain       every account with all above it, itself first; the path guards against a circle in mistaken events
-- override    role overrides in force on the courses and accounts; of two for the same thing the newer one
WITH RECURSIVE enrolled AS MATERIALIZED (
    SELECT id, course_id, section_id, type, standing, section_limited, associated_user_id, by_hand
    FROM enrollment_standings
    WHERE user_id = :user_id::bigint AND type <> 'StudentViewEnrollment' AND standing IN ('active', 'invited', 'completed')
), record AS MATERIALIZED (
    SELECT r.account_id, r.role, coalesce(a.site_admin, false) AS site_admin
    FROM account_users r
    LEFT JOIN accounts a ON a.id = r.account_id
    WHERE r.user_id = :user_id AND r.workflow_state = 'active' AND coalesce(a.workflow_state, '') <> 'deleted'
), member AS MATERIALIZED (
    SELECT DISTINCT group_id FROM group_memberships
    WHERE user_id = :user_id AND workflow_state = 'accepted'
      AND (:everywhere::boolean OR cardinality(:group_ids::bigint[]) > 0)
), section AS MATERIALIZED (
    SELECT id, course_id FROM sections WHERE id = ANY (:section_ids::bigint[]) AND workflow_state <> 'deleted'
), circle AS MATERIALIZED (
    SELECT id, CASE WHEN context_type = 'Course' THEN context_id END AS course_id,
           coalesce(CASE WHEN context_type = 'Account' THEN context_id END, account_id) AS account_id,
           non_collaborative AS differentiation_tag
    FROM groups
    WHERE workflow_state <> 'deleted'
      AND id = ANY (ARRAY(SELECT unnest(:group_ids) UNION SELECT group_id FROM member WHERE :everywhere))
), meant AS MATERIALIZED (
    SELECT unnest(:course_ids::bigint[]) AS id
    UNION
    SELECT course_id FROM section
    UNION
    SELECT course_id FROM circle WHERE course_id IS NOT NULL
    UNION
    SELECT course_id FROM enrolled WHERE :everywhere
), course AS MATERIALIZED (
    SELECT id, name, workflow_state, account_id,
           restrict_enrollments_to_course_dates AND coalesce(conclude_at <= now(), false) AS ended,
           coalesce(conclude_at < now() - interval '1 month', false) AS ended_long_ago
    FROM courses WHERE id = ANY (ARRAY(SELECT id FROM meant))
), up AS (
    SELECT id AS start, ARRAY[id] AS path, id AS top
    FROM (
        SELECT unnest(:account_ids::bigint[]) AS id
        UNION
        SELECT account_id FROM record
        UNION
        SELECT account_id FROM course WHERE account_id IS NOT NULL
        UNION
        SELECT account_id FROM circle WHERE account_id IS NOT NULL
    ) named
    UNION ALL
    SELECT up.start, up.path || a.parent_account_id, a.parent_account_id
    FROM up
    CROSS JOIN LATERAL (SELECT parent_account_id FROM accounts WHERE id = up.top OFFSET 0) a
    WHERE a.parent_account_id IS NOT NULL AND a.parent_account_id <> ALL (up.path)
), chain AS MATERIALIZED (
    SELECT DISTINCT ON (start) start, path FROM up ORDER BY start, cardinality(path) DESC
), override AS MATERIALIZED (
    SELECT DISTINCT ON (context_type, context_id, role, permission) context_type, context_id, role, permission, enabled
    FROM role_overrides
    WHERE workflow_state = 'active'
      AND ((context_type = 'Course' AND context_id = ANY (ARRAY(SELECT id FROM meant)))
           OR (context_type = 'Account' AND context_id = ANY (ARRAY(SELECT unnest(path) FROM chain))))
    ORDER BY context_type, context_id, role, permission, as_of DESC, id DESC
)
SELECT (SELECT json_agg(json_build_array(course_id, section_id, type, standing, section_limited, associated_user_id, by_hand)
                        ORDER BY course_id, id) FROM enrolled) AS enrollments,
       (SELECT json_agg(json_build_array(account_id, role, site_admin)) FROM record) AS admin_records,
       (SELECT json_agg(group_id) FROM member) AS group_ids,
       (SELECT json_agg(json_build_array(id, course_id)) FROM section) AS sections,
       (SELECT json_agg(json_build_array(id, course_id, account_id, differentiation_tag) ORDER BY id) FROM circle) AS groups,
       (SELECT json_agg(json_build_array(id, name, workflow_state, account_id, ended, ended_long_ago) ORDER BY id)
        FROM course) AS courses,
       (SELECT json_agg(json_build_array(start, path)) FROM chain) AS chains,
       (SELECT json_agg(json_build_array(context_type, context_id, role, permission, enabled)) FROM override) AS overrides;

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
