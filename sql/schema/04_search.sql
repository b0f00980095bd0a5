-- Finding people by name (canvas/endpoints.md 4.13).

-- Everybody who can be written to, as a search shows and orders them.
CREATE OR REPLACE VIEW addressees AS
SELECT id, coalesce(nullif(short_name, ''), name) AS name, name AS full_name, pronouns, uuid, avatar_url, sort_name,
       search_text
FROM users
WHERE workflow_state IN ('registered', 'pre_registered');

-- One row or more if the viewer sees a person: by an enrolment in one of the ranges (service/domain/visibility.py), as
-- a member of one of the groups, or on the roster of one of the accounts. The planner puts the text in the place of the
-- call, so that it costs a look or two into enrollments_user; where no groups or accounts are given, nothing is looked up
-- for them.
CREATE OR REPLACE FUNCTION sightings(person bigint, viewer bigint, ranges jsonb, circles jsonb, rosters bigint[])
    RETURNS SETOF integer LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 AS $$
SELECT 1
FROM enrollment_standings e
JOIN jsonb_populate_recordset(NULL::enrollment_range, ranges) AS r ON r.course_id = e.course_id
WHERE e.user_id = person
  AND in_range(r, viewer, e.section_id, e.user_id, e.type, e.associated_user_id, e.standing)
UNION ALL
SELECT 1
FROM jsonb_to_recordset(circles) AS g (
    group_id bigint, course_id bigint, sections bigint[], staff_only boolean, concluded boolean
)
JOIN group_memberships m ON m.group_id = g.group_id AND m.user_id = person AND m.workflow_state = 'accepted'
WHERE circles <> '[]' AND (g.course_id IS NULL OR EXISTS (
    SELECT FROM enrollment_standings e
    WHERE e.course_id = g.course_id AND e.user_id = person AND e.type <> 'StudentViewEnrollment'
      AND (e.standing IN ('active', 'invited') OR (g.concluded AND e.standing = 'completed'))
      AND (NOT g.staff_only OR e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
      AND (g.sections IS NULL OR e.section_id = ANY (g.sections))
))
UNION ALL
SELECT 1 FROM user_accounts WHERE rosters <> '{}' AND user_id = person AND account_id = ANY (rosters)
UNION ALL
SELECT 1
FROM enrollment_standings e
JOIN courses c ON c.id = e.course_id
WHERE rosters <> '{}' AND e.user_id = person AND c.account_id = ANY (rosters) AND e.standing <> 'none'
  AND e.type <> 'StudentViewEnrollment'
$$;
