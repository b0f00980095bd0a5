-- name: take_roster_turn :none
-- Until the end of the transaction nobody else writes users, enrolments or memberships: the rosters of places, derived
-- from several of them, would miss what two transactions do not yet see of each other. Taken before any row is locked,
-- so that nobody who waits for it holds what others need.
SELECT take_roster_turn();

-- The directory as events tell it. Each statement takes a set of changes as parallel arrays, a row at most once and
-- in ascending order, which is the one lock order: $1 ids, $2 as_of, $3 told (a bit per key, null = all), then the
-- keys in the order of service/domain/directory_shapes.py, which is also that of stamps. A key is overwritten by a
-- telling as new or newer (schema/01_directory.sql); a row in which nothing changes is left alone by its trigger.

-- name: upsert_accounts :none
-- What accounts say of themselves.
INSERT INTO accounts AS t (
    id, name, workflow_state, root_account_id, parent_account_id, root_account_uuid, site_admin, as_of, stamps
)
SELECT
    e.id, coalesce(e.name, ''), coalesce(e.workflow_state, 'active'), e.root_account_id, e.parent_account_id,
    e.root_account_uuid, coalesce(e.site_admin, false), e.as_of, stamps_of(e.as_of, e.told, 6)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::text[], $9::boolean[]
) AS e (
    id, as_of, told, name, workflow_state, root_account_id, parent_account_id, root_account_uuid, site_admin
)
ON CONFLICT (id) DO UPDATE SET
    name = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.name ELSE t.name END,
    workflow_state = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    root_account_id = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.root_account_id ELSE t.root_account_id END,
    parent_account_id = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.parent_account_id ELSE t.parent_account_id END,
    root_account_uuid = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.root_account_uuid ELSE t.root_account_uuid END,
    site_admin = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.site_admin ELSE t.site_admin END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_users :none
