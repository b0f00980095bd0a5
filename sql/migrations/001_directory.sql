-- The institution as directory events describe it (CONTRACT 5). Clarion owns none of it and follows it.
-- References between these tables are not enforced, because a member may arrive before its user or course.
--
-- Events come late, twice and out of order, and an event need not hold every key. So the newest value of each key
-- wins, not the newest event: as_of is the time of the newest event of a row, and stamps, where it is not null, holds
-- the time of each key's value, in the order of service/domain/directory.py ('-infinity': never). stamps is null when
-- every key is as of as_of, which is what an event with all its keys leaves behind.

CREATE TABLE accounts (
    id                bigint PRIMARY KEY,
    name              text NOT NULL DEFAULT '',
    parent_account_id bigint,
    root_account_id   bigint,
    root_account_uuid text,  -- in the metadata of events (canvas/events.md 1.1)
    site_admin        boolean NOT NULL DEFAULT false,
    workflow_state    text NOT NULL DEFAULT 'active',
    as_of             timestamptz NOT NULL,
    stamps            timestamptz[]
);
CREATE INDEX accounts_parent ON accounts (parent_account_id);

-- Functions of generated columns and indexes stand here and are never replaced: stored values would be wrong.

-- The name people are sorted by: as the directory has it, else the last word of the name first.
CREATE FUNCTION sort_name(sortable_name text, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(nullif(btrim(sortable_name), ''), regexp_replace(btrim(name), '^(.*\S)\s+(\S+)$', '\2, \1'));

-- What the terms of a search are looked for in (canvas/endpoints.md 4.13). A term holds no white space, so none reaches
-- across the line. A short name that is part of the name is not looked at again; most are. Composed, because the same
-- letter may come as one character or as two.
CREATE FUNCTION search_text(name text, short_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN normalize(lower(name COLLATE "und-x-icu"), NFC) || CASE
        WHEN strpos(normalize(lower(name COLLATE "und-x-icu"), NFC),
                    normalize(lower(short_name COLLATE "und-x-icu"), NFC)) = 0
            THEN E'\n' || normalize(lower(short_name COLLATE "und-x-icu"), NFC)
        ELSE ''
    END;

-- A term of one or two letters holds no trigram: every two letters that stand together, and the last one. A letter is
-- looked for as the beginning of these. Lexemes, because they are compared byte by byte, at a third of the price of
-- text.
CREATE FUNCTION letters_and_pairs(searched text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    found text[] := '{}';
    letter text;
    before text := '';
BEGIN
    FOREACH letter IN ARRAY string_to_array(searched, NULL) LOOP
        found := found || (before || letter);
        before := letter;
    END LOOP;
    RETURN array_to_tsvector(array_remove(found || before, ''));
END $$;

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
    stamps              timestamptz[],
    -- What names are sorted by and what terms are looked for in, worked out once for all indexes and readers.
    sort_name           text COLLATE "und-x-icu" GENERATED ALWAYS AS (sort_name(sortable_name, name)) STORED,
    search_text         text COLLATE "C" GENERATED ALWAYS AS (search_text(name, short_name)) STORED
);
CREATE INDEX users_uuid ON users (uuid) WHERE uuid IS NOT NULL;
CREATE INDEX users_sis_id ON users (sis_id) WHERE sis_id IS NOT NULL;
CREATE INDEX users_login ON users (login) WHERE login IS NOT NULL;
-- The users whom an expansion of a course of 100,000 members has to leave out. Looking up every member's user would
-- cost four times as much as the rest.
CREATE INDEX users_unmessageable ON users (id) WHERE workflow_state NOT IN ('registered', 'pre_registered');
-- Accounts that are no more: a message that was on its way to one of them is looked for here and passed on
-- (canvas/semantics.md 2.6).
CREATE INDEX users_merged ON users (id) WHERE merged_into_user_id IS NOT NULL;
-- Pages in the order of names: a page is a stretch of this index.
CREATE INDEX users_by_name ON users (sort_name, id) WHERE workflow_state IN ('registered', 'pre_registered');
CREATE INDEX users_by_letters_and_pairs ON users USING gin (letters_and_pairs(search_text))
    WHERE workflow_state IN ('registered', 'pre_registered');
-- A rare name among very many. pg_trgm comes with the server's own package and is a trusted extension, which the
-- owner of a database may create. Where neither is so, the service works all the same: rare names are then looked
-- for from beginning to end. The index can be made at any later time.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX users_by_part_of_name ON users USING gin (search_text gin_trgm_ops)
        WHERE workflow_state IN ('registered', 'pre_registered');
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'pg_trgm cannot be used here; searches go without its index';
END $$;

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

-- One row collects both kinds of enrolment event; the first of them creates it. Until the enrollment event itself
-- arrives, course_id and user_id are null and the row counts nowhere.
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
-- The few of a course who are no students, where only they are asked for.
CREATE INDEX enrollments_not_students ON enrollments (course_id, type, user_id) WHERE type <> 'StudentEnrollment';
-- The observers of a user in a course.
CREATE INDEX enrollments_observing ON enrollments (associated_user_id, course_id) WHERE associated_user_id IS NOT NULL;

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

-- Enrolments of one course that a viewer may see, as service/domain/visibility.py asks for them; n, where there are
-- several questions, is the one that the range is part of.
CREATE TYPE enrollment_range AS (
    n integer, course_id bigint, section_id bigint, user_id bigint, types text[], all_observers boolean,
    concluded boolean
);
