-- The whole schema, as `clarion migrate` makes it: written by ./deploy/schema, to be read and never applied. Why a
-- table is as it is stands in sql/migrations. The last part are the functions, views and triggers of sql/schema.

CREATE SEQUENCE id_blocks START WITH 2000 INCREMENT BY 2000;

CREATE SEQUENCE sis_id_numbers START WITH 9000000000000 INCREMENT BY 1;

CREATE SEQUENCE slice_positions START WITH 1000000000 INCREMENT BY 1;

CREATE TYPE enrollment_range AS (
    n integer,
    course_id bigint,
    section_id bigint,
    user_id bigint,
    types text[],
    all_observers boolean,
    concluded boolean
);

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

-- One number for "in which context", 0 for none, so that the pair's key stays three bigints. Stored in
-- participants.private_context, and so never replaced by a function that gives other numbers.
CREATE FUNCTION context_key(context_type text, context_id bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE context_type WHEN 'Course' THEN context_id * 4 + 1 WHEN 'Group' THEN context_id * 4 + 2
                             WHEN 'Account' THEN context_id * 4 + 3 ELSE 0 END;

-- Rows of one lane are published in the order of their ids, by one relay at a time. Ids come in blocks of 2000, and all
-- threads of a new chunk are in one block, so one row of one lane stands for them. Never replaced: rows of one
-- conversation in two lanes would lose their order.
CREATE FUNCTION outbox_lane(conversation_id bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (conversation_id / 2000 % 16)::smallint;

CREATE TABLE schema_migrations (
    version text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);

CREATE TABLE schema_definitions (
    file text NOT NULL,
    digest text NOT NULL,
    revision integer NOT NULL,
    CONSTRAINT schema_definitions_pkey PRIMARY KEY (file)
);

CREATE TABLE accounts (
    id bigint NOT NULL,
    name text NOT NULL DEFAULT ''::text,
    parent_account_id bigint,
    root_account_id bigint,
    root_account_uuid text,
    site_admin boolean NOT NULL DEFAULT false,
    workflow_state text NOT NULL DEFAULT 'active'::text,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT accounts_pkey PRIMARY KEY (id)
);
CREATE INDEX accounts_parent ON accounts USING btree (parent_account_id);
CREATE TRIGGER unchanged BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE users (
    id bigint NOT NULL,
    uuid text,
    name text NOT NULL DEFAULT ''::text,
    short_name text,
    sortable_name text,
    pronouns text,
    avatar_url text,
    login text,
    sis_id text,
    workflow_state text NOT NULL,
    merged_into_user_id bigint,
    created_at timestamp with time zone,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    sort_name text COLLATE "und-x-icu" GENERATED ALWAYS AS (sort_name(sortable_name, name)) STORED,
    search_text text COLLATE "C" GENERATED ALWAYS AS (search_text(name, short_name)) STORED,
    CONSTRAINT users_pkey PRIMARY KEY (id)
);
CREATE INDEX users_by_letters_and_pairs ON users USING gin (letters_and_pairs(search_text)) WHERE workflow_state = ANY (ARRAY['registered'::text, 'pre_registered'::text]);
CREATE INDEX users_by_name ON users USING btree (sort_name, id) WHERE workflow_state = ANY (ARRAY['registered'::text, 'pre_registered'::text]);
CREATE INDEX users_by_part_of_name ON users USING gin (search_text gin_trgm_ops) WHERE workflow_state = ANY (ARRAY['registered'::text, 'pre_registered'::text]);  -- where the server has pg_trgm
CREATE INDEX users_login ON users USING btree (login) WHERE login IS NOT NULL;
CREATE INDEX users_merged ON users USING btree (id) WHERE merged_into_user_id IS NOT NULL;
CREATE INDEX users_sis_id ON users USING btree (sis_id) WHERE sis_id IS NOT NULL;
CREATE INDEX users_unmessageable ON users USING btree (id) WHERE workflow_state <> ALL (ARRAY['registered'::text, 'pre_registered'::text]);
CREATE INDEX users_uuid ON users USING btree (uuid) WHERE uuid IS NOT NULL;
CREATE TRIGGER rosters_arrived AFTER INSERT ON users REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_users();
CREATE TRIGGER rosters_changed AFTER UPDATE ON users REFERENCING OLD TABLE AS gone NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_users();
CREATE TRIGGER unchanged BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TRIGGER users_arrived AFTER INSERT ON users REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION forget_unknown_members();

CREATE TABLE user_accounts (
    user_id bigint NOT NULL,
    account_id bigint NOT NULL,
    as_of timestamp with time zone NOT NULL,
    CONSTRAINT user_accounts_pkey PRIMARY KEY (account_id, user_id)
);
CREATE INDEX user_accounts_user ON user_accounts USING btree (user_id);
CREATE TRIGGER unchanged BEFORE UPDATE ON user_accounts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE account_users (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    workflow_state text NOT NULL DEFAULT 'active'::text,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT account_users_pkey PRIMARY KEY (id)
);
CREATE INDEX account_users_user ON account_users USING btree (user_id);
CREATE TRIGGER unchanged BEFORE UPDATE ON account_users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE role_overrides (
    id bigint NOT NULL,
    context_type text NOT NULL,
    context_id bigint NOT NULL,
    role text NOT NULL,
    permission text NOT NULL,
    enabled boolean NOT NULL,
    workflow_state text NOT NULL DEFAULT 'active'::text,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT role_overrides_pkey PRIMARY KEY (id)
);
CREATE INDEX role_overrides_context ON role_overrides USING btree (context_type, context_id);
CREATE TRIGGER unchanged BEFORE UPDATE ON role_overrides FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE courses (
    id bigint NOT NULL,
    uuid text,
    account_id bigint,
    name text NOT NULL DEFAULT ''::text,
    workflow_state text NOT NULL,
    start_at timestamp with time zone,
    conclude_at timestamp with time zone,
    restrict_enrollments_to_course_dates boolean NOT NULL DEFAULT false,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT courses_pkey PRIMARY KEY (id)
);
CREATE INDEX courses_account ON courses USING btree (account_id);
CREATE TRIGGER unchanged BEFORE UPDATE ON courses FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE sections (
    id bigint NOT NULL,
    course_id bigint NOT NULL,
    name text NOT NULL DEFAULT ''::text,
    default_section boolean NOT NULL DEFAULT false,
    start_at timestamp with time zone,
    end_at timestamp with time zone,
    restrict_enrollments_to_section_dates boolean NOT NULL DEFAULT false,
    workflow_state text NOT NULL DEFAULT 'active'::text,
    sis_source_id text,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT sections_pkey PRIMARY KEY (id)
);
CREATE INDEX sections_course ON sections USING btree (course_id);
CREATE INDEX sections_sis_source_id ON sections USING btree (sis_source_id) WHERE sis_source_id IS NOT NULL;
CREATE TRIGGER unchanged BEFORE UPDATE ON sections FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE enrollments (
    id bigint NOT NULL,
    course_id bigint,
    section_id bigint,
    user_id bigint,
    type text,
    associated_user_id bigint,
    limit_privileges_to_course_section boolean NOT NULL DEFAULT false,
    workflow_state text,
    as_of timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
    stamps timestamp with time zone[],
    date_state text,
    date_state_as_of timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
    CONSTRAINT enrollments_pkey PRIMARY KEY (id)
);
CREATE INDEX enrollments_course_user ON enrollments USING btree (course_id, user_id) INCLUDE (type, section_id, workflow_state, date_state, associated_user_id);
CREATE INDEX enrollments_not_students ON enrollments USING btree (course_id, type, user_id) WHERE type <> 'StudentEnrollment'::text;
CREATE INDEX enrollments_observing ON enrollments USING btree (associated_user_id, course_id) WHERE associated_user_id IS NOT NULL;
CREATE INDEX enrollments_section ON enrollments USING btree (section_id, user_id);
CREATE INDEX enrollments_user ON enrollments USING btree (user_id, course_id);
CREATE TRIGGER enrollments_arrived AFTER INSERT ON enrollments REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION note_unknown_members();
CREATE TRIGGER enrollments_changed AFTER UPDATE ON enrollments REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION note_unknown_members();
CREATE TRIGGER rosters_arrived AFTER INSERT ON enrollments REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_enrollments();
CREATE TRIGGER rosters_changed AFTER UPDATE ON enrollments REFERENCING OLD TABLE AS gone NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_enrollments();
CREATE TRIGGER unchanged BEFORE UPDATE ON enrollments FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE group_categories (
    id bigint NOT NULL,
    name text NOT NULL DEFAULT ''::text,
    context_type text,
    context_id bigint,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT group_categories_pkey PRIMARY KEY (id)
);
CREATE TRIGGER unchanged BEFORE UPDATE ON group_categories FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE groups (
    id bigint NOT NULL,
    uuid text,
    name text NOT NULL DEFAULT ''::text,
    group_category_id bigint,
    context_type text,
    context_id bigint,
    account_id bigint,
    non_collaborative boolean NOT NULL DEFAULT false,
    workflow_state text NOT NULL DEFAULT 'available'::text,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT groups_pkey PRIMARY KEY (id)
);
CREATE INDEX groups_context ON groups USING btree (context_type, context_id);
CREATE TRIGGER unchanged BEFORE UPDATE ON groups FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE group_memberships (
    id bigint NOT NULL,
    group_id bigint NOT NULL,
    user_id bigint NOT NULL,
    workflow_state text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT group_memberships_pkey PRIMARY KEY (id)
);
CREATE INDEX group_memberships_group ON group_memberships USING btree (group_id, user_id);
CREATE INDEX group_memberships_user ON group_memberships USING btree (user_id, group_id);
CREATE TRIGGER rosters_arrived AFTER INSERT ON group_memberships REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_group_memberships();
CREATE TRIGGER rosters_changed AFTER UPDATE ON group_memberships REFERENCING OLD TABLE AS gone NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_group_memberships();
CREATE TRIGGER unchanged BEFORE UPDATE ON group_memberships FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE attachments (
    id bigint NOT NULL,
    user_id bigint,
    context_type text,
    context_id bigint,
    folder_id bigint,
    folder_name text,
    uuid text,
    display_name text,
    filename text,
    content_type text,
    size bigint,
    url text,
    thumbnail_url text,
    lock_at timestamp with time zone,
    unlock_at timestamp with time zone,
    workflow_state text NOT NULL DEFAULT 'available'::text,
    created_at timestamp with time zone,
    updated_at timestamp with time zone,
    as_of timestamp with time zone NOT NULL,
    stamps timestamp with time zone[],
    CONSTRAINT attachments_pkey PRIMARY KEY (id)
);
CREATE INDEX attachments_owner ON attachments USING btree (context_id) WHERE context_type = 'User'::text;
CREATE TRIGGER unchanged BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE TABLE unknown_members (
    user_id bigint NOT NULL,
    CONSTRAINT unknown_members_pkey PRIMARY KEY (user_id)
);

CREATE TABLE rosters (
    user_id bigint NOT NULL,
    place "char" NOT NULL,
    place_id bigint NOT NULL,
    sort_name text COLLATE "und-x-icu",
    ways jsonb,
    CONSTRAINT rosters_pkey PRIMARY KEY (user_id, place, place_id)
);
CREATE INDEX rosters_by_name ON rosters USING btree (place, place_id, sort_name, user_id) WHERE sort_name IS NOT NULL;

CREATE TABLE headcounts (
    course_id bigint NOT NULL,
    digest uuid NOT NULL,
    ways jsonb NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT headcounts_pkey PRIMARY KEY (course_id, digest)
);

CREATE TABLE sends (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    author_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    body text NOT NULL,
    subject character varying(255),
    private boolean NOT NULL,
    context_type text,
    context_id bigint,
    root_account_ids bigint[] NOT NULL,
    attachment_ids bigint[] NOT NULL DEFAULT '{}'::bigint[],
    forwarded_message_ids bigint[] NOT NULL DEFAULT '{}'::bigint[],
    forwarded_conversation_id bigint,
    media_id text,
    added_user_ids bigint[],
    has_attachments boolean NOT NULL DEFAULT false,
    has_media_objects boolean NOT NULL DEFAULT false,
    automated boolean NOT NULL DEFAULT false,
    CONSTRAINT sends_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
CREATE INDEX sends_forwarded ON sends USING btree (forwarded_conversation_id) WHERE forwarded_conversation_id IS NOT NULL;

CREATE TABLE tag_sets (
    id integer NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    codes text[] NOT NULL,
    CONSTRAINT tag_sets_pkey PRIMARY KEY (id),
    CONSTRAINT tag_sets_codes_key UNIQUE (codes)
);
CREATE INDEX tag_sets_codes ON tag_sets USING gin (codes);

CREATE TABLE conversations (
    id bigint NOT NULL,
    send_id bigint NOT NULL,
    tag_set integer NOT NULL,
    first_tag_set integer NOT NULL,
    has_attachments boolean NOT NULL,
    has_media_objects boolean NOT NULL,
    earliest_send_id bigint,
    CONSTRAINT conversations_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);

CREATE TABLE messages (
    conversation_id bigint NOT NULL,
    id bigint NOT NULL,
    send_id bigint NOT NULL,
    tag_set integer NOT NULL,
    restricted boolean NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (conversation_id, id)
) WITH (autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);

CREATE TABLE message_views (
    conversation_id bigint NOT NULL,
    message_id bigint NOT NULL,
    user_id bigint NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT message_views_pkey PRIMARY KEY (conversation_id, user_id, message_id)
) WITH (autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
CREATE INDEX message_views_deleted ON message_views USING btree (user_id, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE participants (
    conversation_id bigint NOT NULL,
    user_id bigint NOT NULL,
    last_message_at timestamp with time zone,
    last_authored_at timestamp with time zone,
    visible_last_authored_at timestamp with time zone,
    touched_at timestamp with time zone,
    history_from timestamp with time zone,
    private_peer_id bigint,
    private_context bigint,
    tag_set integer NOT NULL,
    message_count integer NOT NULL,
    unread boolean NOT NULL,
    archived boolean NOT NULL DEFAULT false,
    subscribed boolean NOT NULL DEFAULT true,
    starred boolean NOT NULL DEFAULT false,
    has_attachments boolean NOT NULL,
    has_media_objects boolean NOT NULL,
    CONSTRAINT participants_pkey PRIMARY KEY (conversation_id, user_id)
) WITH (fillfactor=95, autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
CREATE INDEX participants_archived ON participants USING btree (user_id, last_message_at, conversation_id) WHERE last_message_at IS NOT NULL AND archived;
CREATE INDEX participants_inbox ON participants USING btree (user_id, last_message_at, conversation_id) WHERE last_message_at IS NOT NULL AND NOT archived;
CREATE UNIQUE INDEX participants_private_pair ON participants USING btree (user_id, private_peer_id, private_context) WHERE private_peer_id IS NOT NULL;
CREATE INDEX participants_sent ON participants USING btree (user_id, visible_last_authored_at, conversation_id) WHERE visible_last_authored_at IS NOT NULL;
CREATE INDEX participants_starred ON participants USING btree (user_id, conversation_id) WHERE starred;

CREATE TABLE media_objects (
    media_id text NOT NULL,
    media_type text NOT NULL,
    title text,
    owner_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT media_objects_pkey PRIMARY KEY (media_id)
);

CREATE TABLE journal_entries (
    send_id bigint NOT NULL,
    user_id bigint NOT NULL,
    CONSTRAINT journal_entries_pkey PRIMARY KEY (user_id, send_id)
);

CREATE TABLE batches (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    send_id bigint NOT NULL,
    sender_id bigint NOT NULL,
    message_id bigint NOT NULL,
    tags text[] NOT NULL,
    user_note boolean NOT NULL,
    state text NOT NULL,
    total integer NOT NULL,
    delivered integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    skipped integer NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    traceparent text,
    members_of_course bigint,
    send_at timestamp with time zone,
    error text,
    recheck boolean NOT NULL DEFAULT false,
    splits integer NOT NULL DEFAULT 0,
    moves integer NOT NULL DEFAULT 0,
    audiences text[] NOT NULL DEFAULT '{}'::text[],
    from_conversation_id bigint,
    audited_end timestamp with time zone,
    moved_at timestamp with time zone,
    forgotten_at timestamp with time zone,
    measured_end timestamp with time zone,
    CONSTRAINT batches_pkey PRIMARY KEY (id),
    CONSTRAINT batches_check CHECK ((delivered + failed + skipped) <= total),
    CONSTRAINT batches_state_check CHECK (state = ANY (ARRAY['scheduled'::text, 'created'::text, 'sending'::text, 'paused'::text, 'sent'::text, 'cancelled'::text, 'error'::text]))
) WITH (fillfactor=70, autovacuum_vacuum_threshold=100, autovacuum_vacuum_scale_factor=0.02);
CREATE INDEX batches_cancelling ON batches USING btree (id) WHERE state = 'cancelled'::text AND finished_at IS NULL;
CREATE INDEX batches_forgetting ON batches USING btree (id) WHERE forgotten_at = 'infinity'::timestamp with time zone;
CREATE INDEX batches_remembered ON batches USING btree (finished_at) WHERE finished_at IS NOT NULL AND forgotten_at IS NULL;
CREATE INDEX batches_scheduled ON batches USING btree (send_at) WHERE state = 'scheduled'::text;
CREATE INDEX batches_sender ON batches USING btree (sender_id, id);
CREATE INDEX batches_unaudited ON batches USING btree (finished_at) WHERE finished_at > COALESCE(audited_end, '-infinity'::timestamp with time zone);
CREATE INDEX batches_unfinished ON batches USING btree (id) WHERE state = ANY (ARRAY['created'::text, 'sending'::text]);
CREATE INDEX batches_unmeasured ON batches USING btree (finished_at) WHERE finished_at > COALESCE(measured_end, '-infinity'::timestamp with time zone);
CREATE TRIGGER batch_moved AFTER UPDATE OF state, send_at, error ON batches FOR EACH ROW WHEN (old.send_at IS DISTINCT FROM new.send_at OR old.error IS DISTINCT FROM new.error OR old.state <> new.state AND ((old.state <> ALL (ARRAY['created'::text, 'sending'::text])) OR (new.state <> ALL (ARRAY['sending'::text, 'sent'::text, 'error'::text])))) EXECUTE FUNCTION notify_of_move();

CREATE TABLE chunks (
    batch_id bigint NOT NULL,
    "position" integer NOT NULL,
    first_id bigint NOT NULL,
    recipients bigint[] COMPRESSION lz4 NOT NULL,
    skipped integer NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'pending'::text,
    conversation_ids bigint[] COMPRESSION lz4,
    attempts integer NOT NULL DEFAULT 0,
    tried_at timestamp with time zone,
    error text,
    due_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    redeliveries integer NOT NULL DEFAULT 0,
    lowest_user_id bigint GENERATED ALWAYS AS (recipients[1]) STORED,
    highest_user_id bigint GENERATED ALWAYS AS (recipients[cardinality(recipients)]) STORED,
    size integer GENERATED ALWAYS AS (cardinality(recipients)) STORED,
    CONSTRAINT chunks_pkey PRIMARY KEY (batch_id, "position"),
    CONSTRAINT chunks_state_check CHECK (state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text, 'skipped'::text]))
) WITH (autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_insert_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
CREATE INDEX chunks_awaited ON chunks USING btree (lowest_user_id, highest_user_id) WHERE state = 'pending'::text;
CREATE INDEX chunks_due ON chunks USING btree (due_at) WHERE state = 'pending'::text;
CREATE INDEX chunks_recipients ON chunks USING btree (batch_id, lowest_user_id, highest_user_id, state);
CREATE INDEX chunks_reduced ON chunks USING btree (batch_id) WHERE state = 'pending'::text AND skipped > 0;
CREATE INDEX chunks_settled ON chunks USING btree (batch_id, updated_at) INCLUDE (size) WHERE state = ANY (ARRAY['delivered'::text, 'failed'::text]);
CREATE INDEX chunks_turns ON chunks USING btree (batch_id, due_at, "position") WHERE state = 'pending'::text;

CREATE TABLE pending_replies (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    conversation_id bigint NOT NULL,
    message_id bigint NOT NULL,
    send_id bigint NOT NULL,
    recipients bigint[],
    included_message_ids bigint[] NOT NULL,
    tags text[] NOT NULL,
    user_note boolean NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    failed_at timestamp with time zone,
    due_at timestamp with time zone NOT NULL,
    traceparent text,
    tried_at timestamp with time zone,
    redeliveries integer NOT NULL DEFAULT 0,
    CONSTRAINT pending_replies_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_threshold=100, autovacuum_vacuum_scale_factor=0.02);
CREATE INDEX pending_replies_due ON pending_replies USING btree (due_at) WHERE failed_at IS NULL;
CREATE INDEX pending_replies_waiting ON pending_replies USING btree (conversation_id, id) WHERE failed_at IS NULL;

CREATE TABLE batch_updates (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    event text NOT NULL,
    conversation_ids text[] COMPRESSION lz4 NOT NULL,
    state text NOT NULL DEFAULT 'queued'::text,
    done integer NOT NULL DEFAULT 0,
    refused integer[] NOT NULL DEFAULT '{}'::integer[],
    message text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    traceparent text,
    attempts integer NOT NULL DEFAULT 0,
    tried_at timestamp with time zone,
    error text,
    redeliveries integer NOT NULL DEFAULT 0,
    CONSTRAINT batch_updates_pkey PRIMARY KEY (id),
    CONSTRAINT batch_updates_check CHECK (done <= cardinality(conversation_ids)),
    CONSTRAINT batch_updates_state_check CHECK (state = ANY (ARRAY['queued'::text, 'running'::text, 'completed'::text, 'failed'::text]))
) WITH (fillfactor=70, autovacuum_vacuum_threshold=100, autovacuum_vacuum_scale_factor=0.02);
CREATE INDEX batch_updates_due ON batch_updates USING btree (due_at) WHERE state = ANY (ARRAY['queued'::text, 'running'::text]);
CREATE INDEX batch_updates_ended ON batch_updates USING btree (updated_at) WHERE state = ANY (ARRAY['completed'::text, 'failed'::text]);

CREATE TABLE outbox (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    lane smallint NOT NULL,
    event text NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    author_id bigint,
    created_at timestamp with time zone,
    first_id bigint,
    copies integer,
    conversation_ids bigint[] COMPRESSION lz4,
    message_ids bigint[] COMPRESSION lz4,
    body jsonb,
    cause jsonb NOT NULL,
    traceparent text,
    batch_id bigint,
    "position" integer,
    moves integer,
    CONSTRAINT outbox_pkey PRIMARY KEY (lane, id),
    CONSTRAINT outbox_check CHECK (
CASE
    WHEN event ~~ 'batch\_%'::text THEN lane = 16 AND body IS NOT NULL
    ELSE lane < 16 AND author_id IS NOT NULL AND created_at IS NOT NULL AND (first_id IS NOT NULL AND copies > 0 AND event = 'delivered'::text OR cardinality(conversation_ids) > 0 AND cardinality(conversation_ids) = cardinality(message_ids))
END),
    CONSTRAINT outbox_event_check CHECK (event = ANY (ARRAY['delivered'::text, 'forwarded'::text, 'batch_scheduled'::text, 'batch_started'::text, 'batch_progress'::text, 'batch_paused'::text, 'batch_resumed'::text, 'batch_finished'::text, 'batch_failed'::text])),
    CONSTRAINT outbox_lane_check CHECK (lane >= 0 AND lane <= 16)
) WITH (autovacuum_analyze_threshold=5000, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_threshold=5000, vacuum_truncate=off, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_insert_scale_factor=0, autovacuum_analyze_scale_factor=0.05, autovacuum_vacuum_cost_delay=0);

CREATE TABLE unroutable_events (
    event text NOT NULL,
    count bigint NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    CONSTRAINT unroutable_events_pkey PRIMARY KEY (event)
);

CREATE TABLE access_tokens (
    token_hash bytea NOT NULL,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    name text,
    scopes text[],
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT access_tokens_pkey PRIMARY KEY (token_hash),
    CONSTRAINT access_tokens_id_key UNIQUE (id)
);

CREATE UNLOGGED TABLE throttle_buckets (
    token_hash bytea NOT NULL,
    empties_at timestamp with time zone NOT NULL,
    CONSTRAINT throttle_buckets_pkey PRIMARY KEY (token_hash)
) WITH (fillfactor=50, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_scale_factor=0);

CREATE TABLE idempotency_keys (
    user_id bigint NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    status smallint,
    headers jsonb,
    body bytea COMPRESSION lz4,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
) WITH (fillfactor=70, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_scale_factor=0.05);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING btree (created_at);

CREATE TABLE skipped_recipients (
    batch_id bigint NOT NULL,
    user_id bigint NOT NULL,
    reason text NOT NULL,
    skipped_at timestamp with time zone NOT NULL,
    CONSTRAINT skipped_recipients_pkey PRIMARY KEY (batch_id, user_id),
    CONSTRAINT skipped_recipients_reason_check CHECK (reason = ANY (ARRAY['cancelled'::text, 'user_deleted'::text, 'no_longer_reachable'::text, 'sender_not_allowed'::text]))
);

CREATE TABLE scheduled_sends (
    batch_id bigint NOT NULL,
    request jsonb NOT NULL,
    due_at timestamp with time zone NOT NULL,
    traceparent text,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    CONSTRAINT scheduled_sends_pkey PRIMARY KEY (batch_id)
);
CREATE INDEX scheduled_sends_due ON scheduled_sends USING btree (due_at);

CREATE TABLE counted_sends (
    sender_id bigint NOT NULL,
    counted_at timestamp with time zone NOT NULL,
    recipients integer NOT NULL
);
CREATE INDEX counted_sends_age ON counted_sends USING btree (counted_at);
CREATE INDEX counted_sends_sender ON counted_sends USING btree (sender_id, counted_at);

CREATE TABLE paces (
    kind text NOT NULL,
    id bigint NOT NULL,
    next_at timestamp with time zone NOT NULL,
    CONSTRAINT paces_pkey PRIMARY KEY (kind, id),
    CONSTRAINT paces_kind_check CHECK (kind = ANY (ARRAY['sender'::text, 'account'::text]))
) WITH (fillfactor=50, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_scale_factor=0);

CREATE TABLE audits (
    batch_id bigint NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    "position" integer NOT NULL DEFAULT '-1'::integer,
    recipients integer NOT NULL DEFAULT 0,
    missing integer NOT NULL DEFAULT 0,
    due_at timestamp with time zone NOT NULL,
    error text,
    CONSTRAINT audits_pkey PRIMARY KEY (batch_id)
);
CREATE INDEX audits_due ON audits USING btree (due_at);

CREATE TABLE taken_conversations (
    conversation_id bigint NOT NULL,
    CONSTRAINT taken_conversations_pkey PRIMARY KEY (conversation_id)
);

CREATE TABLE sis_ids (
    kind text NOT NULL,
    sis_id text NOT NULL,
    id bigint NOT NULL,
    CONSTRAINT sis_ids_pkey PRIMARY KEY (kind, sis_id)
);

CREATE TABLE sis_terms (
    id bigint NOT NULL,
    start_at timestamp with time zone,
    end_at timestamp with time zone,
    CONSTRAINT sis_terms_pkey PRIMARY KEY (id)
);

CREATE TABLE sis_course_dates (
    course_id bigint NOT NULL,
    terms bigint[] NOT NULL,
    start_at timestamp with time zone,
    end_at timestamp with time zone,
    CONSTRAINT sis_course_dates_pkey PRIMARY KEY (course_id)
);
CREATE INDEX sis_course_dates_terms ON sis_course_dates USING gin (terms);

CREATE TABLE sis_observers (
    observer_id bigint NOT NULL,
    student_id bigint NOT NULL,
    listed_by bigint NOT NULL,
    CONSTRAINT sis_observers_pkey PRIMARY KEY (observer_id, student_id, listed_by)
);
CREATE INDEX sis_observers_listed_by ON sis_observers USING btree (listed_by) WHERE listed_by <> 0;
CREATE INDEX sis_observers_student ON sis_observers USING btree (student_id);

CREATE TABLE sis_guardians (
    user_id bigint NOT NULL,
    CONSTRAINT sis_guardians_pkey PRIMARY KEY (user_id)
);

CREATE TABLE sis_observations (
    observer_id bigint NOT NULL,
    student_enrollment_id bigint NOT NULL,
    enrollment_id bigint NOT NULL,
    CONSTRAINT sis_observations_pkey PRIMARY KEY (student_enrollment_id, observer_id)
);
CREATE UNIQUE INDEX sis_observations_enrollment ON sis_observations USING btree (enrollment_id);

CREATE TABLE snapshot_rows (
    kind text NOT NULL,
    label text NOT NULL,
    ids bigint[],
    expected jsonb NOT NULL,
    CONSTRAINT snapshot_rows_pkey PRIMARY KEY (kind, label)
);

CREATE TABLE punctuality (
    day date NOT NULL,
    batches integer NOT NULL,
    recipients bigint NOT NULL,
    in_time bigint NOT NULL,
    CONSTRAINT punctuality_pkey PRIMARY KEY (day)
);

-- sql/schema/01_directory.sql

-- Which value of a key wins when directory events come late, twice and out of order (sql/migrations/001_directory.sql).

-- The stamps of one event that held the keys whose bits are set in given; null: it held them all.
CREATE OR REPLACE FUNCTION stamps_of(as_of timestamptz, given integer, keys integer) RETURNS timestamptz[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN given IS NOT NULL THEN ARRAY(
        SELECT CASE WHEN given >> k & 1 = 1 THEN as_of ELSE '-infinity' END FROM generate_series(0, keys - 1) AS k
    ) END;

-- The time of each key's value after both. Null again once one of the two is the newest in every key.
CREATE OR REPLACE FUNCTION merged_stamps(
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

-- sql/schema/02_standings.sql

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

-- sql/schema/03_rosters.sql

-- The triggers that derive the tables of sql/migrations/002_rosters.sql from users, enrolments and memberships.

-- Names and enrolments come in different events, and what is derived from both has to see both. So those who write
-- them take turns. service/application/directory/events.py does before it locks anything else; a release that does not
-- may meet a deadlock, and then begins anew.
CREATE OR REPLACE FUNCTION take_roster_turn() RETURNS void LANGUAGE sql
    RETURN pg_advisory_xact_lock(7206110512006);

-- While this file is applied as well: the triggers below are made anew under locks that writers of these tables hold.
SELECT take_roster_turn();

-- A row costs a few probes of indexes, whatever the planner believes of tables that were empty a moment ago: the
-- lateral arms, and no joins but by an index, see to that.
CREATE OR REPLACE FUNCTION enroll_in_rosters(users bigint[], courses bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode = force_custom_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM take_roster_turn();
    WITH touched AS MATERIALIZED (
        SELECT DISTINCT user_id, course_id FROM unnest(users, courses) AS t (user_id, course_id)
        WHERE user_id IS NOT NULL AND course_id IS NOT NULL
    ), changed AS MATERIALIZED (
        SELECT t.*, a.sort_name, before.ways AS old_ways, after.ways, own.sections
        FROM touched t
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(jsonb_build_array(section_id, type, workflow_state, date_state)) AS each_way,
                   array_agg(section_id) FILTER (WHERE section_id IS NOT NULL) AS sections
            FROM enrollments
            WHERE course_id = t.course_id AND user_id = t.user_id
              AND workflow_state NOT IN ('deleted', 'rejected') AND type <> 'StudentViewEnrollment'
        ) own
        -- Nearly everybody has one, and DISTINCT would sort it.
        CROSS JOIN LATERAL (
            SELECT CASE WHEN jsonb_array_length(own.each_way) = 1 THEN own.each_way
                        ELSE (SELECT jsonb_agg(DISTINCT way) FROM jsonb_array_elements(own.each_way) AS way) END AS ways
        ) after
        LEFT JOIN LATERAL (
            SELECT ways FROM rosters WHERE user_id = t.user_id AND place = 'c' AND place_id = t.course_id OFFSET 0
        ) before ON true
        LEFT JOIN LATERAL (SELECT sort_name FROM addressees WHERE id = t.user_id OFFSET 0) a ON true
        WHERE before.ways IS DISTINCT FROM after.ways
    ), gone AS (
        DELETE FROM rosters r USING changed t
        WHERE t.ways IS NULL AND r.user_id = t.user_id AND r.place = 'c' AND r.place_id = t.course_id
    ), left_behind AS (
        DELETE FROM rosters r USING (
            SELECT DISTINCT t.user_id, (way ->> 0)::bigint AS section_id
            FROM changed t CROSS JOIN LATERAL jsonb_array_elements(t.old_ways) AS way
        ) t
        WHERE r.user_id = t.user_id AND r.place = 's' AND r.place_id = t.section_id AND NOT EXISTS (
            SELECT FROM enrollments e
            WHERE e.section_id = t.section_id AND e.user_id = t.user_id AND e.course_id IS NOT NULL
              AND e.workflow_state NOT IN ('deleted', 'rejected') AND e.type <> 'StudentViewEnrollment'
        )
    ), written AS (
        INSERT INTO rosters AS r (user_id, place, place_id, sort_name, ways)
        SELECT user_id, 'c', course_id, sort_name, ways FROM changed WHERE ways IS NOT NULL
        UNION ALL
        SELECT DISTINCT user_id, 's'::"char", unnest(sections), sort_name, NULL::jsonb FROM changed
        ON CONFLICT (user_id, place, place_id) DO UPDATE SET ways = excluded.ways WHERE r.place = 'c'
    )
    INSERT INTO headcounts AS h (course_id, digest, ways, people)
    SELECT t.course_id, md5(one.ways::text)::uuid, one.ways, sum(one.people)
    FROM changed t
    CROSS JOIN LATERAL (VALUES (t.old_ways, -1), (t.ways, 1)) AS one (ways, people)
    WHERE t.sort_name IS NOT NULL AND one.ways IS NOT NULL
    GROUP BY t.course_id, one.ways
    HAVING sum(one.people) <> 0
    ON CONFLICT (course_id, digest) DO UPDATE SET people = h.people + excluded.people;
    DELETE FROM headcounts WHERE course_id = ANY (ARRAY(SELECT DISTINCT unnest(courses))) AND people = 0;
END $$;

CREATE OR REPLACE FUNCTION join_in_rosters(users bigint[], circles bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode = force_custom_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM take_roster_turn();
    WITH touched AS MATERIALIZED (
        SELECT DISTINCT user_id, group_id FROM unnest(users, circles) AS t (user_id, group_id)
    ), changed AS MATERIALIZED (
        SELECT t.*, a.sort_name, m.user_id IS NOT NULL AS member
        FROM touched t
        LEFT JOIN LATERAL (SELECT sort_name FROM addressees WHERE id = t.user_id OFFSET 0) a ON true
        LEFT JOIN LATERAL (
            SELECT user_id FROM group_memberships
            WHERE group_id = t.group_id AND user_id = t.user_id AND workflow_state = 'accepted'
            LIMIT 1
        ) m ON true
    ), gone AS (
        DELETE FROM rosters r USING changed t
        WHERE NOT t.member AND r.user_id = t.user_id AND r.place = 'g' AND r.place_id = t.group_id
    )
    INSERT INTO rosters (user_id, place, place_id, sort_name)
    SELECT user_id, 'g', group_id, sort_name FROM changed WHERE member
    ON CONFLICT (user_id, place, place_id) DO NOTHING;
END $$;

-- Names, old and new; null is the name of those who cannot be written to.
CREATE OR REPLACE FUNCTION rename_in_rosters(users bigint[], old_names text[], new_names text[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode = force_custom_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM take_roster_turn();
    WITH changed AS MATERIALIZED (
        SELECT * FROM unnest(users, old_names, new_names) AS t (user_id, old_name, new_name)
    ), renamed AS (
        UPDATE rosters r SET sort_name = t.new_name
        FROM changed t
        WHERE r.user_id = t.user_id
        RETURNING r.place, r.place_id, r.ways,
                  (t.new_name IS NOT NULL)::integer - (t.old_name IS NOT NULL)::integer AS people
    )
    INSERT INTO headcounts AS h (course_id, digest, ways, people)
    SELECT place_id, md5(ways::text)::uuid, ways, sum(people)
    FROM renamed
    WHERE place = 'c'
    GROUP BY place_id, ways
    HAVING sum(people) <> 0
    ON CONFLICT (course_id, digest) DO UPDATE SET people = h.people + excluded.people;
END $$;

CREATE OR REPLACE FUNCTION follow_enrollments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM enroll_in_rosters(array_agg(user_id), array_agg(course_id))
        FROM arrived WHERE user_id IS NOT NULL HAVING count(*) > 0;
    ELSE
        PERFORM enroll_in_rosters(array_agg(t.user_id), array_agg(t.course_id))
        FROM gone g
        JOIN arrived a ON a.id = g.id
        CROSS JOIN LATERAL (VALUES (g.user_id, g.course_id), (a.user_id, a.course_id)) AS t (user_id, course_id)
        WHERE (g.user_id, g.course_id, g.section_id, g.type, g.workflow_state, g.date_state)
            IS DISTINCT FROM (a.user_id, a.course_id, a.section_id, a.type, a.workflow_state, a.date_state)
        HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER rosters_arrived AFTER INSERT ON enrollments
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_enrollments();
CREATE OR REPLACE TRIGGER rosters_changed AFTER UPDATE ON enrollments
    REFERENCING OLD TABLE AS gone NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_enrollments();

CREATE OR REPLACE FUNCTION follow_group_memberships() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM join_in_rosters(array_agg(user_id), array_agg(group_id)) FROM arrived HAVING count(*) > 0;
    ELSE
        PERFORM join_in_rosters(array_agg(user_id), array_agg(group_id))
        FROM (SELECT user_id, group_id FROM gone UNION ALL SELECT user_id, group_id FROM arrived) t
        HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER rosters_arrived AFTER INSERT ON group_memberships
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_group_memberships();
CREATE OR REPLACE TRIGGER rosters_changed AFTER UPDATE ON group_memberships
    REFERENCING OLD TABLE AS gone NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_group_memberships();

CREATE OR REPLACE FUNCTION follow_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM rename_in_rosters(array_agg(id), array_agg(NULL::text), array_agg(sort_name))
        FROM arrived WHERE workflow_state IN ('registered', 'pre_registered') HAVING count(*) > 0;
    ELSE
        PERFORM rename_in_rosters(array_agg(id), array_agg(old_name), array_agg(new_name))
        FROM (
            SELECT a.id,
                   CASE WHEN g.workflow_state IN ('registered', 'pre_registered') THEN g.sort_name END AS old_name,
                   CASE WHEN a.workflow_state IN ('registered', 'pre_registered') THEN a.sort_name END AS new_name
            FROM gone g
            JOIN arrived a ON a.id = g.id
        ) t
        WHERE old_name IS DISTINCT FROM new_name HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER rosters_arrived AFTER INSERT ON users
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_users();
CREATE OR REPLACE TRIGGER rosters_changed AFTER UPDATE ON users
    REFERENCING OLD TABLE AS gone NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_users();

-- A user who is named by an enrolment and not there yet.
CREATE OR REPLACE FUNCTION note_unknown_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unknown_members
    SELECT DISTINCT n.user_id FROM arrived n
    WHERE n.user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = n.user_id)
    ORDER BY n.user_id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER enrollments_arrived AFTER INSERT ON enrollments
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION note_unknown_members();
CREATE OR REPLACE TRIGGER enrollments_changed AFTER UPDATE ON enrollments
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION note_unknown_members();

CREATE OR REPLACE FUNCTION forget_unknown_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM unknown_members m USING arrived n WHERE m.user_id = n.id;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER users_arrived AFTER INSERT ON users
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION forget_unknown_members();

-- sql/schema/04_search.sql

-- Finding people by name (canvas/endpoints.md 4.13).

-- Everybody who can be written to, as a search shows and orders them.
CREATE OR REPLACE VIEW addressees AS
SELECT id, coalesce(nullif(short_name, ''), name) AS name, name AS full_name, pronouns, uuid, avatar_url, sort_name,
       search_text
FROM users
WHERE workflow_state IN ('registered', 'pre_registered');

-- One row or more if the viewer sees a person: by an enrolment in one of the ranges (service/domain/visibility.py), as
-- a member of one of the groups, or on the roster of one of the accounts. The planner puts the text in the place of the
-- call, so that it costs a look or two into enrollments_user; where no groups or accounts are given, nothing is looked up
-- for them.
CREATE OR REPLACE FUNCTION sightings(person bigint, viewer bigint, ranges jsonb, circles jsonb, rosters bigint[])
    RETURNS SETOF integer LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 AS $$
SELECT 1
FROM enrollment_standings e
JOIN jsonb_populate_recordset(NULL::enrollment_range, ranges) AS r ON r.course_id = e.course_id
WHERE e.user_id = person
  AND in_range(r, viewer, e.section_id, e.user_id, e.type, e.associated_user_id, e.standing)
UNION ALL
SELECT 1
FROM jsonb_to_recordset(circles) AS g (
    group_id bigint, course_id bigint, sections bigint[], staff_only boolean, concluded boolean
)
JOIN group_memberships m ON m.group_id = g.group_id AND m.user_id = person AND m.workflow_state = 'accepted'
WHERE circles <> '[]' AND (g.course_id IS NULL OR EXISTS (
    SELECT FROM enrollment_standings e
    WHERE e.course_id = g.course_id AND e.user_id = person AND e.type <> 'StudentViewEnrollment'
      AND (e.standing IN ('active', 'invited') OR (g.concluded AND e.standing = 'completed'))
      AND (NOT g.staff_only OR e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
      AND (g.sections IS NULL OR e.section_id = ANY (g.sections))
))
UNION ALL
SELECT 1 FROM user_accounts WHERE rosters <> '{}' AND user_id = person AND account_id = ANY (rosters)
UNION ALL
SELECT 1
FROM enrollment_standings e
JOIN courses c ON c.id = e.course_id
WHERE rosters <> '{}' AND e.user_id = person AND c.account_id = ANY (rosters) AND e.standing <> 'none'
  AND e.type <> 'StudentViewEnrollment'
$$;

-- sql/schema/05_conversations.sql

-- Conversations and their lists as readers see them.

-- All messages of a conversation, the first included.
CREATE OR REPLACE VIEW conversation_messages AS
SELECT c.id AS conversation_id, c.id, c.send_id, c.first_tag_set AS tag_set, false AS restricted FROM conversations c
UNION ALL
SELECT m.conversation_id, m.id, m.send_id, m.tag_set, m.restricted FROM messages m;

-- Whether no message of a conversation was accepted before this send: by the database's clock, and of the same moment by
-- the send's id. Volatile, so that it sees what others have committed while the caller's statement waited for its locks.
CREATE OR REPLACE FUNCTION accepted_first(in_conversation bigint, of_send bigint) RETURNS boolean
    LANGUAGE sql VOLATILE AS $$
    SELECT NOT EXISTS (
        SELECT FROM conversation_messages m
        CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = m.send_id OFFSET 0) theirs
        CROSS JOIN LATERAL (SELECT created_at FROM sends WHERE id = of_send OFFSET 0) own
        WHERE m.conversation_id = in_conversation AND (theirs.created_at, m.send_id) < (own.created_at, of_send)
    )
$$;

-- All (user, message) pairs where the user has the message row of canvas/semantics.md 1, deleted or not. OFFSET 0 keeps
-- the looks into sends and message_views looks into their keys, message by message, whatever the statistics say.
CREATE OR REPLACE VIEW participant_messages AS
SELECT p.user_id, m.conversation_id, m.id, m.send_id, m.tag_set, v.deleted_at,
       s.author_id, s.created_at, s.added_user_ids IS NOT NULL AS generated
FROM participants p
JOIN conversation_messages m ON m.conversation_id = p.conversation_id
CROSS JOIN LATERAL (SELECT author_id, created_at, added_user_ids FROM sends WHERE id = m.send_id OFFSET 0) s
LEFT JOIN LATERAL (
    SELECT user_id, deleted_at FROM message_views
    WHERE conversation_id = m.conversation_id AND user_id = p.user_id AND message_id = m.id OFFSET 0
) v ON true
WHERE v.user_id IS NOT NULL OR (NOT m.restricted AND (p.history_from IS NULL OR s.created_at >= p.history_from));

-- A participant's row, which lists of canvas/semantics.md 6.1 hold it, and by what time each list is ordered (newest
-- first, then conversation id, descending). One place for the definitions; written so that a condition on one of the flags is
-- the condition of the partial index for that list. A row with message_count 0 has lost its times, so only the starred
-- list has to look at the count.
CREATE OR REPLACE VIEW listings AS
SELECT user_id, conversation_id, tag_set,
       last_message_at IS NOT NULL AND NOT archived AS in_inbox,
       last_message_at IS NOT NULL AND NOT archived AND unread AS in_unread,
       last_message_at IS NOT NULL AND archived AS in_archived,
       visible_last_authored_at IS NOT NULL AS in_sent,
       starred AND message_count > 0 AS in_starred,
       last_message_at AS received_at,
       visible_last_authored_at AS sent_at,
       coalesce(greatest(last_message_at, last_authored_at, touched_at), '-infinity') AS changed_at,
       unread, archived, subscribed, starred, message_count, has_attachments, has_media_objects
FROM participants;

-- sql/schema/06_batches.sql

-- What delivering a chunk needs, the events of its batch, and the attempts at what workers carry out.

-- Who holds which of the sender's codes among the recipients of a chunk, for tags (canvas/semantics.md 4.2): a row for
-- each such code and whether it is a current one, with its holders; no list of holders stands for all recipients. Where
-- no recipient shares any, one row with the sender's codes alone.
-- The recipients span a range of user ids, so the courses named by the request are read as one range as well; who in it
-- is a recipient, the reader knows. Recipients for whom that settles everything are not looked up one by one.
-- A function, because read_chunk needs this for chunks that are to be delivered only: in a statement, PostgreSQL would
-- lock thirty tables and indexes and set up a plan of two hundred lines for a command that came twice, to find nothing.
CREATE OR REPLACE FUNCTION codes_in_chunk(of_batch bigint, at_position integer) RETURNS TABLE (
    sender_codes text[], sender_active_codes text[], code text, active boolean, holders bigint[]
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH chunk AS MATERIALIZED (
        SELECT c.recipients, b.sender_id, b.tags, b.members_of_course
        FROM chunks c
        JOIN batches b ON b.id = c.batch_id
        WHERE c.batch_id = of_batch AND c.position = at_position
    ), sender_code AS MATERIALIZED (
        SELECT u.code, bool_or(u.active) AS active
        FROM user_codes u WHERE u.user_id = (SELECT sender_id FROM chunk)
        GROUP BY u.code
    ), asked_code AS MATERIALIZED (
        SELECT code, active, CASE WHEN code LIKE 'course\_%' THEN substr(code, 8)::bigint END AS course_id
        FROM sender_code WHERE code = ANY ((SELECT tags FROM chunk)::text[])
    ), settling AS MATERIALIZED (
        -- Both currently in an asked course, and nothing but courses asked for: no other code can matter to the two.
        SELECT array_agg(course_id) FILTER (WHERE active) AS course_ids
        FROM asked_code HAVING count(*) = count(course_id)
    ), promised AS MATERIALIZED (
        -- Looked up when the send was accepted; the sender is current in the course to this moment.
        SELECT members_of_course AS course_id FROM chunk
        WHERE members_of_course = ANY ((SELECT course_ids FROM settling)::bigint[])
    ), asked AS MATERIALIZED (
        -- OFFSET 0: the standing is worked out once for each row, not for each mention.
        SELECT e.user_id, e.course_id, e.standing <> 'completed' AS active,
               e.standing <> 'completed' AND e.course_id = ANY ((SELECT course_ids FROM settling)::bigint[]) AS settled
        FROM (
            SELECT user_id, course_id, standing FROM enrollment_standings
            WHERE course_id = ANY (array(SELECT course_id FROM asked_code
                                         WHERE course_id IS NOT NULL AND NOT EXISTS (SELECT FROM promised)))
              AND user_id BETWEEN (SELECT recipients[1] FROM chunk)
                              AND (SELECT recipients[cardinality(recipients)] FROM chunk)
              AND type <> 'StudentViewEnrollment'
            OFFSET 0
        ) e
        WHERE e.standing IN ('active', 'invited', 'completed')
    ), usual AS MATERIALIZED (
        -- One course, and those in it are the recipients, one for one: then none is looked up or listed.
        SELECT course_id FROM promised
        UNION ALL
        SELECT min(course_id) FROM asked WHERE settled
        HAVING array_agg(user_id) = (SELECT recipients FROM chunk) AND min(course_id) = max(course_id)
    ), other AS MATERIALIZED (
        SELECT r.user_id, held.code, held.active
        FROM (
            SELECT u AS user_id FROM chunk, unnest(chunk.recipients) AS u
            WHERE NOT EXISTS (SELECT FROM usual) AND (SELECT count(*) FROM sender_code) > 0
              AND u NOT IN (SELECT user_id FROM asked WHERE settled)
        ) r
        CROSS JOIN LATERAL (
            SELECT u.code, bool_or(u.active) AS active FROM user_codes u WHERE u.user_id = r.user_id GROUP BY u.code
        ) held
        JOIN sender_code s ON s.code = held.code
    ), by_code AS (
        SELECT 'course_' || course_id AS code, active, array_agg(user_id) AS holders
        FROM asked
        WHERE NOT (settled AND EXISTS (SELECT FROM usual))
        GROUP BY course_id, active
        UNION ALL
        -- No list of holders stands for all recipients.
        SELECT 'course_' || course_id, true, NULL FROM usual
        UNION ALL
        SELECT code, active, array_agg(user_id) FROM other GROUP BY code, active
        UNION ALL
        -- An empty code stands for any current code at all, which decides whether concluded ones count.
        SELECT '', true, array_agg(o.user_id)
        FROM (SELECT user_id FROM other GROUP BY user_id HAVING NOT bool_or(active)) o
        WHERE EXISTS (SELECT FROM user_codes u WHERE u.user_id = o.user_id AND u.active OFFSET 0)
        HAVING count(*) > 0
    )
    SELECT array(SELECT code FROM sender_code), array(SELECT code FROM sender_code WHERE active),
           by_code.code, by_code.active, by_code.holders
    FROM chunk LEFT JOIN by_code ON true;
END $$;

-- Chunks that have this user among their recipients, are not delivered and could be: a reader has them delivered at once
-- (CONTRACT 3.3). One that has failed, or may have killed its worker, is left to the attempts that workers have. PostgreSQL
-- makes it part of the statement that calls it, which holds for functions of one statement only. OFFSET 0: an array is
-- read when nothing else is left to ask.
CREATE OR REPLACE FUNCTION awaited_chunks(of_user bigint) RETURNS TABLE (batch_id bigint, "position" integer)
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT near.batch_id, near.position
    FROM (
        SELECT c.batch_id, c.position, c.recipients
        FROM chunks c
        CROSS JOIN LATERAL (SELECT FROM batches b WHERE b.id = c.batch_id AND b.state IN ('created', 'sending') OFFSET 0) b
        WHERE c.state = 'pending' AND c.lowest_user_id <= of_user AND c.highest_user_id >= of_user
          AND c.attempts = 0 AND c.redeliveries = 0
        OFFSET 0
    ) near
    WHERE of_user = ANY (near.recipients)
$$;

-- The state of a batch once so many of its recipients are settled, and so many of those failed. What was cancelled
-- stays cancelled; what was paused and has nothing left to do is at its end.
CREATE OR REPLACE FUNCTION batch_state(state text, settled integer, failed integer, total integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN settled < total THEN CASE state WHEN 'created' THEN 'sending' ELSE state END
                WHEN state = 'cancelled' THEN state
                WHEN failed > 0 THEN 'error' ELSE 'sent' END;

-- The events when so many more recipients of a batch were settled at that moment by a chunk: its beginning, with the first
-- recipients that are settled; then how far it is, or how it ended. Those whom a cancel skips are no beginning, so the
-- chunk that was in work then may be it.
CREATE OR REPLACE FUNCTION batch_events(batch batches, settled_at timestamptz, size integer) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (batch).started_at = settled_at
                     AND ((batch).delivered + (batch).failed + (batch).skipped = size OR (batch).state = 'cancelled')
                THEN ARRAY['batch_started'] ELSE ARRAY[]::text[] END
           || CASE WHEN (batch).finished_at IS NULL THEN 'batch_progress'
                   WHEN (batch).state = 'error' THEN 'batch_failed' ELSE 'batch_finished' END;

-- The same, as the release before asks for it.
CREATE OR REPLACE FUNCTION batch_events(state text, first boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN first THEN ARRAY['batch_started'] ELSE ARRAY[]::text[] END
           || CASE state WHEN 'sent' THEN 'batch_finished' WHEN 'cancelled' THEN 'batch_finished'
                         WHEN 'error' THEN 'batch_failed' ELSE 'batch_progress' END;

-- A batch in the body of its events (CONTRACT 4): ids and counts as text.
CREATE OR REPLACE FUNCTION batch_body(batch batches) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object(
        'batch_id', (batch).id::text, 'state', (batch).state, 'total', (batch).total::text,
        'delivered', (batch).delivered::text, 'failed', (batch).failed::text, 'skipped', (batch).skipped::text);

-- When work is due again that has failed at this moment, after ``attempts`` failures before: the first wait is
-- ``first_wait``, and each one twice the one before.
CREATE OR REPLACE FUNCTION next_attempt_at(attempts integer, first_wait interval, now timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN now + first_wait * 2 ^ attempts;

-- Whether a failure at this moment counts, of work that failed ``attempts`` times before, last at ``tried_at``: not
-- within the wait that followed. A command that comes twice must not use up the attempts in a moment.
CREATE OR REPLACE FUNCTION attempt_counts(
    attempts integer, tried_at timestamptz, first_wait interval, now timestamptz
) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN tried_at IS NULL OR next_attempt_at(attempts - 1, first_wait, tried_at) <= now;

-- Recipients per second that were delivered or failed in the last ten seconds; of a batch that has ended, in the last ten
-- of its work. The newest 500 chunks are looked at, which are fewer seconds where it goes fast. Null before the first.
-- In PL/pgSQL, here and below, because that keeps its plans.
CREATE OR REPLACE FUNCTION batch_rate(batch batches) RETURNS double precision
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    until timestamptz := coalesce(batch.finished_at, statement_timestamp());
    since timestamptz := greatest(until - interval '10 s', batch.created_at, batch.send_at);
    rate double precision;
BEGIN
    IF batch.started_at IS NULL THEN
        RETURN NULL;
    END IF;
    WITH recent AS MATERIALIZED (
        SELECT c.updated_at, c.size
        FROM chunks c
        WHERE c.batch_id = batch.id AND c.state IN ('delivered', 'failed') AND c.updated_at > since
        ORDER BY c.updated_at DESC
        LIMIT 500
    ), began AS (
        -- Where not all were looked at, the time counts from the oldest of them, which then does not count itself.
        SELECT CASE WHEN count(*) = 500 THEN min(updated_at) ELSE since END AS at FROM recent
    )
    SELECT coalesce((SELECT sum(size) FROM recent WHERE updated_at > at), 0)
           / nullif(extract(epoch FROM until - at), 0)
    INTO rate FROM began;
    RETURN rate;
END $$;

-- How many recipients of a batch are skipped, with those who were taken out of chunks that are not settled yet.
CREATE OR REPLACE FUNCTION batch_skipped(batch batches) RETURNS integer
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN batch.skipped + (
        SELECT coalesce(sum(c.skipped), 0)
        FROM chunks c WHERE c.batch_id = batch.id AND c.state = 'pending' AND c.skipped > 0);
END $$;

-- sql/schema/07_batch_events.sql

-- Who listens learns of each move of a batch (pause, resume, cancel, retry, start of a scheduled one) as soon as it is
-- committed, whoever makes it. Deliveries are left out, and notify once they are committed (notify_of_batches): a
-- transaction that notifies holds a lock of the whole database while it is committed.
CREATE OR REPLACE FUNCTION notify_of_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('clarion_batches', NEW.id::text);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER batch_moved AFTER UPDATE OF state, send_at, error ON batches FOR EACH ROW
    WHEN (OLD.send_at IS DISTINCT FROM NEW.send_at OR OLD.error IS DISTINCT FROM NEW.error
          OR OLD.state <> NEW.state AND (OLD.state NOT IN ('created', 'sending')
                                         OR NEW.state NOT IN ('sending', 'sent', 'error')))
    EXECUTE FUNCTION notify_of_move();

-- sql/schema/08_stuck.sql

-- What waits longer than it should: what operators are told of, and what nothing else in the service looks at.

-- For how long nothing may happen to work that is not done, before it counts as stuck: ten times CLARION_RETRY_AFTER.
-- The longest wait between two attempts is eight times that.
CREATE OR REPLACE FUNCTION stuck_after(retry_after interval) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN retry_after * 10;

-- What is not due before then waits on purpose: a sweeper puts off what it commands by CLARION_RETRY_AFTER.
CREATE OR REPLACE FUNCTION stuck_unless_due_after(retry_after interval) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE RETURN statement_timestamp() + retry_after * 2;

-- Batches that stand still. One that is paused, or is to start later, is not stuck.
-- A running batch moves when a chunk is settled or tried, and when its sender moves it. Chunks that wait for their turn
-- (due_at = 'infinity') say nothing: one of which all wait is not gone on with. A cancelled one that is not at
-- its end has chunks in work that do not end. A scheduled one starts within two seconds, or its start has failed: it is
-- stuck when it is late by twice CLARION_RETRY_AFTER.
CREATE OR REPLACE FUNCTION stuck_batches(retry_after interval) RETURNS TABLE (
    id bigint, sender_id bigint, state text, total integer, done integer, since timestamptz, why text
) LANGUAGE sql STABLE AS $$
    SELECT b.id, b.sender_id, b.state, b.total, b.delivered + b.failed + batch_skipped(b), moved.since,
           coalesce(chunk.error, CASE WHEN chunk.pending = 0 THEN 'nothing is pending, and it has not ended'
                                      WHEN b.state = 'cancelled' THEN 'chunks that were in work have not ended'
                                      ELSE 'no worker has taken a chunk' END)
    FROM (
        -- Chunks are read of those only that were not accepted, started or moved just now.
        SELECT * FROM (
            SELECT * FROM batches WHERE batches.state IN ('created', 'sending')
            UNION ALL
            SELECT * FROM batches WHERE batches.state = 'cancelled' AND finished_at IS NULL
        ) running
        WHERE greatest(running.created_at, running.send_at, running.moved_at)
              < statement_timestamp() - stuck_after(retry_after)
        OFFSET 0
    ) b
    CROSS JOIN LATERAL (
        SELECT max(c.updated_at) AS updated_at, min(c.due_at) FILTER (WHERE c.state = 'pending' AND c.due_at < 'infinity') AS due_at,
               count(*) FILTER (WHERE c.state = 'pending') AS pending,
               (array_agg(c.error ORDER BY c.updated_at DESC)
                    FILTER (WHERE c.state = 'pending' AND c.error IS NOT NULL))[1] AS error
        FROM chunks c WHERE c.batch_id = b.id OFFSET 0
    ) chunk
    CROSS JOIN LATERAL (SELECT greatest(b.created_at, b.send_at, b.moved_at, chunk.updated_at) AS since) moved
    WHERE moved.since < statement_timestamp() - stuck_after(retry_after)
      AND (b.state = 'cancelled' OR coalesce(chunk.due_at, '-infinity') <= stuck_unless_due_after(retry_after))
    UNION ALL
    SELECT b.id, b.sender_id, b.state, b.total, 0, b.send_at, coalesce(s.error, 'no worker has started it')
    FROM batches b
    LEFT JOIN scheduled_sends s ON s.batch_id = b.id
    WHERE b.state = 'scheduled' AND b.send_at < statement_timestamp() - retry_after * 2
$$;

-- sql/schema/09_turns.sql

-- When the chunks of a batch are commanded.

-- How many chunks of a batch are commanded and not done. What waits to be tried again after a failure is left out: others
-- take its place.
CREATE OR REPLACE FUNCTION commanded_chunks(of_batch bigint) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT count(*) FROM chunks
    WHERE batch_id = of_batch AND state = 'pending' AND due_at < 'infinity' AND attempts = 0
$$;

-- The account by whose pace a send goes: that of its context, of a course's for what is in a course; else the given one.
CREATE OR REPLACE FUNCTION account_of_send(of_send bigint, otherwise bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT CASE s.context_type
        WHEN 'Account' THEN s.context_id
        WHEN 'Course' THEN (SELECT account_id FROM courses WHERE id = s.context_id)
        WHEN 'Section' THEN (SELECT c.account_id FROM sections t JOIN courses c ON c.id = t.course_id WHERE t.id = s.context_id)
        WHEN 'Group' THEN (
            SELECT CASE g.context_type WHEN 'Course' THEN (SELECT account_id FROM courses WHERE id = g.context_id)
                                       ELSE coalesce(g.account_id, g.context_id) END
            FROM groups g WHERE g.id = s.context_id)
        END
    INTO found FROM sends s WHERE s.id = of_send;
    RETURN coalesce(found, otherwise);
END $$;

-- Commands as many chunks of a running batch as lack to ``in_flight``, in their order: they are due again after
-- ``patience``. Each of them, and the seconds until its turn: 0, or where a pace is given (recipients a minute; 0 is
-- none), more; then it falls due at its turn, and the sweepers command it. Turns are given no longer than ``ahead``
-- before they come, so that the turns of one sender hold up no other of the account; one at least.
-- A turn begins when those before it have had their time, of the sender and of the account (a leaky bucket that holds
-- nothing). The account's time runs on while a sender's pace is the slower one.
-- The batch is locked in a statement of its own: who has waited for it sees what the others have taken.
CREATE OR REPLACE FUNCTION take_turns(
    of_batch bigint, in_flight integer, patience interval, ahead interval,
    sender_pace integer, account_pace integer, root_account bigint
) RETURNS TABLE ("position" integer, wait double precision) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    batch record;
    chunk record;
    commanded bigint;
    account_id bigint;
    moment timestamptz;
    sender_next timestamptz := '-infinity';
    account_next timestamptz := '-infinity';
    turn timestamptz;
BEGIN
    SELECT b.sender_id, b.send_id INTO batch FROM batches b
    WHERE b.id = of_batch AND b.state IN ('created', 'sending') FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    commanded := commanded_chunks(of_batch);
    IF commanded >= in_flight THEN
        RETURN;
    END IF;
    IF sender_pace = 0 AND account_pace = 0 THEN
        RETURN QUERY
        -- A CTE, because a subquery with a limit may be run again for each row, and take more each time.
        WITH next AS MATERIALIZED (
            SELECT w.position FROM chunks w
            WHERE w.batch_id = of_batch AND w.state = 'pending' AND w.due_at = 'infinity'
            ORDER BY w.position
            LIMIT in_flight - commanded
            FOR UPDATE SKIP LOCKED
        )
        UPDATE chunks c SET due_at = clock_timestamp() + patience
        FROM next
        WHERE c.batch_id = of_batch AND c.position = next.position
        RETURNING c.position, 0::double precision;
        RETURN;
    END IF;
    IF sender_pace > 0 THEN
        INSERT INTO paces AS p (kind, id, next_at) VALUES ('sender', batch.sender_id, '-infinity')
        ON CONFLICT (kind, id) DO UPDATE SET next_at = p.next_at
        RETURNING p.next_at INTO sender_next;
    END IF;
    IF account_pace > 0 THEN
        account_id := account_of_send(batch.send_id, root_account);
        INSERT INTO paces AS p (kind, id, next_at) VALUES ('account', account_id, '-infinity')
        ON CONFLICT (kind, id) DO UPDATE SET next_at = p.next_at
        RETURNING p.next_at INTO account_next;
    END IF;
    moment := clock_timestamp();
    FOR chunk IN
        SELECT w.position, w.size FROM chunks w
        WHERE w.batch_id = of_batch AND w.state = 'pending' AND w.due_at = 'infinity'
        ORDER BY w.position
        LIMIT in_flight - commanded
        FOR UPDATE SKIP LOCKED
    LOOP
        account_next := greatest(account_next, moment);
        turn := greatest(sender_next, account_next);
        EXIT WHEN commanded > 0 AND turn > moment + ahead;
        commanded := commanded + 1;
        IF sender_pace > 0 THEN
            sender_next := turn + interval '1 minute' * chunk.size / sender_pace;
        END IF;
        IF account_pace > 0 THEN
            account_next := account_next + interval '1 minute' * chunk.size / account_pace;
        END IF;
        UPDATE chunks c SET due_at = CASE WHEN turn > moment THEN turn ELSE moment + patience END
        WHERE c.batch_id = of_batch AND c.position = chunk.position;
        position := chunk.position;
        wait := extract(epoch FROM turn - moment);
        RETURN NEXT;
    END LOOP;
    UPDATE paces p SET next_at = sender_next WHERE p.kind = 'sender' AND p.id = batch.sender_id AND sender_pace > 0;
    UPDATE paces p SET next_at = account_next WHERE p.kind = 'account' AND p.id = account_id AND account_pace > 0;
END $$;

-- sql/schema/10_snapshots.sql

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