-- People; user_merged is one more telling of the same row.
INSERT INTO users AS t (
    id, uuid, name, short_name, workflow_state, created_at, login, sis_id, sortable_name, pronouns, avatar_url,
    merged_into_user_id, as_of, stamps
)
SELECT
    e.id, e.uuid, coalesce(e.name, ''), e.short_name, coalesce(e.workflow_state, 'registered'), e.created_at,
    e.login, e.sis_id, e.sortable_name, e.pronouns, e.avatar_url, e.merged_into_user_id, e.as_of,
    stamps_of(e.as_of, e.told, 11)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[]
) AS e (
    id, as_of, told, uuid, name, short_name, workflow_state, created_at, login, sis_id, sortable_name, pronouns,
    avatar_url, merged_into_user_id
)
ON CONFLICT (id) DO UPDATE SET
    uuid = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.uuid ELSE t.uuid END,
    name = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.name ELSE t.name END,
    short_name = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.short_name ELSE t.short_name END,
    workflow_state = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    created_at = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.created_at ELSE t.created_at END,
    login = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.login ELSE t.login END,
    sis_id = CASE WHEN tells_newer(7, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.sis_id ELSE t.sis_id END,
    sortable_name = CASE WHEN tells_newer(8, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.sortable_name ELSE t.sortable_name END,
    pronouns = CASE WHEN tells_newer(9, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.pronouns ELSE t.pronouns END,
    avatar_url = CASE WHEN tells_newer(10, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.avatar_url ELSE t.avatar_url END,
    merged_into_user_id = CASE WHEN tells_newer(11, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.merged_into_user_id ELSE t.merged_into_user_id END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_user_accounts :none
-- Members of accounts ($1 account ids, $2 user ids, $3 as_of). They are only ever added.
INSERT INTO user_accounts AS t (account_id, user_id, as_of)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[])
ON CONFLICT (account_id, user_id) DO UPDATE SET as_of = greatest(t.as_of, excluded.as_of);

-- name: upsert_account_users :none
-- Administrators of accounts.
INSERT INTO account_users AS t (
    id, account_id, user_id, role, workflow_state, as_of, stamps
)
SELECT
    e.id, e.account_id, e.user_id, coalesce(e.role, ''), coalesce(e.workflow_state, 'active'), e.as_of,
    stamps_of(e.as_of, e.told, 4)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::bigint[], $6::text[], $7::text[]
) AS e (
    id, as_of, told, account_id, user_id, role, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    account_id = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.account_id ELSE t.account_id END,
    user_id = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.user_id ELSE t.user_id END,
    role = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.role ELSE t.role END,
    workflow_state = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_role_overrides :none
-- What roles may do in an account or course. An override without its role or permission matches nobody.
INSERT INTO role_overrides AS t (
    id, context_type, context_id, role, permission, enabled, workflow_state, as_of, stamps
)
SELECT
    e.id, coalesce(e.context_type, ''), e.context_id, coalesce(e.role, ''), coalesce(e.permission, ''),
    coalesce(e.enabled, false), coalesce(e.workflow_state, 'active'), e.as_of, stamps_of(e.as_of, e.told, 6)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::bigint[], $6::text[], $7::text[],
    $8::boolean[], $9::text[]
) AS e (
    id, as_of, told, context_type, context_id, role, permission, enabled, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    context_type = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_type ELSE t.context_type END,
    context_id = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_id ELSE t.context_id END,
    role = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.role ELSE t.role END,
    permission = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.permission ELSE t.permission END,
    enabled = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.enabled ELSE t.enabled END,
    workflow_state = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_courses :none
-- Courses, with the dates that no Canvas event tells.
INSERT INTO courses AS t (
    id, uuid, account_id, name, workflow_state, start_at, conclude_at, restrict_enrollments_to_course_dates,
    as_of, stamps
)
SELECT
    e.id, e.uuid, e.account_id, coalesce(e.name, ''), coalesce(e.workflow_state, 'available'), e.start_at,
    e.conclude_at, coalesce(e.restrict_enrollments_to_course_dates, false), e.as_of,
    stamps_of(e.as_of, e.told, 7)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::bigint[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[], $10::boolean[]
) AS e (
    id, as_of, told, uuid, account_id, name, workflow_state, start_at, conclude_at,
    restrict_enrollments_to_course_dates
)
ON CONFLICT (id) DO UPDATE SET
    uuid = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.uuid ELSE t.uuid END,
    account_id = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.account_id ELSE t.account_id END,
    name = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.name ELSE t.name END,
    workflow_state = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    start_at = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.start_at ELSE t.start_at END,
    conclude_at = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.conclude_at ELSE t.conclude_at END,
    restrict_enrollments_to_course_dates = CASE WHEN tells_newer(7, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.restrict_enrollments_to_course_dates ELSE t.restrict_enrollments_to_course_dates END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_sections :none
-- Sections of courses.
INSERT INTO sections AS t (
    id, course_id, name, default_section, restrict_enrollments_to_section_dates, workflow_state, start_at,
    end_at, sis_source_id, as_of, stamps
)
SELECT
    e.id, e.course_id, coalesce(e.name, ''), coalesce(e.default_section, false),
    coalesce(e.restrict_enrollments_to_section_dates, false), coalesce(e.workflow_state, 'active'), e.start_at,
    e.end_at, e.sis_source_id, e.as_of, stamps_of(e.as_of, e.told, 8)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::text[], $6::boolean[], $7::boolean[],
    $8::text[], $9::timestamptz[], $10::timestamptz[], $11::text[]
) AS e (
    id, as_of, told, course_id, name, default_section, restrict_enrollments_to_section_dates, workflow_state,
    start_at, end_at, sis_source_id
)
ON CONFLICT (id) DO UPDATE SET
    course_id = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.course_id ELSE t.course_id END,
    name = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.name ELSE t.name END,
    default_section = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.default_section ELSE t.default_section END,
    restrict_enrollments_to_section_dates = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.restrict_enrollments_to_section_dates ELSE t.restrict_enrollments_to_section_dates END,
    workflow_state = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    start_at = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.start_at ELSE t.start_at END,
    end_at = CASE WHEN tells_newer(7, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.end_at ELSE t.end_at END,
    sis_source_id = CASE WHEN tells_newer(8, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.sis_source_id ELSE t.sis_source_id END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_enrollments :none
-- Enrolments and their date-aware states ($11 ids, $12 as_of, $13 state), which come by events of their own into the
-- same rows, often first: such a row counts nowhere until its enrolment is told. One statement for both, because
-- two would lock the rows in two orders.
INSERT INTO enrollments AS t (
    id, course_id, section_id, user_id, type, limit_privileges_to_course_section, workflow_state, associated_user_id,
    as_of, stamps, date_state_as_of, date_state
)
SELECT
    id, e.course_id, e.section_id, e.user_id, e.type, coalesce(e.limit_privileges_to_course_section, false),
    coalesce(e.workflow_state, 'active'), e.associated_user_id, coalesce(e.as_of, '-infinity'),
    stamps_of(e.as_of, e.told, 7), coalesce(s.as_of, '-infinity'), s.date_state
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[],
    $8::boolean[], $9::text[], $10::bigint[]
) AS e (
    id, as_of, told, course_id, section_id, user_id, type, limit_privileges_to_course_section, workflow_state,
    associated_user_id
)
FULL JOIN unnest($11::bigint[], $12::timestamptz[], $13::text[]) AS s (id, as_of, date_state) USING (id)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET
    course_id = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.course_id ELSE t.course_id END,
    section_id = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.section_id ELSE t.section_id END,
    user_id = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.user_id ELSE t.user_id END,
    type = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.type ELSE t.type END,
    limit_privileges_to_course_section = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.limit_privileges_to_course_section ELSE t.limit_privileges_to_course_section END,
    workflow_state = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    associated_user_id = CASE WHEN tells_newer(7, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.associated_user_id ELSE t.associated_user_id END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of),
    date_state_as_of = greatest(t.date_state_as_of, excluded.date_state_as_of),
    date_state = CASE WHEN excluded.date_state_as_of >= t.date_state_as_of
        THEN excluded.date_state ELSE t.date_state END;

-- name: upsert_group_categories :none
-- Sets of groups.
INSERT INTO group_categories AS t (
    id, name, context_type, context_id, as_of, stamps
)
SELECT
    e.id, coalesce(e.name, ''), e.context_type, e.context_id, e.as_of, stamps_of(e.as_of, e.told, 3)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::text[], $6::bigint[]
) AS e (
    id, as_of, told, name, context_type, context_id
)
ON CONFLICT (id) DO UPDATE SET
    name = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.name ELSE t.name END,
    context_type = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_type ELSE t.context_type END,
    context_id = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_id ELSE t.context_id END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_groups :none
-- Groups and differentiation tags.
INSERT INTO groups AS t (
    id, uuid, name, context_type, context_id, account_id, workflow_state, group_category_id, non_collaborative,
    as_of, stamps
)
SELECT
    e.id, e.uuid, coalesce(e.name, ''), e.context_type, e.context_id, e.account_id,
    coalesce(e.workflow_state, 'available'), e.group_category_id, coalesce(e.non_collaborative, false), e.as_of,
    stamps_of(e.as_of, e.told, 8)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bigint[],
    $8::bigint[], $9::text[], $10::bigint[], $11::boolean[]
) AS e (
    id, as_of, told, uuid, name, context_type, context_id, account_id, workflow_state, group_category_id,
    non_collaborative
)
ON CONFLICT (id) DO UPDATE SET
    uuid = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.uuid ELSE t.uuid END,
    name = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.name ELSE t.name END,
    context_type = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_type ELSE t.context_type END,
    context_id = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_id ELSE t.context_id END,
    account_id = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.account_id ELSE t.account_id END,
    workflow_state = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    group_category_id = CASE WHEN tells_newer(7, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.group_category_id ELSE t.group_category_id END,
    non_collaborative = CASE WHEN tells_newer(8, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.non_collaborative ELSE t.non_collaborative END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_group_memberships :none
-- Who is in which group.
INSERT INTO group_memberships AS t (
    id, group_id, user_id, workflow_state, as_of, stamps
)
SELECT
    e.id, e.group_id, e.user_id, coalesce(e.workflow_state, 'accepted'), e.as_of, stamps_of(e.as_of, e.told, 3)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::bigint[], $6::text[]
) AS e (
    id, as_of, told, group_id, user_id, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    group_id = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.group_id ELSE t.group_id END,
    user_id = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.user_id ELSE t.user_id END,
    workflow_state = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);

-- name: upsert_attachments :none
-- Files; attachment_deleted is one more telling of the same row.
INSERT INTO attachments AS t (
    id, user_id, context_type, context_id, folder_id, display_name, filename, content_type, updated_at, lock_at,
    unlock_at, uuid, size, url, folder_name, thumbnail_url, created_at, workflow_state, as_of, stamps
)
SELECT
    e.id, e.user_id, e.context_type, e.context_id, e.folder_id, e.display_name, e.filename, e.content_type,
    e.updated_at, e.lock_at, e.unlock_at, e.uuid, e.size, e.url, e.folder_name, e.thumbnail_url, e.created_at,
    coalesce(e.workflow_state, 'available'), e.as_of, stamps_of(e.as_of, e.told, 17)
FROM unnest(
    $1::bigint[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
    $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
    $14::text[], $15::bigint[], $16::text[], $17::text[], $18::text[], $19::timestamptz[], $20::text[]
) AS e (
    id, as_of, told, user_id, context_type, context_id, folder_id, display_name, filename, content_type,
    updated_at, lock_at, unlock_at, uuid, size, url, folder_name, thumbnail_url, created_at, workflow_state
)
ON CONFLICT (id) DO UPDATE SET
    user_id = CASE WHEN tells_newer(1, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.user_id ELSE t.user_id END,
    context_type = CASE WHEN tells_newer(2, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_type ELSE t.context_type END,
    context_id = CASE WHEN tells_newer(3, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.context_id ELSE t.context_id END,
    folder_id = CASE WHEN tells_newer(4, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.folder_id ELSE t.folder_id END,
    display_name = CASE WHEN tells_newer(5, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.display_name ELSE t.display_name END,
    filename = CASE WHEN tells_newer(6, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.filename ELSE t.filename END,
    content_type = CASE WHEN tells_newer(7, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.content_type ELSE t.content_type END,
    updated_at = CASE WHEN tells_newer(8, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.updated_at ELSE t.updated_at END,
    lock_at = CASE WHEN tells_newer(9, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.lock_at ELSE t.lock_at END,
    unlock_at = CASE WHEN tells_newer(10, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.unlock_at ELSE t.unlock_at END,
    uuid = CASE WHEN tells_newer(11, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.uuid ELSE t.uuid END,
    size = CASE WHEN tells_newer(12, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.size ELSE t.size END,
    url = CASE WHEN tells_newer(13, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.url ELSE t.url END,
    folder_name = CASE WHEN tells_newer(14, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.folder_name ELSE t.folder_name END,
    thumbnail_url = CASE WHEN tells_newer(15, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.thumbnail_url ELSE t.thumbnail_url END,
    created_at = CASE WHEN tells_newer(16, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.created_at ELSE t.created_at END,
    workflow_state = CASE WHEN tells_newer(17, excluded.stamps, excluded.as_of, t.stamps, t.as_of)
        THEN excluded.workflow_state ELSE t.workflow_state END,
    as_of = greatest(t.as_of, excluded.as_of),
    stamps = merged_stamps(excluded.stamps, excluded.as_of, t.stamps, t.as_of);
