-- name: expand_ranges :single
-- All users in the given ranges of enrolments, as one sorted array: recipients of courses and sections. As text, because
-- nobody looks at each of a million. More than hold_above (null: any number) are not brought at all: the setting
-- clarion.recipients holds the text for the statements of the same transaction, and here it is empty. A gateway that had
-- it to receive and to send would need three times its room.
-- A course may have 100,000 members, so a row costs a probe of an index and a few comparisons, nothing else:
-- * the lateral arms force an index scan per range whatever the planner believes a range to hold;
-- * the standing of enrollment_standings is taken apart: what courses and sections decide is decided once, in
--   sets that are hashed (closed sections; in a closed course, sections with open dates of their own);
-- * instead of looking up each user, the few that cannot be messaged are excluded (users_unmessageable,
--   unknown_members).
-- A test compares it with the view for every combination of states and dates.
WITH ranges AS MATERIALIZED (
    SELECT r.*, c.restrict_enrollments_to_course_dates
                AND coalesce(c.conclude_at <= now() OR c.start_at > now(), false) AS closed
    FROM jsonb_to_recordset(:ranges::jsonb) AS r (
        course_id bigint, section_id bigint, user_id bigint, types text[], all_observers boolean, concluded boolean
    )
    JOIN courses c ON c.id = r.course_id
), closed_sections AS MATERIALIZED (
    SELECT id FROM sections
    WHERE course_id IN (SELECT course_id FROM ranges)
      AND restrict_enrollments_to_section_dates AND (end_at <= now() OR start_at > now())
), open_sections AS MATERIALIZED (
    SELECT id FROM sections
    WHERE course_id IN (SELECT course_id FROM ranges WHERE closed)
      AND restrict_enrollments_to_section_dates AND (start_at IS NOT NULL OR end_at IS NOT NULL)
      AND coalesce(start_at <= now(), true) AND coalesce(end_at > now(), true)
), found AS (
    SELECT coalesce(array_agg(DISTINCT e.user_id), '{}') AS user_ids
    FROM ranges r
    CROSS JOIN LATERAL (
        SELECT course_id, section_id, user_id, type, workflow_state, date_state, associated_user_id
        FROM enrollments
        WHERE course_id = r.course_id AND r.section_id IS NULL AND r.user_id IS NULL
        UNION ALL
        SELECT course_id, section_id, user_id, type, workflow_state, date_state, associated_user_id
        FROM enrollments
        WHERE section_id = r.section_id AND r.user_id IS NULL
        UNION ALL
        SELECT course_id, section_id, user_id, type, workflow_state, date_state, associated_user_id
        FROM enrollments
        WHERE course_id = r.course_id AND user_id = r.user_id AND (r.section_id IS NULL OR section_id = r.section_id)
    ) e
    WHERE e.course_id = r.course_id
      AND (r.types IS NULL OR e.type = ANY (r.types))
      AND e.type <> 'StudentViewEnrollment'
      AND (r.all_observers OR e.type <> 'ObserverEnrollment' OR e.associated_user_id = :sender_id::bigint)
      AND e.user_id <> :sender_id::bigint
      AND CASE
              WHEN e.workflow_state = 'creation_pending' AND e.date_state IS NULL THEN false
              WHEN r.concluded THEN e.workflow_state NOT IN ('deleted', 'rejected')
              WHEN e.workflow_state NOT IN ('active', 'invited', 'creation_pending') THEN false
              WHEN e.date_state IS NOT NULL THEN e.date_state IN ('active', 'invited')
              WHEN r.closed THEN e.section_id IN (SELECT id FROM open_sections)
              ELSE e.section_id IS NULL OR e.section_id NOT IN (SELECT id FROM closed_sections)
          END
      AND e.user_id NOT IN (SELECT id FROM users WHERE workflow_state NOT IN ('registered', 'pre_registered'))
      AND e.user_id NOT IN (
          SELECT m.user_id FROM unknown_members m WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = m.user_id)
      )
)
SELECT CASE WHEN cardinality(found.user_ids) > :hold_above::integer
            THEN left(set_config('clarion.recipients', found.user_ids::text, true), 0)
            ELSE found.user_ids::text END AS user_ids,
       cardinality(found.user_ids) AS people
FROM found;

-- name: reachable :value
-- Those of some users whom the sender sees, by an enrolment in one of the ranges, as a member of one of the groups or on
-- the roster of one of the accounts: the question of expand_ranges and group_members asked from the other side, for
-- individuals named in a request. It goes from a user to his few enrolments; from the course's side it would be 100,000
-- rows.
SELECT coalesce(array_agg(u.id ORDER BY u.id), '{}') AS user_ids
FROM users u
WHERE u.id = ANY (:user_ids::bigint[]) AND u.workflow_state IN ('registered', 'pre_registered')
  AND EXISTS (SELECT FROM sightings(u.id, :sender_id::bigint, :ranges::jsonb, :groups::jsonb, :account_ids::bigint[]));

