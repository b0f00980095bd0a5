-- name: search_among_few :many
-- A page of the people found, from all whom the viewer may see: where they are few, looking at each of them costs less
-- than looking for them. More than :few: one row says so, and nothing else was done. Names are compared before any
-- enrolments are looked at, and those only as far as the page needs. The order in the arms is only there to have the
-- index read that has it.
WITH seen AS MATERIALIZED (
    SELECT user_id FROM (
        SELECT e.user_id
        FROM jsonb_to_recordset(:ranges::jsonb) AS r (course_id bigint, section_id bigint, user_id bigint, types text[])
        CROSS JOIN LATERAL (
            (SELECT user_id FROM enrollments
             WHERE course_id = r.course_id AND r.section_id IS NULL AND r.user_id IS NULL
               AND (r.types IS NULL OR 'StudentEnrollment' = ANY (r.types))
             ORDER BY user_id LIMIT :few::bigint + 1)
            UNION ALL
            (SELECT user_id FROM enrollments
             WHERE course_id = r.course_id AND r.section_id IS NULL AND r.user_id IS NULL
               AND type <> 'StudentEnrollment' AND type = ANY (r.types) AND 'StudentEnrollment' <> ALL (r.types)
             LIMIT :few::bigint + 1)
            UNION ALL
            (SELECT user_id FROM enrollments
             WHERE section_id = r.section_id AND r.section_id IS NOT NULL AND r.user_id IS NULL
               AND (r.types IS NULL OR type = ANY (r.types))
             ORDER BY user_id LIMIT :few::bigint + 1)
            UNION ALL
            SELECT r.user_id WHERE r.user_id IS NOT NULL
        ) e
        UNION ALL
        SELECT m.user_id
        FROM jsonb_to_recordset(:groups::jsonb) AS g (group_id bigint)
        JOIN group_memberships m ON m.group_id = g.group_id AND m.workflow_state = 'accepted'
    ) visible
    LIMIT :few::bigint + 1
), size AS MATERIALIZED (
    SELECT count(*) <= :few::bigint AS few FROM seen
)
SELECT found.*, NOT size.few AS inconclusive
FROM size
LEFT JOIN LATERAL (
    SELECT p.id, p.name, p.full_name, p.pronouns, p.uuid, p.avatar_url, p.sort_name
    FROM (
        SELECT a.* FROM addressees a
        WHERE size.few AND a.id IN (SELECT user_id FROM seen)
          AND a.search_text LIKE ALL (:patterns::text[]) AND a.id NOT IN (SELECT unnest(:excluded::bigint[]))
          AND (a.sort_name, a.id) > (:after_name::text, :after_id::bigint)
        ORDER BY a.sort_name, a.id
        OFFSET 0
    ) p
    WHERE EXISTS (
        SELECT FROM sightings(p.id, :viewer_id::bigint, :ranges::jsonb, :groups::jsonb, :account_ids::bigint[])
    )
    ORDER BY p.sort_name, p.id
    LIMIT :wanted::bigint
) found ON true
ORDER BY found.sort_name, found.id;

