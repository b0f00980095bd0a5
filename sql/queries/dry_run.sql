-- name: count_threads :value
-- With how many of the recipients the sender has a private conversation in that context: those that deliver would reuse.
SELECT count(*) AS threads
FROM unnest(:recipients::text::bigint[]) AS r(user_id)
WHERE EXISTS (
    SELECT FROM participants p
    WHERE p.user_id = least(r.user_id, :author_id::bigint) AND p.private_peer_id = greatest(r.user_id, :author_id)
      AND p.private_context = :context_key::bigint AND p.private_peer_id IS NOT NULL
    OFFSET 0
);

-- name: named_users :many
-- Who some ids and uuids of a request are, of those that the directory knows.
SELECT u.id, u.uuid, u.workflow_state = 'deleted' AS deleted
FROM unnest(:user_ids::text::bigint[]) AS asked(id) JOIN users u ON u.id = asked.id
UNION ALL
SELECT u.id, u.uuid, u.workflow_state = 'deleted' FROM users u WHERE u.uuid = ANY (:uuids::text[]);

-- name: named_contexts :many
-- Which of some contexts of a request the directory knows.
SELECT 'Course' AS type, id, workflow_state = 'deleted' AS deleted FROM courses WHERE id = ANY (:course_ids::bigint[])
UNION ALL
SELECT 'Section', s.id, s.workflow_state = 'deleted' OR coalesce(c.workflow_state = 'deleted', false)
FROM sections s LEFT JOIN courses c ON c.id = s.course_id
WHERE s.id = ANY (:section_ids::bigint[])
UNION ALL
SELECT 'Group', id, workflow_state = 'deleted' FROM groups WHERE id = ANY (:group_ids::bigint[]);

-- name: inhabited :column
-- In which of some ranges of enrolments there is anybody for the sender, by their place in the list, from 1: one who is
-- found is enough for each.
SELECT a.n
FROM jsonb_array_elements(:ranges::jsonb) WITH ORDINALITY AS a(item, n)
CROSS JOIN LATERAL jsonb_populate_record(NULL::enrollment_range, a.item) AS r
WHERE EXISTS (
    SELECT FROM enrollment_standings e
    JOIN users u ON u.id = e.user_id AND u.workflow_state IN ('registered', 'pre_registered')
    WHERE e.course_id = r.course_id AND e.user_id <> :sender_id::bigint
      AND in_range(r, :sender_id::bigint, e.section_id, e.user_id, e.type, e.associated_user_id, e.standing)
    OFFSET 0
);

-- name: inhabited_groups :column
-- The same of some groups, whose members are those of group_members.
SELECT a.n
FROM jsonb_array_elements(:groups::jsonb) WITH ORDINALITY AS a(item, n)
CROSS JOIN LATERAL jsonb_to_record(a.item) AS g (
    group_id bigint, course_id bigint, sections bigint[], staff_only boolean, concluded boolean
)
WHERE EXISTS (
    SELECT FROM group_memberships m
    JOIN users u ON u.id = m.user_id AND u.workflow_state IN ('registered', 'pre_registered')
    WHERE m.group_id = g.group_id AND m.workflow_state = 'accepted' AND m.user_id <> :sender_id::bigint
      AND (g.course_id IS NULL OR EXISTS (
          SELECT FROM enrollment_standings e
          WHERE e.course_id = g.course_id AND e.user_id = m.user_id AND e.type <> 'StudentViewEnrollment'
            AND (e.standing IN ('active', 'invited') OR (g.concluded AND e.standing = 'completed'))
            AND (NOT g.staff_only OR e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
            AND (g.sections IS NULL OR e.section_id = ANY (g.sections))
      ))
    OFFSET 0
);
