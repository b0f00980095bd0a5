-- name: search_among_few :many
-- A page of the people found, from everybody whom the viewer may see: where they are few, looking at each of them
-- costs less than looking for them. More than $10: one row says so, and nothing else was done. Names are compared
-- before anybody's enrolments are looked at, and those only as far as the page needs. The order in the arms is only
-- there to have the index read that has it.
WITH seen AS MATERIALIZED (
    SELECT user_id FROM (
        SELECT e.user_id
        FROM jsonb_to_recordset($6::jsonb) AS r (course_id bigint, section_id bigint, user_id bigint, types text[])
        CROSS JOIN LATERAL (
            (SELECT user_id FROM enrollments
             WHERE course_id = r.course_id AND r.section_id IS NULL AND r.user_id IS NULL
               AND (r.types IS NULL OR 'StudentEnrollment' = ANY (r.types))
             ORDER BY user_id LIMIT $10::bigint + 1)
            UNION ALL
            (SELECT user_id FROM enrollments
             WHERE course_id = r.course_id AND r.section_id IS NULL AND r.user_id IS NULL
               AND type <> 'StudentEnrollment' AND type = ANY (r.types) AND 'StudentEnrollment' <> ALL (r.types)
             LIMIT $10::bigint + 1)
            UNION ALL
            (SELECT user_id FROM enrollments
             WHERE section_id = r.section_id AND r.section_id IS NOT NULL AND r.user_id IS NULL
               AND (r.types IS NULL OR type = ANY (r.types))
             ORDER BY user_id LIMIT $10::bigint + 1)
            UNION ALL
            SELECT r.user_id WHERE r.user_id IS NOT NULL
        ) e
        UNION ALL
        SELECT m.user_id
        FROM jsonb_to_recordset($7::jsonb) AS g (group_id bigint)
        JOIN group_memberships m ON m.group_id = g.group_id AND m.workflow_state = 'accepted'
    ) every
    LIMIT $10::bigint + 1
), size AS MATERIALIZED (
    SELECT count(*) <= $10::bigint AS few FROM seen
)
SELECT found.*, NOT size.few AS inconclusive
FROM size
LEFT JOIN LATERAL (
    SELECT p.id, p.name, p.full_name, p.pronouns, p.uuid, p.avatar_url, p.sort_name
    FROM (
        SELECT a.* FROM addressees a
        WHERE size.few AND a.id IN (SELECT user_id FROM seen)
          AND a.search_text LIKE ALL ($3::text[]) AND a.id <> ALL ($4::bigint[])
          AND (a.sort_name, a.id) > ($1::text, $2::bigint)
        ORDER BY a.sort_name, a.id
        OFFSET 0
    ) p
    WHERE EXISTS (SELECT FROM sightings(p.id, $5::bigint, $6::jsonb, $7::jsonb, $8::bigint[]))
    ORDER BY p.sort_name, p.id
    LIMIT $9::bigint
) found ON true
ORDER BY found.sort_name, found.id;

-- name: search_by_name :many
-- A page of the people found, from everybody in the order of names: where the viewer sees many, the page is full after
-- a few steps along users_by_name. Nobody looks further than $10 people: then the last row says so.
SELECT p.id, p.name, p.full_name, p.pronouns, p.uuid, p.avatar_url, p.sort_name, p.n >= $10::bigint AS inconclusive
FROM (
    SELECT a.*, row_number() OVER (ORDER BY a.sort_name, a.id) AS n
    FROM addressees a
    WHERE (a.sort_name, a.id) > ($1::text, $2::bigint)
    ORDER BY a.sort_name, a.id
    LIMIT $10::bigint
) p
WHERE p.n >= $10::bigint
   OR (p.search_text LIKE ALL ($3::text[]) AND p.id <> ALL ($4::bigint[])
       AND EXISTS (SELECT FROM sightings(p.id, $5::bigint, $6::jsonb, $7::jsonb, $8::bigint[])))
ORDER BY p.sort_name, p.id
LIMIT $9::bigint;

