-- What snapshots of a student information system mean for the directory, and how the two are compared (CONTRACT 5.1).

-- A course's own dates, and for those that it lacks its terms'.
CREATE OR REPLACE FUNCTION course_dates(
    terms bigint[], own_start timestamptz, own_end timestamptz, OUT start_at timestamptz, OUT end_at timestamptz
) LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT (coalesce(own_start, min(t.start_at)), coalesce(own_end, max(t.end_at)))::record
            FROM sis_terms t WHERE t.id = ANY (terms));

-- Times as they stand in JSON, of whole seconds like those of snapshots.
CREATE OR REPLACE FUNCTION snapshot_time(moment timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- The directory's rows as snapshots could have them: the keys of service/domain/directory_shapes.py as JSON. gone: it is
-- as if there were none. apart: a snapshot need not have it, because Canvas makes it by itself or because it follows from
-- other rows.
CREATE OR REPLACE VIEW directory_rows AS
SELECT 'accounts' AS kind, ARRAY[id] AS ids, workflow_state = 'deleted' AS gone, parent_account_id IS NULL AS apart,
       jsonb_build_object('name', name, 'workflow_state', workflow_state, 'root_account_id', root_account_id,
                          'parent_account_id', parent_account_id) AS held
FROM accounts
UNION ALL
SELECT 'users', ARRAY[id], workflow_state = 'deleted',
       EXISTS (SELECT FROM enrollments e WHERE e.user_id = users.id AND e.type = 'StudentViewEnrollment'),
       jsonb_build_object('uuid', uuid, 'name', name, 'short_name', short_name, 'workflow_state', workflow_state,
                          'user_login', login, 'user_sis_id', sis_id, 'sortable_name', sortable_name,
                          'pronouns', pronouns)
FROM users
UNION ALL
SELECT 'user_accounts', ARRAY[account_id, user_id], false, true, '{}'
FROM user_accounts
UNION ALL
SELECT 'account_users', ARRAY[id], workflow_state = 'deleted', false,
       jsonb_build_object('account_id', account_id, 'user_id', user_id, 'role', role, 'workflow_state', workflow_state)
FROM account_users
UNION ALL
SELECT 'courses', ARRAY[id], workflow_state = 'deleted', false,
       jsonb_build_object('uuid', uuid, 'account_id', account_id, 'name', name, 'workflow_state', workflow_state,
                          'start_at', snapshot_time(start_at), 'conclude_at', snapshot_time(conclude_at),
                          'restrict_enrollments_to_course_dates', restrict_enrollments_to_course_dates)
FROM courses
UNION ALL
SELECT 'sections', ARRAY[id], workflow_state = 'deleted', default_section AND sis_source_id IS NULL,
       jsonb_build_object('course_id', course_id, 'name', name, 'default_section', default_section,
                          'restrict_enrollments_to_section_dates', restrict_enrollments_to_section_dates,
                          'workflow_state', workflow_state, 'start_at', snapshot_time(start_at),
                          'end_at', snapshot_time(end_at), 'sis_source_id', sis_source_id)
FROM sections
UNION ALL
SELECT 'enrollments', ARRAY[id], coalesce(workflow_state IN ('deleted', 'rejected'), true),
       type = 'StudentViewEnrollment' OR EXISTS (SELECT FROM sis_observations o WHERE o.enrollment_id = enrollments.id),
       jsonb_build_object('course_id', course_id, 'course_section_id', section_id, 'user_id', user_id, 'type', type,
                          'limit_privileges_to_course_section', limit_privileges_to_course_section,
                          'workflow_state', workflow_state, 'associated_user_id', associated_user_id,
                          'state', date_state)
FROM enrollments
UNION ALL
SELECT 'groups', ARRAY[id], workflow_state = 'deleted', non_collaborative,
       jsonb_build_object('uuid', uuid, 'group_name', name, 'context_type', context_type, 'context_id', context_id,
                          'account_id', account_id, 'workflow_state', workflow_state)
FROM groups
UNION ALL
SELECT 'group_memberships', ARRAY[id], workflow_state <> 'accepted',
       EXISTS (SELECT FROM groups g WHERE g.id = group_id AND g.non_collaborative),
       jsonb_build_object('group_id', group_id, 'user_id', user_id, 'workflow_state', workflow_state)
FROM group_memberships
UNION ALL
SELECT 'terms', ARRAY[id], false, false,
       jsonb_build_object('start_at', snapshot_time(start_at), 'end_at', snapshot_time(end_at))
FROM sis_terms
UNION ALL
SELECT 'observers', ARRAY[observer_id, student_id], false, false, '{}'
FROM sis_observers WHERE listed_by = 0
UNION ALL
SELECT 'agents', ARRAY[listed_by, student_id], false, false, '{}'
FROM sis_observers WHERE listed_by = observer_id
UNION ALL
SELECT 'guardians', ARRAY[user_id], false, false, '{}'
FROM sis_guardians;

-- In what a snapshot (snapshot_rows) and the directory differ, of one kind: what is other, what the directory lacks, and
-- what the snapshot lacks although it is whole.
CREATE OR REPLACE FUNCTION differences(asked text, whole boolean)
    RETURNS TABLE (difference text, label text, ids bigint[], expected jsonb, held jsonb)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    SELECT CASE WHEN d.ids IS NULL THEN 'lacking' WHEN s.label IS NULL THEN 'beyond' ELSE 'other' END,
           s.label, coalesce(s.ids, d.ids), s.expected, d.held
    FROM (SELECT * FROM snapshot_rows r WHERE r.kind = asked) s
    FULL JOIN (SELECT * FROM directory_rows r WHERE r.kind = asked) d ON d.ids = s.ids
    WHERE CASE
        WHEN d.ids IS NULL THEN s.expected ->> 'workflow_state' IS DISTINCT FROM 'deleted'
        WHEN s.label IS NULL THEN whole AND NOT d.gone AND NOT d.apart
        ELSE NOT (d.gone AND s.expected ->> 'workflow_state' = 'deleted') AND NOT d.held @> s.expected
    END;
END $$;