-- name: search_in_rosters :many
-- A page of the people found, from the courses, sections and groups that the viewer sees, each walked in the order of
-- names: where most of those who are there count and match, the page is full after a few steps, however large the
-- places are and wherever in the alphabet their people stand. In one place no more than :steps people are looked at:
-- then a row says so, at the name where certainty ends.
WITH places AS MATERIALIZED (
    SELECT DISTINCT CASE WHEN section_id IS NULL THEN 'c' ELSE 's' END::"char" AS place,
           coalesce(section_id, course_id) AS place_id
    FROM jsonb_to_recordset(:ranges::jsonb) AS r (course_id bigint, section_id bigint, user_id bigint)
    WHERE user_id IS NULL
    UNION ALL
    SELECT DISTINCT 'g'::"char", group_id FROM jsonb_to_recordset(:groups::jsonb) AS g (group_id bigint)
), met AS (
    SELECT w.user_id, w.sort_name, w.n >= :steps::bigint AS inconclusive
    FROM places
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT r.user_id, r.sort_name, row_number() OVER (ORDER BY r.sort_name, r.user_id) AS n
            FROM rosters r
            WHERE r.place = places.place AND r.place_id = places.place_id AND r.sort_name IS NOT NULL
              AND (r.sort_name, r.user_id) > (:after_name::text, :after_id::bigint)
            ORDER BY r.sort_name, r.user_id
            LIMIT :steps::bigint
        ) r
        WHERE r.n >= :steps::bigint OR (
            r.user_id NOT IN (SELECT unnest(:excluded::bigint[]))
            AND (:patterns::text[] = '{}' OR EXISTS (
                SELECT FROM addressees a
                WHERE a.id = r.user_id AND a.search_text LIKE ALL (:patterns::text[])
                OFFSET 0
            ))
            AND EXISTS (
                SELECT FROM sightings(
                    r.user_id, :viewer_id::bigint, :ranges::jsonb, :groups::jsonb, :account_ids::bigint[]
                )
            )
        )
        ORDER BY r.sort_name, r.user_id
        LIMIT :wanted::bigint
    ) w
    UNION
    SELECT a.id, a.sort_name, false
    FROM jsonb_to_recordset(:ranges::jsonb) AS r (user_id bigint)
    JOIN addressees a ON a.id = r.user_id
    WHERE (a.sort_name, a.id) > (:after_name::text, :after_id::bigint)
      AND a.id NOT IN (SELECT unnest(:excluded::bigint[])) AND a.search_text LIKE ALL (:patterns::text[])
      AND EXISTS (
          SELECT FROM sightings(a.id, :viewer_id::bigint, :ranges::jsonb, :groups::jsonb, :account_ids::bigint[])
      )
), page AS MATERIALIZED (
    SELECT * FROM met ORDER BY sort_name, user_id LIMIT :wanted::bigint
)
SELECT p.id, p.name, p.full_name, p.pronouns, p.uuid, p.avatar_url, p.sort_name, page.inconclusive
FROM page
CROSS JOIN LATERAL (SELECT * FROM addressees WHERE id = page.user_id OFFSET 0) p
ORDER BY page.sort_name, page.user_id;

-- name: search_by_name :many
-- A page of the people found, from all people in the order of names: where the viewer sees many, the page is full after
-- a few steps along users_by_name. No more than :steps people are looked at: then the last row says so.
SELECT p.id, p.name, p.full_name, p.pronouns, p.uuid, p.avatar_url, p.sort_name, p.n >= :steps::bigint AS inconclusive
FROM (
    SELECT a.*, row_number() OVER (ORDER BY a.sort_name, a.id) AS n
    FROM addressees a
    WHERE (a.sort_name, a.id) > (:after_name::text, :after_id::bigint)
    ORDER BY a.sort_name, a.id
    LIMIT :steps::bigint
) p
WHERE p.n >= :steps::bigint
   OR (p.search_text LIKE ALL (:patterns::text[]) AND p.id NOT IN (SELECT unnest(:excluded::bigint[]))
       AND EXISTS (
           SELECT FROM sightings(p.id, :viewer_id::bigint, :ranges::jsonb, :groups::jsonb, :account_ids::bigint[])
       ))
ORDER BY p.sort_name, p.id
LIMIT :wanted::bigint;