-- name: search_by_match :many
-- A page of the people found, from those whose name holds the longest term ($11): where that is rare, the trigrams of
-- users_by_part_of_name find it, or for less than three letters one look at every name. More than $10 of them: one row
-- says so, and nothing else was done.
WITH matching AS MATERIALIZED (
    SELECT * FROM addressees WHERE search_text LIKE $11::text LIMIT $10::bigint + 1
), size AS MATERIALIZED (
    SELECT count(*) <= $10::bigint AS few FROM matching
)
SELECT found.*, NOT size.few AS inconclusive
FROM size
LEFT JOIN LATERAL (
    SELECT p.id, p.name, p.full_name, p.pronouns, p.uuid, p.avatar_url, p.sort_name
    FROM (
        SELECT a.* FROM matching a
        WHERE size.few AND a.search_text LIKE ALL ($3::text[]) AND a.id <> ALL ($4::bigint[])
          AND (a.sort_name, a.id) > ($1::text, $2::bigint)
        ORDER BY a.sort_name, a.id
        OFFSET 0
    ) p
    WHERE EXISTS (SELECT FROM sightings(p.id, $5::bigint, $6::jsonb, $7::jsonb, $8::bigint[]))
    ORDER BY p.sort_name, p.id
    LIMIT $9::bigint
) found ON true
ORDER BY found.sort_name, found.id;

-- name: searched_sections :many
-- Sections of courses, to be listed as contexts.
SELECT id, course_id, name, default_section
FROM sections
WHERE course_id = ANY ($1::bigint[]) AND workflow_state <> 'deleted'
ORDER BY id;

-- name: searched_groups :many
-- Groups of courses and groups named by id, to be listed as contexts; differentiation tags among them.
SELECT id, name, CASE WHEN context_type = 'Course' THEN context_id END AS course_id,
       coalesce(CASE WHEN context_type = 'Account' THEN context_id END, account_id) AS account_id, non_collaborative
FROM groups
WHERE workflow_state <> 'deleted'
  AND ((context_type = 'Course' AND context_id = ANY ($1::bigint[])) OR id = ANY ($2::bigint[]))
ORDER BY id;

-- name: courses_in_time :many
-- Whether courses have ended within the last month: they are still offered, behind those that go on.
SELECT id, conclude_at IS NOT NULL AND conclude_at <= now() AND conclude_at > now() - interval '1 month' AS ended_lately
FROM courses
WHERE id = ANY ($1::bigint[]);