-- name: group_members :value
-- Accepted members of groups; those of a course's group only while they take part in the course.
SELECT coalesce(array_agg(DISTINCT u.id), '{}') AS user_ids
FROM jsonb_to_recordset(:groups::jsonb) AS g (
    group_id bigint, course_id bigint, sections bigint[], staff_only boolean, concluded boolean
)
JOIN group_memberships m ON m.group_id = g.group_id AND m.workflow_state = 'accepted'
JOIN users u ON u.id = m.user_id AND u.workflow_state IN ('registered', 'pre_registered')
WHERE m.user_id <> :sender_id::bigint
  AND (g.course_id IS NULL OR EXISTS (
      SELECT FROM enrollment_standings e
      WHERE e.course_id = g.course_id AND e.user_id = m.user_id AND e.type <> 'StudentViewEnrollment'
        AND (e.standing IN ('active', 'invited') OR (g.concluded AND e.standing = 'completed'))
        AND (NOT g.staff_only OR e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
        AND (g.sections IS NULL OR e.section_id = ANY (g.sections))
  ));

-- name: reachable_by_roster :value
-- Those of some users who belong to one of the accounts: by association, or by an enrolment in a course there,
-- from which Canvas derives the association.
SELECT coalesce(array_agg(DISTINCT u.id), '{}') AS user_ids
FROM users u
CROSS JOIN LATERAL (
    SELECT account_id FROM user_accounts WHERE user_id = u.id
    UNION ALL
    SELECT c.account_id FROM enrollment_standings e JOIN courses c ON c.id = e.course_id
    WHERE e.user_id = u.id AND e.standing <> 'none' AND e.type <> 'StudentViewEnrollment'
) belongs
WHERE u.id = ANY (:user_ids::bigint[]) AND u.workflow_state IN ('registered', 'pre_registered')
  AND belongs.account_id IN (SELECT unnest(:account_ids::bigint[]));

-- name: fellow_participants :value
-- Those of some users who take part in a conversation that the sender takes part in as well.
SELECT coalesce(array_agg(p.user_id), '{}') AS user_ids
FROM unnest(:user_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT user_id FROM participants
    WHERE conversation_id = :conversation_id::bigint AND user_id = asked.id OFFSET 0
) p
WHERE EXISTS (
    SELECT FROM participants s
    WHERE s.conversation_id = :conversation_id::bigint AND s.user_id = :sender_id::bigint OFFSET 0
);

-- name: existing_users :value
-- Those of some users who exist: nothing else is asked of those to whom a site admin writes.
SELECT coalesce(array_agg(id), '{}') AS user_ids
FROM users WHERE id = ANY (:user_ids::bigint[]) AND workflow_state <> 'deleted';

-- name: recipients_by_uuid :value
-- uuid: recipients as ids.
SELECT coalesce(array_agg(id), '{}') AS user_ids FROM users WHERE uuid = ANY (:uuids::text[]);

-- name: all_instruct :value
-- Whether all users are instructors of the course or exempt, for a sender who may write to no others.
SELECT NOT EXISTS (
    SELECT FROM unnest(coalesce(:user_ids::text, current_setting('clarion.recipients', true))::bigint[]) AS u (id)
    WHERE u.id <> ALL (:exempt::bigint[]) AND NOT EXISTS (
        SELECT FROM enrollment_standings e
        WHERE e.course_id = :course_id::bigint AND e.user_id = u.id AND e.type IN ('TeacherEnrollment', 'TaEnrollment')
          AND e.standing IN ('active', 'invited', 'completed')
    )
) AS all_instruct;

-- name: any_staff :value
-- Whether one of some users is active staff of a course: a reply that reaches staff is allowed where others are not.
SELECT EXISTS (
    SELECT FROM enrollment_standings
    WHERE course_id = :course_id::bigint AND user_id = ANY (:user_ids::bigint[]) AND standing = 'active'
      AND type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment')
) AS any_staff;

-- name: any_open_section :value
-- Whether one of some sections of a course (:section_ids; null: all of them) is not over: then its people may still
-- reply. A section without dates of its own, or that no event named yet, is over with its course (:course_ended).
SELECT CASE
           WHEN :section_ids::bigint[] IS NULL THEN NOT :course_ended::boolean OR EXISTS (
               SELECT FROM sections
               WHERE course_id = :course_id::bigint AND workflow_state <> 'deleted'
                 AND restrict_enrollments_to_section_dates AND end_at > now()
           )
           ELSE EXISTS (
               SELECT FROM unnest(:section_ids::bigint[]) AS own (id)
               LEFT JOIN sections s ON s.id = own.id
               WHERE CASE
                         WHEN s.restrict_enrollments_to_section_dates AND s.end_at IS NOT NULL THEN s.end_at > now()
                         ELSE NOT :course_ended::boolean
                     END
           )
       END AS any_open;

-- name: instructed_by :value
-- Those of some users whom the author instructs: students of a course where the author is an active teacher or TA.
SELECT coalesce(array_agg(DISTINCT u.id), '{}') AS user_ids
FROM unnest(:user_ids::bigint[]) AS u (id)
CROSS JOIN LATERAL (
    SELECT course_id FROM enrollment_standings
    WHERE user_id = u.id AND type = 'StudentEnrollment' AND standing IN ('active', 'invited', 'completed')
    OFFSET 0
) e
WHERE e.course_id IN (
    SELECT course_id FROM enrollment_standings
    WHERE user_id = :author_id::bigint AND standing = 'active' AND type IN ('TeacherEnrollment', 'TaEnrollment')
);