-- name: search_by_match :many
-- A page of the people found, from those whose name holds the longest term: where that is rare, the trigrams of
-- users_by_part_of_name find it (:longest_pattern), or for less than three letters users_by_letters_and_pairs does
-- (:longest_tsquery; one of the two is null). More than :few of them: one row says so, and nothing else was done. A
-- single term is not looked for again. Names cost more to put in order than to find, so only the first :steps are: then
-- the last row says so.
WITH matching AS MATERIALIZED (
    (SELECT id, sort_name, CASE WHEN cardinality(:patterns::text[]) > 1 THEN search_text END AS search_text
     FROM addressees
     WHERE :longest_pattern::text IS NOT NULL AND search_text LIKE :longest_pattern::text
     LIMIT :few::bigint + 1)
    UNION ALL
    (SELECT id, sort_name, CASE WHEN cardinality(:patterns::text[]) > 1 THEN search_text END FROM addressees
     WHERE :longest_tsquery::text IS NOT NULL AND letters_and_pairs(search_text) @@ :longest_tsquery::text::tsquery
     LIMIT :few::bigint + 1)
), size AS MATERIALIZED (
    SELECT count(*) <= :few::bigint AS few FROM matching
)
SELECT found.id, found.name, found.full_name, found.pronouns, found.uuid, found.avatar_url, found.sort_name,
       NOT size.few OR coalesce(found.n >= :steps::bigint, false) AS inconclusive
FROM size
LEFT JOIN LATERAL (
    SELECT p.*, m.n
    FROM (
        SELECT a.id, a.sort_name, row_number() OVER (ORDER BY a.sort_name, a.id) AS n
        FROM (
            SELECT id, sort_name FROM matching
            WHERE size.few AND (cardinality(:patterns::text[]) = 1 OR search_text LIKE ALL (:patterns::text[]))
              AND id NOT IN (SELECT unnest(:excluded::bigint[]))
              AND (sort_name, id) > (:after_name::text, :after_id::bigint)
            ORDER BY sort_name, id
            LIMIT :steps::bigint
        ) a
    ) m
    CROSS JOIN LATERAL (SELECT * FROM addressees WHERE id = m.id OFFSET 0) p
    WHERE m.n >= :steps::bigint OR EXISTS (
        SELECT FROM sightings(m.id, :viewer_id::bigint, :ranges::jsonb, :groups::jsonb, :account_ids::bigint[])
    )
    ORDER BY m.sort_name, m.id
    LIMIT :wanted::bigint
) found ON true
ORDER BY found.sort_name, found.id;

-- name: searched_sections :many
-- Sections of courses, to be listed as contexts.
SELECT id, course_id, name, default_section
FROM sections
WHERE course_id = ANY (:course_ids::bigint[]) AND workflow_state <> 'deleted'
ORDER BY id;

-- name: searched_groups :many
-- Groups of courses and groups named by id, to be listed as contexts; differentiation tags among them.
SELECT id, name, CASE WHEN context_type = 'Course' THEN context_id END AS course_id,
       coalesce(CASE WHEN context_type = 'Account' THEN context_id END, account_id) AS account_id,
       non_collaborative AS differentiation_tag
FROM groups
WHERE workflow_state <> 'deleted'
  AND ((context_type = 'Course' AND context_id = ANY (:course_ids::bigint[])) OR id = ANY (:group_ids::bigint[]))
ORDER BY id;

-- name: courses_ended_lately :column
-- Courses that have ended within the last month: they are still offered, behind those that go on.
SELECT id
FROM courses
WHERE id = ANY (:course_ids::bigint[]) AND conclude_at <= now() AND conclude_at > now() - interval '1 month';

