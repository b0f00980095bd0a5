-- name: take_roster_turn :none
-- Until the end of the transaction no other writes users, enrolments or memberships: the rosters of places, derived
-- from several of them, would miss what two transactions do not yet see of each other. Taken before any row is locked,
-- so that no transaction that waits for it holds what others need.
SELECT take_roster_turn();

-- The directory as events describe it. Each statement takes a set of changes as parallel arrays, a row at most once and
-- in ascending order, which is the one lock order: ids, times (as_of), present_keys (a bit for each key that the event
-- has, null = all), then the values of the keys in the order of service/domain/directory_shapes.py, which is also that
-- of stamps. Of each key the newest value wins, and of two equally new ones the later arrival: new and old are the times
-- of the row's keys, worked out once a row (OFFSET 0) and not once a key. A row in which nothing changes is left alone
-- by its trigger.

-- name: upsert_accounts :none
-- Accounts and what is above them: rights are inherited along this tree.
INSERT INTO accounts AS t (
    id, name, workflow_state, root_account_id, parent_account_id, root_account_uuid, site_admin, as_of, stamps
)
SELECT
    e.id, coalesce(e.name, ''), coalesce(e.workflow_state, 'active'), e.root_account_id, e.parent_account_id,
    e.root_account_uuid, coalesce(e.site_admin, false), e.as_of, stamps_of(e.as_of, e.present_keys, 6)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :names::text[], :workflow_states::text[],
    :root_account_ids::bigint[], :parent_account_ids::bigint[], :root_account_uuids::text[], :site_admins::boolean[]
) AS e (
    id, as_of, present_keys, name, workflow_state, root_account_id, parent_account_id, root_account_uuid, site_admin
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (name, workflow_state, root_account_id, parent_account_id, root_account_uuid, site_admin) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.name ELSE t.name END,
               CASE WHEN new[2] >= old[2] THEN excluded.workflow_state ELSE t.workflow_state END,
               CASE WHEN new[3] >= old[3] THEN excluded.root_account_id ELSE t.root_account_id END,
               CASE WHEN new[4] >= old[4] THEN excluded.parent_account_id ELSE t.parent_account_id END,
               CASE WHEN new[5] >= old[5] THEN excluded.root_account_uuid ELSE t.root_account_uuid END,
               CASE WHEN new[6] >= old[6] THEN excluded.site_admin ELSE t.site_admin END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[6])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[6])) AS old OFFSET 0) AS times
    );

-- name: upsert_users :none
-- People; user_merged is one more change of the same row.
INSERT INTO users AS t (
    id, uuid, name, short_name, workflow_state, created_at, login, sis_id, sortable_name, pronouns, avatar_url,
    merged_into_user_id, as_of, stamps
)
SELECT
    e.id, e.uuid, coalesce(e.name, ''), e.short_name, coalesce(e.workflow_state, 'registered'), e.created_at,
    e.login, e.sis_id, e.sortable_name, e.pronouns, e.avatar_url, e.merged_into_user_id, e.as_of,
    stamps_of(e.as_of, e.present_keys, 11)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :uuids::text[], :names::text[],
    :short_names::text[], :workflow_states::text[], :created_ats::timestamptz[], :user_logins::text[],
    :user_sis_ids::text[], :sortable_names::text[], :pronouns::text[], :avatar_urls::text[],
    :merged_into_user_ids::bigint[]
) AS e (
    id, as_of, present_keys, uuid, name, short_name, workflow_state, created_at, login, sis_id, sortable_name, pronouns,
    avatar_url, merged_into_user_id
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (uuid, name, short_name, workflow_state, created_at, login, sis_id, sortable_name, pronouns, avatar_url,
     merged_into_user_id) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.uuid ELSE t.uuid END,
               CASE WHEN new[2] >= old[2] THEN excluded.name ELSE t.name END,
               CASE WHEN new[3] >= old[3] THEN excluded.short_name ELSE t.short_name END,
               CASE WHEN new[4] >= old[4] THEN excluded.workflow_state ELSE t.workflow_state END,
               CASE WHEN new[5] >= old[5] THEN excluded.created_at ELSE t.created_at END,
               CASE WHEN new[6] >= old[6] THEN excluded.login ELSE t.login END,
               CASE WHEN new[7] >= old[7] THEN excluded.sis_id ELSE t.sis_id END,
               CASE WHEN new[8] >= old[8] THEN excluded.sortable_name ELSE t.sortable_name END,
               CASE WHEN new[9] >= old[9] THEN excluded.pronouns ELSE t.pronouns END,
               CASE WHEN new[10] >= old[10] THEN excluded.avatar_url ELSE t.avatar_url END,
               CASE WHEN new[11] >= old[11] THEN excluded.merged_into_user_id ELSE t.merged_into_user_id END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[11])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[11])) AS old OFFSET 0) AS times
    );

