-- SIS ids and the ids of the directory. In the order of the questions: what is remembered, what events have brought,
-- and only then new ids (CONTRACT 5.1). Lateral, because a set looks up some thousands among millions.

-- name: remembered_sis_ids :single
-- What was met before, by the positions of the questions. A user who has been merged is the one whom they were merged
-- into.
SELECT array_agg(asked.n::integer) AS positions, array_agg(coalesce(merged.merged_into_user_id, s.id)) AS ids
FROM unnest(:kinds::text::text[], :sis_ids::text[]) WITH ORDINALITY AS asked (kind, sis_id, n)
CROSS JOIN LATERAL (SELECT id FROM sis_ids WHERE kind = asked.kind AND sis_id = asked.sis_id OFFSET 0) s
LEFT JOIN LATERAL (
    SELECT u.merged_into_user_id FROM users u
    WHERE asked.kind = 'user' AND u.id = s.id AND u.merged_into_user_id IS NOT NULL OFFSET 0
) merged ON true;

-- name: users_by_sis_id :many
-- Users whom events have brought, the living first. One who has been merged is the one whom they were merged into.
SELECT asked.sis_id, u.id
FROM unnest(:sis_ids::text[]) AS asked (sis_id)
CROSS JOIN LATERAL (
    SELECT coalesce(merged_into_user_id, id) AS id FROM users WHERE sis_id = asked.sis_id
    ORDER BY workflow_state = 'deleted', users.id LIMIT 1
) u;

-- name: merged_sis_ids :column
-- Those of users who have been merged into others, as long as none of the others goes by it.
SELECT asked.sis_id
FROM unnest(:sis_ids::text[]) AS asked (sis_id)
LEFT JOIN LATERAL (
    SELECT id, merged_into_user_id FROM users WHERE sis_id = asked.sis_id
    ORDER BY merged_into_user_id IS NOT NULL, id LIMIT 1
) named ON true
LEFT JOIN LATERAL (SELECT id FROM sis_ids WHERE kind = 'user' AND sis_id = asked.sis_id OFFSET 0) met ON true
LEFT JOIN LATERAL (
    SELECT u.merged_into_user_id FROM users u WHERE u.id = met.id AND u.merged_into_user_id IS NOT NULL OFFSET 0
) merged ON true
WHERE CASE WHEN named.id IS NULL THEN merged.merged_into_user_id ELSE named.merged_into_user_id END IS NOT NULL;

-- name: sections_by_sis_id :many
-- Sections that events have brought, and the courses they are in.
SELECT asked.sis_id, s.id, s.course_id
FROM unnest(:sis_ids::text[]) AS asked (sis_id)
CROSS JOIN LATERAL (
    SELECT id, course_id FROM sections WHERE sis_source_id = asked.sis_id ORDER BY workflow_state = 'deleted', id LIMIT 1
) s;

-- name: enrollments_alike :many
-- Enrolments of the same user in the same place and role, by the position of the question. Without a section it is any
-- in the course's default section, or in none.
SELECT asked.n::integer AS position, e.id
FROM unnest(:user_ids::bigint[], :course_ids::bigint[], :section_ids::bigint[], :types::text[], :observed_ids::bigint[])
    WITH ORDINALITY AS asked (user_id, course_id, section_id, type, observed_id, n)
CROSS JOIN LATERAL (
    SELECT id FROM enrollments
    WHERE user_id = asked.user_id AND type = asked.type AND associated_user_id IS NOT DISTINCT FROM asked.observed_id
      AND (section_id = asked.section_id
           OR asked.section_id IS NULL AND course_id = asked.course_id AND coalesce(
               (SELECT s.default_section FROM sections s WHERE s.id = section_id), section_id IS NULL))
    ORDER BY workflow_state = 'deleted', id LIMIT 1
) e;

-- name: group_memberships_alike :many
-- Memberships of the same user in the same group, by the position of the question.
SELECT asked.n::integer AS position, m.id
FROM unnest(:group_ids::bigint[], :user_ids::bigint[]) WITH ORDINALITY AS asked (group_id, user_id, n)
CROSS JOIN LATERAL (
    SELECT id FROM group_memberships WHERE group_id = asked.group_id AND user_id = asked.user_id
    ORDER BY workflow_state = 'deleted', id LIMIT 1
) m;

-- name: account_users_alike :many
-- The same administrator of the same account, by the position of the question.
SELECT asked.n::integer AS position, a.id
FROM unnest(:account_ids::bigint[], :user_ids::bigint[], :roles::text[])
    WITH ORDINALITY AS asked (account_id, user_id, role, n)
CROSS JOIN LATERAL (
    SELECT id FROM account_users WHERE user_id = asked.user_id AND account_id = asked.account_id AND role = asked.role
    ORDER BY workflow_state = 'deleted', id LIMIT 1
) a;

-- name: remember_sis_ids :value
-- For ever. Whose id is not known yet is given a new one. The ids, in the order of the SIS ids.
WITH asked AS MATERIALIZED (
    SELECT e.n, e.kind, e.sis_id, coalesce(e.id, nextval('sis_id_numbers')) AS id
    FROM unnest(:kinds::text::text[], :sis_ids::text[], :ids::text::bigint[]) WITH ORDINALITY AS e (kind, sis_id, id, n)
), written AS (
    INSERT INTO sis_ids (kind, sis_id, id)
    SELECT kind, sis_id, id FROM asked
)
SELECT array_agg(id ORDER BY n) FROM asked;

-- name: sis_ids_of :many
-- What a person calls these rows.
SELECT id, min(sis_id) AS sis_id FROM sis_ids WHERE kind = :kind::text AND id = ANY (:ids::bigint[]) GROUP BY id;

-- name: courses_of_sections :many
-- In which course a section is, where the directory knows it.
SELECT s.id, s.course_id
FROM unnest(:ids::bigint[]) AS asked (id)
CROSS JOIN LATERAL (SELECT id, course_id FROM sections WHERE id = asked.id OFFSET 0) s;

-- name: misplaced_enrollments :many
-- Enrolments that came before their section, or whose section has moved to another course.
SELECT e.id, s.course_id
FROM unnest(:section_ids::bigint[]) AS asked (id)
CROSS JOIN LATERAL (SELECT course_id FROM sections WHERE id = asked.id OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT id FROM enrollments WHERE section_id = asked.id AND course_id IS DISTINCT FROM s.course_id OFFSET 0
) e;
