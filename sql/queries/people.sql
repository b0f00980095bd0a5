-- name: participants_of :many
-- The participants of the given conversations, most recent poster first, then by the name shown, as people sort names
-- (semantics.md 7.4). A participant may be known before the directory says who it is. The lateral reads stay looks
-- into primary keys even on a database that has not been analysed since a large send.
SELECT p.conversation_id, p.user_id AS id, coalesce(u.short_name, u.name, '') AS name,
       coalesce(u.name, '') AS full_name, u.pronouns, u.uuid, u.avatar_url
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT conversation_id, user_id, last_authored_at FROM participants WHERE conversation_id = asked.id OFFSET 0
) p
LEFT JOIN LATERAL (
    SELECT nullif(short_name, '') AS short_name, name, pronouns, uuid, avatar_url
    FROM users WHERE id = p.user_id LIMIT 1
) u ON true
ORDER BY p.conversation_id, p.last_authored_at DESC NULLS LAST,
         lower(coalesce(u.short_name, u.name, '')) COLLATE "und-x-icu", p.user_id;

-- name: own_user :single
-- A user as they are shown to themselves; one may have a token before the directory knows who that is.
SELECT asked.id, coalesce(u.name, '') AS name, coalesce(nullif(u.short_name, ''), u.name, '') AS short_name,
       coalesce(u.sort_name, '') AS sortable_name, u.pronouns, u.avatar_url, u.login, u.sis_id, u.created_at
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
-- As what others are enrolled in the viewer's courses, concluded enrolments included (endpoints.md 5.1), and which groups
-- the viewer and they are both in. A viewer limited to sections in a course sees only those sections' people. A course
-- that is not offered yet shows to its staff only (CONTRACT 6.25). A differentiation tag is no common group: its members
-- are not to know of it.
WITH own AS (
    SELECT e.course_id, bool_and(e.section_limited) AS limited, array_agg(e.section_id) AS sections
    FROM enrollment_standings e
    WHERE e.user_id = :viewer_id::bigint AND e.standing IN ('active', 'invited', 'completed')
      AND e.type <> 'StudentViewEnrollment'
    GROUP BY e.course_id
    HAVING bool_or(e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
        OR NOT EXISTS (SELECT FROM courses c WHERE c.id = e.course_id AND c.workflow_state IN ('created', 'claimed'))
)
SELECT e.user_id, e.course_id, NULL::bigint AS group_id, array_agg(DISTINCT e.type) AS types
FROM unnest(:user_ids::bigint[]) AS other(id)
CROSS JOIN LATERAL (SELECT * FROM enrollment_standings WHERE user_id = other.id OFFSET 0) e
JOIN own ON own.course_id = e.course_id
WHERE e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
  AND (NOT own.limited OR e.section_id = ANY (own.sections))
GROUP BY e.user_id, e.course_id
UNION ALL
SELECT DISTINCT other.user_id, NULL::bigint, other.group_id, NULL::text[]
FROM unnest(:user_ids) AS asked(id)
CROSS JOIN LATERAL (
    SELECT user_id, group_id FROM group_memberships
    WHERE user_id = asked.id AND workflow_state = 'accepted' OFFSET 0
) other
JOIN group_memberships own ON own.group_id = other.group_id
JOIN groups g ON g.id = own.group_id
WHERE own.user_id = :viewer_id AND own.workflow_state = 'accepted'
  AND g.workflow_state <> 'deleted' AND NOT g.non_collaborative
ORDER BY user_id, course_id, group_id;

-- name: audience_roles :column
-- For audience_contexts (endpoints.md 3.5): as what a person is active in a course, one type per enrolment, or whether
-- they are in a group. Each question names a course or a group; the other one is null.
SELECT array(
           SELECT e.type FROM enrollment_standings e
           WHERE e.user_id = asked.user_id AND e.course_id = asked.course_id AND e.standing = 'active'
             AND e.type <> 'StudentViewEnrollment'
           ORDER BY e.id
       ) || array(
           SELECT 'Member' FROM group_memberships m
           WHERE m.user_id = asked.user_id AND m.group_id = asked.group_id AND m.workflow_state = 'accepted'
           LIMIT 1
       ) AS roles
FROM unnest(:user_ids::bigint[], :course_ids::bigint[], :group_ids::bigint[]) WITH ORDINALITY
     AS asked(user_id, course_id, group_id, n)
ORDER BY asked.n;