-- name: upsert_user_accounts :none
-- Members of accounts. They are only ever added.
INSERT INTO user_accounts AS t (account_id, user_id, as_of)
SELECT * FROM unnest(:account_ids::bigint[], :user_ids::bigint[], :times::timestamptz[])
ON CONFLICT (account_id, user_id) DO UPDATE SET as_of = greatest(t.as_of, excluded.as_of);

-- name: upsert_account_users :none
-- Administrators of accounts.
INSERT INTO account_users AS t (
    id, account_id, user_id, role, workflow_state, as_of, stamps
)
SELECT
    e.id, e.account_id, e.user_id, coalesce(e.role, ''), coalesce(e.workflow_state, 'active'), e.as_of,
    stamps_of(e.as_of, e.present_keys, 4)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :account_ids::bigint[], :user_ids::bigint[],
    :roles::text[], :workflow_states::text[]
) AS e (
    id, as_of, present_keys, account_id, user_id, role, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (account_id, user_id, role, workflow_state) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.account_id ELSE t.account_id END,
               CASE WHEN new[2] >= old[2] THEN excluded.user_id ELSE t.user_id END,
               CASE WHEN new[3] >= old[3] THEN excluded.role ELSE t.role END,
               CASE WHEN new[4] >= old[4] THEN excluded.workflow_state ELSE t.workflow_state END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[4])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[4])) AS old OFFSET 0) AS times
    );

-- name: upsert_role_overrides :none
-- What roles may do in an account or course. An override without its role or permission applies to no user.
INSERT INTO role_overrides AS t (
    id, context_type, context_id, role, permission, enabled, workflow_state, as_of, stamps
)
SELECT
    e.id, coalesce(e.context_type, ''), e.context_id, coalesce(e.role, ''), coalesce(e.permission, ''),
    coalesce(e.enabled, false), coalesce(e.workflow_state, 'active'), e.as_of, stamps_of(e.as_of, e.present_keys, 6)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :context_types::text[], :context_ids::bigint[],
    :roles::text[], :permissions::text[], :enableds::boolean[], :workflow_states::text[]
) AS e (
    id, as_of, present_keys, context_type, context_id, role, permission, enabled, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (context_type, context_id, role, permission, enabled, workflow_state) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.context_type ELSE t.context_type END,
               CASE WHEN new[2] >= old[2] THEN excluded.context_id ELSE t.context_id END,
               CASE WHEN new[3] >= old[3] THEN excluded.role ELSE t.role END,
               CASE WHEN new[4] >= old[4] THEN excluded.permission ELSE t.permission END,
               CASE WHEN new[5] >= old[5] THEN excluded.enabled ELSE t.enabled END,
               CASE WHEN new[6] >= old[6] THEN excluded.workflow_state ELSE t.workflow_state END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[6])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[6])) AS old OFFSET 0) AS times
    );

