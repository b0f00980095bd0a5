-- Which enrolments count, and the codes that follow from them.

-- The state of an enrolment that counts now (CONTRACT 6.5), one of active, invited, completed, inactive, pending, none.
-- The enrolment's own end wins, then the last enrollment_state event, then the section's dates, then the course's. A
-- deleted course leaves none; a completed one completes everybody. Whose enrolment waits for the account to be created
-- (creation_pending) does not take part before an enrollment_state event says so. For readers who know the parts of an
-- enrolment and not its row.
CREATE OR REPLACE FUNCTION standing_of(
    workflow_state text, date_state text, course_state text, course_closes boolean, course_start timestamptz,
    course_end timestamptz, section_closes boolean, section_start timestamptz, section_end timestamptz
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN workflow_state IN ('deleted', 'rejected') OR course_state = 'deleted' THEN 'none'
        WHEN workflow_state = 'creation_pending' AND date_state IS NULL THEN 'pending'
        WHEN workflow_state = 'completed' OR course_state = 'completed' THEN 'completed'
        WHEN workflow_state = 'inactive' THEN 'inactive'
        WHEN date_state IN ('deleted', 'rejected') THEN 'none'
        WHEN date_state IN ('pending_active', 'pending_invited', 'creation_pending') THEN 'pending'
        WHEN date_state IS NOT NULL THEN date_state
        WHEN section_closes AND section_end <= now() THEN 'completed'
        WHEN section_closes AND section_start > now() THEN 'pending'
        WHEN section_closes AND (section_start IS NOT NULL OR section_end IS NOT NULL)
            THEN workflow_state
        WHEN course_closes AND course_end <= now() THEN 'completed'
        WHEN course_closes AND course_start > now() THEN 'pending'
        ELSE workflow_state
    END;

-- The state of every enrolment that counts now; by_hand: it was completed itself, not with its course or by dates.
CREATE OR REPLACE VIEW enrollment_standings AS
SELECT e.id, e.course_id, e.section_id, e.user_id, e.type, e.associated_user_id,
       e.limit_privileges_to_course_section AS section_limited,
       standing_of(
           e.workflow_state, e.date_state, c.workflow_state, c.restrict_enrollments_to_course_dates, c.start_at,
           c.conclude_at, s.restrict_enrollments_to_section_dates, s.start_at, s.end_at
       ) AS standing,
       e.workflow_state = 'completed' AS by_hand
FROM enrollments e
JOIN courses c ON c.id = e.course_id
LEFT JOIN sections s ON s.id = e.section_id;

-- codes(user) of canvas/semantics.md 4.2: what a user's conversations may be tagged with, and whether it is current.
-- Several enrolments in one course give several rows.
CREATE OR REPLACE VIEW user_codes AS
SELECT e.user_id, 'course_' || e.course_id AS code, e.standing IN ('active', 'invited') AS active
FROM enrollment_standings e
WHERE e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
UNION ALL
SELECT m.user_id, 'group_' || m.group_id,
       g.workflow_state = 'available' AND coalesce(c.workflow_state, '') NOT IN ('completed', 'deleted')
FROM group_memberships m
JOIN groups g ON g.id = m.group_id
LEFT JOIN courses c ON g.context_type = 'Course' AND c.id = g.context_id
WHERE m.workflow_state = 'accepted' AND g.workflow_state <> 'deleted' AND NOT g.non_collaborative;

-- Whether an enrolment in the range's course is one that the viewer sees (canvas/endpoints.md 5.1). The planner puts the
-- text in the place of the call as long as standing, which is costly to work out, stands here only once.
CREATE OR REPLACE FUNCTION in_range(
    r enrollment_range, viewer bigint, section bigint, person bigint, type text, observed bigint, standing text
) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN standing = ANY (
            CASE WHEN r.concluded THEN '{active,invited,completed}'::text[] ELSE '{active,invited}'::text[] END
        )
        AND (r.section_id IS NULL OR section = r.section_id)
        AND (r.user_id IS NULL OR person = r.user_id)
        AND (r.types IS NULL OR type = ANY (r.types))
        AND type <> 'StudentViewEnrollment'
        AND (r.all_observers OR type <> 'ObserverEnrollment' OR observed = viewer);

-- As what others are enrolled in the viewer's courses, concluded enrolments included (endpoints.md 5.1), and which groups
-- the viewer and they are both in: a row for each course or group of each of them. A viewer limited to sections in a
-- course sees only those sections' people. A course that is not offered yet shows to its staff only (CONTRACT 6.25). A
-- differentiation tag is no common group: its members are not to know of it. The planner puts the text in the place of
-- the call; it goes from each of the others to their enrolments in the viewer's courses, and once through all of them.
CREATE OR REPLACE FUNCTION shared_contexts(viewer bigint, others bigint[])
    RETURNS TABLE (user_id bigint, course_id bigint, group_id bigint, types text[])
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 10 AS $$
WITH own AS MATERIALIZED (
    SELECT e.course_id, bool_and(e.section_limited) AS limited, array_agg(e.section_id) AS sections
    FROM enrollment_standings e
    WHERE e.user_id = viewer AND e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
    GROUP BY e.course_id
    HAVING bool_or(e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
        OR NOT EXISTS (SELECT FROM courses c WHERE c.id = e.course_id AND c.workflow_state IN ('created', 'claimed'))
)
SELECT e.user_id, e.course_id, NULL::bigint, array_agg(DISTINCT e.type)
FROM unnest(others) AS other(id)
CROSS JOIN LATERAL (
    SELECT * FROM enrollment_standings s
    WHERE s.user_id = other.id AND s.course_id = ANY (ARRAY(SELECT own.course_id FROM own)) OFFSET 0
) e
CROSS JOIN LATERAL (SELECT * FROM own WHERE own.course_id = e.course_id OFFSET 0) mine
WHERE e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
  AND (NOT mine.limited OR e.section_id = ANY (mine.sections))
GROUP BY e.user_id, e.course_id
UNION ALL
SELECT DISTINCT theirs.user_id, NULL::bigint, theirs.group_id, NULL::text[]
FROM unnest(others) AS other(id)
CROSS JOIN LATERAL (
    SELECT m.user_id, m.group_id FROM group_memberships m
    WHERE m.user_id = other.id AND m.workflow_state = 'accepted' OFFSET 0
) theirs
JOIN group_memberships mine ON mine.group_id = theirs.group_id
JOIN groups g ON g.id = mine.group_id
WHERE mine.user_id = viewer AND mine.workflow_state = 'accepted'
  AND g.workflow_state <> 'deleted' AND NOT g.non_collaborative
$$;