-- name: count_enrolled :many
-- How many people the viewer sees in courses and sections, and as what. Each range says which question (n) it is part
-- of; the ranges of a question are all of one course. Looked at one by one are only those whom the viewer sees for
-- reasons of their own, and those who observe the viewer: all others are counted by the ways in which they are
-- enrolled, and what a way amounts to now is what standing_of says.
WITH ranges AS MATERIALIZED (
    SELECT r.n, r.course_id, r.user_id, r.all_observers, r AS range
    FROM jsonb_populate_recordset(NULL::enrollment_range, :ranges::jsonb) AS r
), way AS MATERIALIZED (
    SELECT h.course_id, h.digest, h.people, (e ->> 0)::bigint AS section_id, e ->> 1 AS type,
           standing_of(
               e ->> 2, e ->> 3, c.workflow_state, c.restrict_enrollments_to_course_dates, c.start_at, c.conclude_at,
               s.restrict_enrollments_to_section_dates, s.start_at, s.end_at
           ) AS standing
    FROM (SELECT DISTINCT course_id FROM ranges) asked
    JOIN courses c ON c.id = asked.course_id
    JOIN headcounts h ON h.course_id = asked.course_id
    CROSS JOIN LATERAL jsonb_array_elements(h.ways) AS e
    LEFT JOIN sections s ON s.id = (e ->> 0)::bigint
), ways AS (
    SELECT r.n, way.digest, way.people, array_agg(way.type) AS types
    FROM ranges r
    JOIN way ON way.course_id = r.course_id
    WHERE in_range(r.range, NULL, way.section_id, NULL, way.type, NULL, way.standing)
    GROUP BY r.n, way.digest, way.people
), singled_out AS MATERIALIZED (
    SELECT r.n, r.course_id, r.user_id FROM ranges r WHERE r.user_id IS NOT NULL
    UNION
    SELECT r.n, r.course_id, o.user_id
    FROM ranges r
    CROSS JOIN LATERAL (
        SELECT user_id FROM enrollments
        WHERE NOT r.all_observers AND associated_user_id = :viewer_id::bigint AND course_id = r.course_id
        OFFSET 0
    ) o
), individuals AS (
    SELECT p.n, p.user_id, array_agg(e.type) FILTER (WHERE NOT e.counted) AS types,
           coalesce(array_agg(e.type) FILTER (WHERE e.counted), '{}') AS counted_types
    FROM singled_out p
    JOIN users u ON u.id = p.user_id AND u.workflow_state IN ('registered', 'pre_registered')
    CROSS JOIN LATERAL (
        SELECT e.type, r.user_id IS NULL AND (r.all_observers OR e.type <> 'ObserverEnrollment') AS counted
        FROM (
            SELECT * FROM enrollment_standings WHERE user_id = p.user_id AND course_id = p.course_id OFFSET 0
        ) e
        JOIN ranges r ON r.n = p.n
        WHERE in_range(
            r.range, :viewer_id::bigint, e.section_id, e.user_id, e.type, e.associated_user_id, e.standing
        )
    ) e
    GROUP BY p.n, p.user_id
), counted AS (
    SELECT n, people, types, '{}'::text[] AS counted_types FROM ways
    UNION ALL
    SELECT n, 1, types, counted_types FROM individuals WHERE types IS NOT NULL
)
SELECT n,
       coalesce(sum(people) FILTER (WHERE counted_types = '{}'), 0)::bigint AS everybody,
       coalesce(sum(people) FILTER (WHERE 'TeacherEnrollment' = ANY (types)
           AND 'TeacherEnrollment' <> ALL (counted_types)), 0)::bigint AS teachers,
       coalesce(sum(people) FILTER (WHERE 'TaEnrollment' = ANY (types)
           AND 'TaEnrollment' <> ALL (counted_types)), 0)::bigint AS tas,
       coalesce(sum(people) FILTER (WHERE 'StudentEnrollment' = ANY (types)
           AND 'StudentEnrollment' <> ALL (counted_types)), 0)::bigint AS students,
       coalesce(sum(people) FILTER (WHERE 'ObserverEnrollment' = ANY (types)
           AND 'ObserverEnrollment' <> ALL (counted_types)), 0)::bigint AS observers
FROM counted
GROUP BY n
HAVING sum(people) FILTER (WHERE counted_types = '{}') > 0;

-- name: count_members :many
-- How many members of groups the viewer sees; of a course's group those who still take part in the course.
SELECT g.n, count(DISTINCT u.id) AS everybody
FROM jsonb_to_recordset(:groups::jsonb) AS g (
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
-- As what people are enrolled in one course: all that is shown of them when that course alone is searched.
SELECT asked.id AS user_id, array_agg(DISTINCT e.type ORDER BY e.type) AS types
FROM unnest(:user_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT type, standing FROM enrollment_standings WHERE user_id = asked.id AND course_id = :course_id::bigint OFFSET 0
) e
WHERE e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
GROUP BY asked.id
ORDER BY asked.id;