-- name: upsert_courses :none
-- Courses, with the dates that no Canvas event has.
INSERT INTO courses AS t (
    id, uuid, account_id, name, workflow_state, start_at, conclude_at, restrict_enrollments_to_course_dates,
    as_of, stamps
)
SELECT
    e.id, e.uuid, e.account_id, coalesce(e.name, ''), coalesce(e.workflow_state, 'available'), e.start_at,
    e.conclude_at, coalesce(e.restrict_enrollments_to_course_dates, false), e.as_of,
    stamps_of(e.as_of, e.present_keys, 7)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :uuids::text[], :account_ids::bigint[],
    :names::text[], :workflow_states::text[], :start_ats::timestamptz[], :conclude_ats::timestamptz[],
    :restrict_enrollments_to_course_dates::boolean[]
) AS e (
    id, as_of, present_keys, uuid, account_id, name, workflow_state, start_at, conclude_at,
    restrict_enrollments_to_course_dates
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (uuid, account_id, name, workflow_state, start_at, conclude_at, restrict_enrollments_to_course_dates) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.uuid ELSE t.uuid END,
               CASE WHEN new[2] >= old[2] THEN excluded.account_id ELSE t.account_id END,
               CASE WHEN new[3] >= old[3] THEN excluded.name ELSE t.name END,
               CASE WHEN new[4] >= old[4] THEN excluded.workflow_state ELSE t.workflow_state END,
               CASE WHEN new[5] >= old[5] THEN excluded.start_at ELSE t.start_at END,
               CASE WHEN new[6] >= old[6] THEN excluded.conclude_at ELSE t.conclude_at END,
               CASE WHEN new[7] >= old[7] THEN excluded.restrict_enrollments_to_course_dates
                    ELSE t.restrict_enrollments_to_course_dates END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[7])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[7])) AS old OFFSET 0) AS times
    );

-- name: upsert_sections :none
-- Sections of courses.
INSERT INTO sections AS t (
    id, course_id, name, default_section, restrict_enrollments_to_section_dates, workflow_state, start_at,
    end_at, sis_source_id, as_of, stamps
)
SELECT
    e.id, e.course_id, coalesce(e.name, ''), coalesce(e.default_section, false),
    coalesce(e.restrict_enrollments_to_section_dates, false), coalesce(e.workflow_state, 'active'), e.start_at,
    e.end_at, e.sis_source_id, e.as_of, stamps_of(e.as_of, e.present_keys, 8)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :course_ids::bigint[], :names::text[],
    :default_sections::boolean[], :restrict_enrollments_to_section_dates::boolean[], :workflow_states::text[],
    :start_ats::timestamptz[], :end_ats::timestamptz[], :sis_source_ids::text[]
) AS e (
    id, as_of, present_keys, course_id, name, default_section, restrict_enrollments_to_section_dates, workflow_state,
    start_at, end_at, sis_source_id
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (course_id, name, default_section, restrict_enrollments_to_section_dates, workflow_state, start_at, end_at,
     sis_source_id) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.course_id ELSE t.course_id END,
               CASE WHEN new[2] >= old[2] THEN excluded.name ELSE t.name END,
               CASE WHEN new[3] >= old[3] THEN excluded.default_section ELSE t.default_section END,
               CASE WHEN new[4] >= old[4] THEN excluded.restrict_enrollments_to_section_dates
                    ELSE t.restrict_enrollments_to_section_dates END,
               CASE WHEN new[5] >= old[5] THEN excluded.workflow_state ELSE t.workflow_state END,
               CASE WHEN new[6] >= old[6] THEN excluded.start_at ELSE t.start_at END,
               CASE WHEN new[7] >= old[7] THEN excluded.end_at ELSE t.end_at END,
               CASE WHEN new[8] >= old[8] THEN excluded.sis_source_id ELSE t.sis_source_id END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[8])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[8])) AS old OFFSET 0) AS times
    );

-- name: upsert_enrollments :none
-- Enrolments and their date-aware states, which come by events of their own into the same rows, often first: such a row
-- counts nowhere until the event of its enrolment is there. One statement for both, because two would lock the rows in
-- two orders.
INSERT INTO enrollments AS t (
    id, course_id, section_id, user_id, type, limit_privileges_to_course_section, workflow_state, associated_user_id,
    as_of, stamps, date_state_as_of, date_state
)
SELECT
    id, e.course_id, e.section_id, e.user_id, e.type, coalesce(e.limit_privileges_to_course_section, false),
    coalesce(e.workflow_state, 'active'), e.associated_user_id, coalesce(e.as_of, '-infinity'),
    stamps_of(e.as_of, e.present_keys, 7), coalesce(s.as_of, '-infinity'), s.date_state