-- name: count_enrolled :many
-- How many people the viewer sees in courses and sections, and as what. Each range says which question (n) it is
-- part of. Whole courses are counted as expand_ranges reads them: the standing is decided by what is open or closed in
-- the course, and the few users that cannot be written to are taken out instead of looking each of them up.
WITH ranges AS MATERIALIZED (
    SELECT r.*, c.restrict_enrollments_to_course_dates
                AND coalesce(c.conclude_at <= now() OR c.start_at > now(), false) AS closed,
           r.section_id IS NULL AND r.user_id IS NULL AND NOT r.concluded AS whole,
           r.section_id IS NULL AND r.user_id IS NULL AND r.concluded
               AND coalesce('StudentEnrollment' <> ALL (r.types), false) AS without_students
    FROM jsonb_to_recordset($1::jsonb) AS r (
        n integer, course_id bigint, section_id bigint, user_id bigint, types text[], all_observers boolean,
        concluded boolean
    )
    JOIN courses c ON c.id = r.course_id
), closed_sections AS MATERIALIZED (
    SELECT id FROM sections
    WHERE course_id IN (SELECT course_id FROM ranges WHERE whole)
      AND restrict_enrollments_to_section_dates AND (end_at <= now() OR start_at > now())
), open_sections AS MATERIALIZED (
    SELECT id FROM sections
    WHERE course_id IN (SELECT course_id FROM ranges WHERE whole AND closed)
      AND restrict_enrollments_to_section_dates AND (start_at IS NOT NULL OR end_at IS NOT NULL)
      AND coalesce(start_at <= now(), true) AND coalesce(end_at > now(), true)
)
SELECT question.n, counted.*
FROM (SELECT DISTINCT n FROM ranges) question
CROSS JOIN LATERAL (
    SELECT count(DISTINCT e.user_id) AS everybody,
           count(DISTINCT e.user_id) FILTER (WHERE e.type = 'TeacherEnrollment') AS teachers,
           count(DISTINCT e.user_id) FILTER (WHERE e.type = 'TaEnrollment') AS tas,
           count(DISTINCT e.user_id) FILTER (WHERE e.type = 'StudentEnrollment') AS students,
           count(DISTINCT e.user_id) FILTER (WHERE e.type = 'ObserverEnrollment') AS observers
    FROM ranges r
    CROSS JOIN LATERAL (
        SELECT user_id, type, associated_user_id
        FROM enrollments
        WHERE r.whole AND course_id = r.course_id
          AND CASE
                  WHEN workflow_state NOT IN ('active', 'invited', 'creation_pending') THEN false
                  WHEN date_state IS NOT NULL THEN date_state IN ('active', 'invited')
                  WHEN r.closed THEN section_id IN (SELECT id FROM open_sections)
                  ELSE section_id IS NULL OR section_id NOT IN (SELECT id FROM closed_sections)
              END
        UNION ALL
        SELECT user_id, type, associated_user_id
        FROM enrollment_standings
        WHERE r.without_students AND course_id = r.course_id AND type <> 'StudentEnrollment'
          AND standing IN ('active', 'invited', 'completed')
        UNION ALL
        SELECT user_id, type, associated_user_id
        FROM enrollment_standings
        WHERE NOT r.whole AND NOT r.without_students AND course_id = r.course_id
          AND (standing IN ('active', 'invited') OR (r.concluded AND standing = 'completed'))
          AND (r.section_id IS NULL OR section_id = r.section_id)
          AND (r.user_id IS NULL OR user_id = r.user_id)
    ) e
    WHERE r.n = question.n
      AND (r.types IS NULL OR e.type = ANY (r.types))
      AND e.type <> 'StudentViewEnrollment'
      AND (r.all_observers OR e.type <> 'ObserverEnrollment' OR e.associated_user_id = $2::bigint)
      AND e.user_id NOT IN (SELECT id FROM users WHERE workflow_state NOT IN ('registered', 'pre_registered'))
      AND e.user_id NOT IN (
          SELECT m.user_id FROM unknown_members m WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = m.user_id)
      )
) counted
WHERE counted.everybody > 0;

-- name: count_members :many
-- How many members of groups the viewer sees; of a course's group those who still take part in the course.
SELECT g.n, count(DISTINCT u.id) AS everybody
FROM jsonb_to_recordset($1::jsonb) AS g (
    n integer, group_id bigint, course_id bigint, sections bigint[], staff_only boolean, concluded boolean
)
JOIN group_memberships m ON m.group_id = g.group_id AND m.workflow_state = 'accepted'
JOIN users u ON u.id = m.user_id AND u.workflow_state IN ('registered', 'pre_registered')
WHERE g.course_id IS NULL OR EXISTS (
    SELECT FROM enrollment_standings e
    WHERE e.course_id = g.course_id AND e.user_id = m.user_id AND e.type <> 'StudentViewEnrollment'
      AND (e.standing IN ('active', 'invited') OR (g.concluded AND e.standing = 'completed'))
      AND (NOT g.staff_only OR e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
      AND (g.sections IS NULL OR e.section_id = ANY (g.sections))
)
GROUP BY g.n;

-- name: types_in_course :many
-- As what people are enrolled in one course: all that is told of them when that course alone is searched.
SELECT asked.id AS user_id, array_agg(DISTINCT e.type ORDER BY e.type) AS types
FROM unnest($2::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT type, standing FROM enrollment_standings WHERE user_id = asked.id AND course_id = $1::bigint OFFSET 0
) e
WHERE e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
GROUP BY asked.id
ORDER BY asked.id;
