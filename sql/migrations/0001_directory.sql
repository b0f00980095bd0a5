-- The institution as directory events describe it (CONTRACT 5). Clarion owns none of it and follows it.
-- References between these tables are not enforced, because a member may arrive before its user or course.
--
-- Events come late, twice and out of order, and an event need not tell every key. So the newest telling of each
-- key wins, not the newest event: as_of is the time of the newest event a row has heard, and stamps, where it is
-- not null, holds the time each key was last told, in the order of service/domain/directory.py ('-infinity':
-- never). stamps is null when every key is as of as_of, which is what an event with all its keys leaves behind.

-- The stamps of one event that told the keys whose bits are set in told; null: it told them all.
CREATE FUNCTION stamps_of(as_of timestamptz, told integer, keys integer) RETURNS timestamptz[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN told IS NOT NULL THEN ARRAY(
        SELECT CASE WHEN told >> k & 1 = 1 THEN as_of ELSE '-infinity' END FROM generate_series(0, keys - 1) AS k
    ) END;

-- Whether the new telling of a key beats the old one. Of two tellings with one time, the later arrival stays.
CREATE FUNCTION tells_newer(
    key integer, new_stamps timestamptz[], new_as_of timestamptz, old_stamps timestamptz[], old_as_of timestamptz
) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(new_stamps[key], new_as_of) >= coalesce(old_stamps[key], old_as_of);

-- When each key was last told, after both. Null again once one of the two told every key last.
CREATE FUNCTION merged_stamps(
    new_stamps timestamptz[], new_as_of timestamptz, old_stamps timestamptz[], old_as_of timestamptz
) RETURNS timestamptz[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN new_stamps IS NULL AND new_as_of >= old_as_of THEN NULL
        WHEN old_stamps IS NULL AND old_as_of >= new_as_of THEN NULL
        ELSE ARRAY(
            SELECT greatest(coalesce(new_stamps[k], new_as_of), coalesce(old_stamps[k], old_as_of))
            FROM generate_subscripts(coalesce(new_stamps, old_stamps), 1) AS k
        )
    END;

CREATE TABLE accounts (
    id                bigint PRIMARY KEY,
    name              text NOT NULL DEFAULT '',
    parent_account_id bigint,
    root_account_id   bigint,
    site_admin        boolean NOT NULL DEFAULT false,
    workflow_state    text NOT NULL DEFAULT 'active',
    as_of             timestamptz NOT NULL,
    stamps            timestamptz[]
);
CREATE INDEX accounts_parent ON accounts (parent_account_id);

CREATE TABLE users (
    id                  bigint PRIMARY KEY,
    uuid                text,
    name                text NOT NULL DEFAULT '',
    short_name          text,
    sortable_name       text,
    pronouns            text,
    avatar_url          text,
    login               text,
    sis_id              text,
    workflow_state      text NOT NULL,
    merged_into_user_id bigint,
    created_at          timestamptz,
    as_of               timestamptz NOT NULL,
    stamps              timestamptz[]
);
CREATE INDEX users_uuid ON users (uuid) WHERE uuid IS NOT NULL;
CREATE INDEX users_sis_id ON users (sis_id) WHERE sis_id IS NOT NULL;
CREATE INDEX users_login ON users (login) WHERE login IS NOT NULL;

-- user_account_association_created: a member of an account (read_roster there makes the person messageable).
CREATE TABLE user_accounts (
    user_id    bigint NOT NULL,
    account_id bigint NOT NULL,
    as_of      timestamptz NOT NULL,
    PRIMARY KEY (account_id, user_id)
);
CREATE INDEX user_accounts_user ON user_accounts (user_id);

-- account_user events: administrators. role 'AccountAdmin' holds every right, others what overrides grant.
CREATE TABLE account_users (
    id             bigint PRIMARY KEY,
    account_id     bigint NOT NULL,
    user_id        bigint NOT NULL,
    role           text NOT NULL,
    workflow_state text NOT NULL DEFAULT 'active',
    as_of          timestamptz NOT NULL,
    stamps         timestamptz[]
);
CREATE INDEX account_users_user ON account_users (user_id);

CREATE TABLE role_overrides (
    id             bigint PRIMARY KEY,
    context_type   text NOT NULL,  -- 'Account' or 'Course'
    context_id     bigint NOT NULL,
    role           text NOT NULL,
    permission     text NOT NULL,
    enabled        boolean NOT NULL,
    workflow_state text NOT NULL DEFAULT 'active',
    as_of          timestamptz NOT NULL,
    stamps         timestamptz[]
);
CREATE INDEX role_overrides_context ON role_overrides (context_type, context_id);

CREATE TABLE courses (
    id                                     bigint PRIMARY KEY,
    uuid                                   text,
    account_id                             bigint,
    name                                   text NOT NULL DEFAULT '',
    workflow_state                         text NOT NULL,
    start_at                               timestamptz,
    conclude_at                            timestamptz,
    restrict_enrollments_to_course_dates   boolean NOT NULL DEFAULT false,
    as_of                                  timestamptz NOT NULL,
    stamps                                 timestamptz[]
);
CREATE INDEX courses_account ON courses (account_id);

CREATE TABLE sections (
    id                                    bigint PRIMARY KEY,
    course_id                             bigint NOT NULL,
    name                                  text NOT NULL DEFAULT '',
    default_section                       boolean NOT NULL DEFAULT false,
    start_at                              timestamptz,
    end_at                                timestamptz,
    restrict_enrollments_to_section_dates boolean NOT NULL DEFAULT false,
    workflow_state                        text NOT NULL DEFAULT 'active',
    sis_source_id                         text,
    as_of                                 timestamptz NOT NULL,
    stamps                                timestamptz[]
);
CREATE INDEX sections_course ON sections (course_id);

-- One row collects both kinds of enrolment event; whichever comes first creates it. Until the enrollment
-- event itself arrives, course_id and user_id are null and the row counts nowhere.
CREATE TABLE enrollments (
    id                                 bigint PRIMARY KEY,
    course_id                          bigint,
    section_id                         bigint,
    user_id                            bigint,
    type                               text,
    associated_user_id                 bigint,
    limit_privileges_to_course_section boolean NOT NULL DEFAULT false,
    workflow_state                     text,
    as_of                              timestamptz NOT NULL DEFAULT '-infinity',
    stamps                             timestamptz[],
    date_state                         text,         -- state of the newest enrollment_state event
    date_state_as_of                   timestamptz NOT NULL DEFAULT '-infinity'
);
-- Expanding a course reads one range of this index in user order, and nothing but this index.
CREATE INDEX enrollments_course_user ON enrollments (course_id, user_id)
    INCLUDE (type, section_id, workflow_state, date_state, associated_user_id);
CREATE INDEX enrollments_user ON enrollments (user_id, course_id);
CREATE INDEX enrollments_section ON enrollments (section_id, user_id);

CREATE TABLE group_categories (
    id           bigint PRIMARY KEY,
    name         text NOT NULL DEFAULT '',
    context_type text,
    context_id   bigint,
    as_of        timestamptz NOT NULL,
    stamps       timestamptz[]
);

CREATE TABLE groups (
    id                bigint PRIMARY KEY,
    uuid              text,
    name              text NOT NULL DEFAULT '',
    group_category_id bigint,
    context_type      text,  -- 'Course' or 'Account'
    context_id        bigint,
    account_id        bigint,
    non_collaborative boolean NOT NULL DEFAULT false,  -- a differentiation tag
    workflow_state    text NOT NULL DEFAULT 'available',
    as_of             timestamptz NOT NULL,
    stamps            timestamptz[]
);
CREATE INDEX groups_context ON groups (context_type, context_id);

CREATE TABLE group_memberships (
    id             bigint PRIMARY KEY,
    group_id       bigint NOT NULL,
    user_id        bigint NOT NULL,
    workflow_state text NOT NULL,
    as_of          timestamptz NOT NULL,
    stamps         timestamptz[]
);
CREATE INDEX group_memberships_group ON group_memberships (group_id, user_id);
CREATE INDEX group_memberships_user ON group_memberships (user_id, group_id);

CREATE TABLE attachments (
    id             bigint PRIMARY KEY,
    user_id        bigint,
    context_type   text,
    context_id     bigint,
    folder_id      bigint,
    folder_name    text,
    uuid           text,
    display_name   text,
    filename       text,
    content_type   text,
    size           bigint,
    url            text,
    thumbnail_url  text,
    lock_at        timestamptz,
    unlock_at      timestamptz,
    workflow_state text NOT NULL DEFAULT 'available',
    created_at     timestamptz,
    updated_at     timestamptz,
    as_of          timestamptz NOT NULL,
    stamps         timestamptz[]
);
CREATE INDEX attachments_owner ON attachments (context_id) WHERE context_type = 'User';

-- An event that arrives again changes nothing and leaves no dead row behind.
DO $$
DECLARE
    followed text;
BEGIN
    FOREACH followed IN ARRAY ARRAY['accounts', 'users', 'user_accounts', 'account_users', 'role_overrides', 'courses',
        'sections', 'enrollments', 'group_categories', 'groups', 'group_memberships', 'attachments']
    LOOP
        EXECUTE format('CREATE TRIGGER unchanged BEFORE UPDATE ON %I FOR EACH ROW'
                       ' EXECUTE FUNCTION suppress_redundant_updates_trigger()', followed);
    END LOOP;
END $$;

-- standing: the state of an enrolment that counts now (CONTRACT 6.5), one of active, invited, completed,
-- inactive, pending, none. The enrolment's own end wins, then the last enrollment_state event, then the
-- section's dates, then the course's. A deleted course leaves none; a completed one completes everybody.
CREATE VIEW enrollment_standings AS
SELECT e.id, e.course_id, e.section_id, e.user_id, e.type, e.associated_user_id,
       e.limit_privileges_to_course_section AS section_limited,
       CASE
           WHEN e.workflow_state IN ('deleted', 'rejected') OR c.workflow_state = 'deleted' THEN 'none'
           WHEN e.workflow_state = 'completed' OR c.workflow_state = 'completed' THEN 'completed'
           WHEN e.workflow_state = 'inactive' THEN 'inactive'
           WHEN e.date_state IN ('deleted', 'rejected') THEN 'none'
           WHEN e.date_state IN ('pending_active', 'pending_invited', 'creation_pending') THEN 'pending'
           WHEN e.date_state IS NOT NULL THEN e.date_state
           WHEN s.restrict_enrollments_to_section_dates AND s.end_at <= now() THEN 'completed'
           WHEN s.restrict_enrollments_to_section_dates AND s.start_at > now() THEN 'pending'
           WHEN s.restrict_enrollments_to_section_dates AND (s.start_at IS NOT NULL OR s.end_at IS NOT NULL)
               THEN CASE e.workflow_state WHEN 'creation_pending' THEN 'invited' ELSE e.workflow_state END
           WHEN c.restrict_enrollments_to_course_dates AND c.conclude_at <= now() THEN 'completed'
           WHEN c.restrict_enrollments_to_course_dates AND c.start_at > now() THEN 'pending'
           WHEN e.workflow_state = 'creation_pending' THEN 'invited'
           ELSE e.workflow_state
       END AS standing
FROM enrollments e
JOIN courses c ON c.id = e.course_id
LEFT JOIN sections s ON s.id = e.section_id;

-- codes(user) of canvas/semantics.md 4.2: what a user's conversations may be tagged with, and whether it is current.
-- Several enrolments in one course give several rows.
CREATE VIEW user_codes AS
SELECT e.user_id, 'course_' || e.course_id AS code, e.standing IN ('active', 'invited') AS active
FROM enrollment_standings e
WHERE e.standing IN ('active', 'invited', 'completed') AND e.type <> 'StudentViewEnrollment'
UNION ALL
SELECT m.user_id, 'group_' || m.group_id, g.workflow_state = 'available' AND coalesce(c.workflow_state, '') NOT IN ('completed', 'deleted')
FROM group_memberships m
JOIN groups g ON g.id = m.group_id
LEFT JOIN courses c ON g.context_type = 'Course' AND c.id = g.context_id
WHERE m.workflow_state = 'accepted' AND g.workflow_state <> 'deleted' AND NOT g.non_collaborative;