FROM unnest(
    :ids::text::bigint[], :times::timestamptz[], :present_keys::text::integer[], :course_ids::text::bigint[],
    :course_section_ids::text::bigint[], :user_ids::text::bigint[], :types::text[],
    :limit_privileges_to_course_sections::boolean[], :workflow_states::text[], :associated_user_ids::text::bigint[]
) AS e (
    id, as_of, present_keys, course_id, section_id, user_id, type, limit_privileges_to_course_section, workflow_state,
    associated_user_id
)
FULL JOIN unnest(:state_ids::bigint[], :state_times::timestamptz[], :states::text[]) AS s (id, as_of, date_state)
    USING (id)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    date_state_as_of = greatest(t.date_state_as_of, excluded.date_state_as_of),
    date_state = CASE WHEN excluded.date_state_as_of >= t.date_state_as_of
        THEN excluded.date_state ELSE t.date_state END,
    (course_id, section_id, user_id, type, limit_privileges_to_course_section, workflow_state, associated_user_id) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.course_id ELSE t.course_id END,
               CASE WHEN new[2] >= old[2] THEN excluded.section_id ELSE t.section_id END,
               CASE WHEN new[3] >= old[3] THEN excluded.user_id ELSE t.user_id END,
               CASE WHEN new[4] >= old[4] THEN excluded.type ELSE t.type END,
               CASE WHEN new[5] >= old[5] THEN excluded.limit_privileges_to_course_section
                    ELSE t.limit_privileges_to_course_section END,
               CASE WHEN new[6] >= old[6] THEN excluded.workflow_state ELSE t.workflow_state END,
               CASE WHEN new[7] >= old[7] THEN excluded.associated_user_id ELSE t.associated_user_id END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[7])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[7])) AS old OFFSET 0) AS times
    );

-- name: upsert_group_categories :none
-- Sets of groups.
INSERT INTO group_categories AS t (
    id, name, context_type, context_id, as_of, stamps
)
SELECT
    e.id, coalesce(e.name, ''), e.context_type, e.context_id, e.as_of, stamps_of(e.as_of, e.present_keys, 3)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :group_category_names::text[],
    :context_types::text[], :context_ids::bigint[]
) AS e (
    id, as_of, present_keys, name, context_type, context_id
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (name, context_type, context_id) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.name ELSE t.name END,
               CASE WHEN new[2] >= old[2] THEN excluded.context_type ELSE t.context_type END,
               CASE WHEN new[3] >= old[3] THEN excluded.context_id ELSE t.context_id END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[3])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[3])) AS old OFFSET 0) AS times
    );

-- name: upsert_groups :none
-- Groups and differentiation tags.
INSERT INTO groups AS t (
    id, uuid, name, context_type, context_id, account_id, workflow_state, group_category_id, non_collaborative,
    as_of, stamps
)
SELECT
    e.id, e.uuid, coalesce(e.name, ''), e.context_type, e.context_id, e.account_id,
    coalesce(e.workflow_state, 'available'), e.group_category_id, coalesce(e.non_collaborative, false), e.as_of,
    stamps_of(e.as_of, e.present_keys, 8)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :uuids::text[], :group_names::text[],
    :context_types::text[], :context_ids::bigint[], :account_ids::bigint[], :workflow_states::text[],
    :group_category_ids::bigint[], :non_collaboratives::boolean[]
) AS e (
    id, as_of, present_keys, uuid, name, context_type, context_id, account_id, workflow_state, group_category_id,
    non_collaborative
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (uuid, name, context_type, context_id, account_id, workflow_state, group_category_id, non_collaborative) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.uuid ELSE t.uuid END,
               CASE WHEN new[2] >= old[2] THEN excluded.name ELSE t.name END,
               CASE WHEN new[3] >= old[3] THEN excluded.context_type ELSE t.context_type END,
               CASE WHEN new[4] >= old[4] THEN excluded.context_id ELSE t.context_id END,
               CASE WHEN new[5] >= old[5] THEN excluded.account_id ELSE t.account_id END,
               CASE WHEN new[6] >= old[6] THEN excluded.workflow_state ELSE t.workflow_state END,
               CASE WHEN new[7] >= old[7] THEN excluded.group_category_id ELSE t.group_category_id END,
               CASE WHEN new[8] >= old[8] THEN excluded.non_collaborative ELSE t.non_collaborative END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[8])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[8])) AS old OFFSET 0) AS times
    );

