-- name: put_observers :none
-- Who observes whom, said without a doubt.
INSERT INTO sis_observers (observer_id, student_id, listed_by)
SELECT observer_id, student_id, 0 FROM unnest(:observer_ids::bigint[], :student_ids::bigint[]) AS e (observer_id, student_id)
ON CONFLICT DO NOTHING;

-- name: remove_observers :none
-- Who does not any more.
DELETE FROM sis_observers o
USING unnest(:observer_ids::bigint[], :student_ids::bigint[]) AS e (observer_id, student_id)
WHERE (o.observer_id, o.student_id, o.listed_by) = (e.observer_id, e.student_id, 0);

-- name: put_agents :column
-- The agents that users' rows list, both ways round, because the row does not say who of the two observes. What a row
-- listed before and does not list any more goes. Gives the students with whom something changed.
WITH asked AS (
    SELECT DISTINCT u.id AS listed_by, pair.observer_id, pair.student_id
    FROM unnest(:user_ids::bigint[], :agent_ids::bigint[]) AS u (id, agent_id)
    CROSS JOIN LATERAL (VALUES (u.agent_id, u.id), (u.id, u.agent_id)) AS pair (observer_id, student_id)
    WHERE u.agent_id <> u.id
), gone AS (
    DELETE FROM sis_observers o
    WHERE o.listed_by = ANY (:listing_ids::bigint[])
      AND NOT EXISTS (SELECT FROM asked a
                      WHERE (a.observer_id, a.student_id, a.listed_by) = (o.observer_id, o.student_id, o.listed_by))
    RETURNING o.student_id
), put AS (
    INSERT INTO sis_observers AS o (observer_id, student_id, listed_by)
    SELECT observer_id, student_id, listed_by FROM asked
    ON CONFLICT DO NOTHING
    RETURNING o.student_id
)
SELECT student_id FROM gone UNION SELECT student_id FROM put;

-- name: put_guardians :column
-- Who is a guardian and who is not; gives the students of those of whom that is new.
WITH asked AS (
    SELECT * FROM unnest(:user_ids::bigint[], :guardians::boolean[]) AS e (user_id, guardian)
), gone AS (
    DELETE FROM sis_guardians g USING asked a WHERE g.user_id = a.user_id AND NOT a.guardian RETURNING g.user_id
), put AS (
    INSERT INTO sis_guardians AS g (user_id) SELECT user_id FROM asked WHERE guardian
    ON CONFLICT DO NOTHING
    RETURNING g.user_id
)
SELECT DISTINCT o.student_id
FROM sis_observers o WHERE o.observer_id IN (SELECT user_id FROM gone UNION SELECT user_id FROM put);

-- name: observed_among :column
-- Those of these users whom others observe: of most sets there are none.
SELECT asked.id
FROM unnest(:user_ids::bigint[]) AS asked (id)
CROSS JOIN LATERAL (SELECT FROM sis_observers o WHERE o.student_id = asked.id LIMIT 1) o;

-- name: due_observations :many
-- Enrolments as an observer that ought to be, for these enrolments and all of these students: one for each observer and
-- enrolment of the observed, in the same state, deleted where it no longer follows from anything. Those that are as they
-- ought to be are left out.
WITH watched AS MATERIALIZED (
    SELECT e.id, e.course_id, e.section_id, e.user_id, e.type, e.workflow_state, e.date_state
    FROM unnest(:enrollment_ids::bigint[]) AS asked (id)
    CROSS JOIN LATERAL (SELECT * FROM enrollments WHERE id = asked.id OFFSET 0) e
    WHERE e.type = 'StudentEnrollment'
    UNION
    SELECT e.id, e.course_id, e.section_id, e.user_id, e.type, e.workflow_state, e.date_state
    FROM unnest(:student_ids::bigint[]) AS asked (id)
    CROSS JOIN LATERAL (SELECT * FROM enrollments WHERE user_id = asked.id OFFSET 0) e
    WHERE e.type = 'StudentEnrollment'
), due AS (
    SELECT DISTINCT o.observer_id, w.id AS student_enrollment_id, w.course_id, w.section_id, w.user_id AS student_id,
           w.workflow_state, w.date_state
    FROM watched w
    CROSS JOIN LATERAL (SELECT * FROM sis_observers WHERE student_id = w.user_id OFFSET 0) o
    WHERE o.listed_by = 0 OR EXISTS (SELECT FROM sis_guardians g WHERE g.user_id = o.observer_id)
    UNION ALL
    SELECT o.observer_id, w.id, w.course_id, w.section_id, w.user_id, 'deleted', w.date_state
    FROM watched w
    CROSS JOIN LATERAL (SELECT * FROM sis_observations WHERE student_enrollment_id = w.id OFFSET 0) o
    WHERE NOT EXISTS (
        SELECT FROM sis_observers s
        WHERE s.student_id = w.user_id AND s.observer_id = o.observer_id
          AND (s.listed_by = 0 OR EXISTS (SELECT FROM sis_guardians g WHERE g.user_id = s.observer_id))
    )
)
SELECT d.observer_id, d.student_enrollment_id, made.enrollment_id, d.course_id, d.section_id, d.student_id,
       d.workflow_state, d.date_state
FROM due d
LEFT JOIN LATERAL (
    SELECT o.enrollment_id FROM sis_observations o
    WHERE (o.student_enrollment_id, o.observer_id) = (d.student_enrollment_id, d.observer_id) OFFSET 0
) made ON true
LEFT JOIN LATERAL (SELECT * FROM enrollments e WHERE e.id = made.enrollment_id OFFSET 0) e ON true
WHERE CASE WHEN e.id IS NULL THEN d.workflow_state <> 'deleted'
      ELSE (e.course_id, e.section_id, e.user_id, e.associated_user_id, e.workflow_state, e.date_state)
           IS DISTINCT FROM (d.course_id, d.section_id, d.observer_id, d.student_id, d.workflow_state, d.date_state)
      END;

-- name: put_observations :column
-- Remembers which enrolments follow from which; gives their ids, in the order of the questions.
WITH numbered AS MATERIALIZED (
    SELECT n, observer_id, student_enrollment_id, nextval('sis_id_numbers') AS id
    FROM unnest(:observer_ids::bigint[], :student_enrollment_ids::bigint[])
        WITH ORDINALITY AS e (observer_id, student_enrollment_id, n)
), put AS (
    INSERT INTO sis_observations (observer_id, student_enrollment_id, enrollment_id)
    SELECT observer_id, student_enrollment_id, id FROM numbered
)
SELECT id FROM numbered ORDER BY n;