-- name: upsert_group_memberships :none
-- Who is in which group.
INSERT INTO group_memberships AS t (
    id, group_id, user_id, workflow_state, as_of, stamps
)
SELECT
    e.id, e.group_id, e.user_id, coalesce(e.workflow_state, 'accepted'), e.as_of, stamps_of(e.as_of, e.present_keys, 3)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :group_ids::bigint[], :user_ids::bigint[],
    :workflow_states::text[]
) AS e (
    id, as_of, present_keys, group_id, user_id, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (group_id, user_id, workflow_state) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.group_id ELSE t.group_id END,
               CASE WHEN new[2] >= old[2] THEN excluded.user_id ELSE t.user_id END,
               CASE WHEN new[3] >= old[3] THEN excluded.workflow_state ELSE t.workflow_state END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[3])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[3])) AS old OFFSET 0) AS times
    );

-- name: upsert_attachments :none
-- Files; attachment_deleted is one more change of the same row.
INSERT INTO attachments AS t (
    id, user_id, context_type, context_id, folder_id, display_name, filename, content_type, updated_at, lock_at,
    unlock_at, uuid, size, url, folder_name, thumbnail_url, created_at, workflow_state, as_of, stamps
)
SELECT
    e.id, e.user_id, e.context_type, e.context_id, e.folder_id, e.display_name, e.filename, e.content_type,
    e.updated_at, e.lock_at, e.unlock_at, e.uuid, e.size, e.url, e.folder_name, e.thumbnail_url, e.created_at,
    coalesce(e.workflow_state, 'available'), e.as_of, stamps_of(e.as_of, e.present_keys, 17)
FROM unnest(
    :ids::bigint[], :times::timestamptz[], :present_keys::integer[], :user_ids::bigint[], :context_types::text[],
    :context_ids::bigint[], :folder_ids::bigint[], :display_names::text[], :filenames::text[], :content_types::text[],
    :updated_ats::timestamptz[], :lock_ats::timestamptz[], :unlock_ats::timestamptz[], :uuids::text[], :sizes::bigint[],
    :urls::text[], :folder_names::text[], :thumbnail_urls::text[], :created_ats::timestamptz[], :workflow_states::text[]
) AS e (
    id, as_of, present_keys, user_id, context_type, context_id, folder_id, display_name, filename, content_type,
    updated_at, lock_at, unlock_at, uuid, size, url, folder_name, thumbnail_url, created_at, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    (user_id, context_type, context_id, folder_id, display_name, filename, content_type, updated_at, lock_at,
     unlock_at, uuid, size, url, folder_name, thumbnail_url, created_at, workflow_state) = (
        SELECT CASE WHEN new[1] >= old[1] THEN excluded.user_id ELSE t.user_id END,
               CASE WHEN new[2] >= old[2] THEN excluded.context_type ELSE t.context_type END,
               CASE WHEN new[3] >= old[3] THEN excluded.context_id ELSE t.context_id END,
               CASE WHEN new[4] >= old[4] THEN excluded.folder_id ELSE t.folder_id END,
               CASE WHEN new[5] >= old[5] THEN excluded.display_name ELSE t.display_name END,
               CASE WHEN new[6] >= old[6] THEN excluded.filename ELSE t.filename END,
               CASE WHEN new[7] >= old[7] THEN excluded.content_type ELSE t.content_type END,
               CASE WHEN new[8] >= old[8] THEN excluded.updated_at ELSE t.updated_at END,
               CASE WHEN new[9] >= old[9] THEN excluded.lock_at ELSE t.lock_at END,
               CASE WHEN new[10] >= old[10] THEN excluded.unlock_at ELSE t.unlock_at END,
               CASE WHEN new[11] >= old[11] THEN excluded.uuid ELSE t.uuid END,
               CASE WHEN new[12] >= old[12] THEN excluded.size ELSE t.size END,
               CASE WHEN new[13] >= old[13] THEN excluded.url ELSE t.url END,
               CASE WHEN new[14] >= old[14] THEN excluded.folder_name ELSE t.folder_name END,
               CASE WHEN new[15] >= old[15] THEN excluded.thumbnail_url ELSE t.thumbnail_url END,
               CASE WHEN new[16] >= old[16] THEN excluded.created_at ELSE t.created_at END,
               CASE WHEN new[17] >= old[17] THEN excluded.workflow_state ELSE t.workflow_state END
        FROM (SELECT coalesce(excluded.stamps, array_fill(excluded.as_of, ARRAY[17])) AS new,
                     coalesce(t.stamps, array_fill(t.as_of, ARRAY[17])) AS old OFFSET 0) AS times
    );
