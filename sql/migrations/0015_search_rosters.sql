-- Finding and counting people at a price that grows neither with a course nor with the institution
-- (canvas/endpoints.md 4.13).

-- What names are sorted by and what terms are looked for in, worked out once for all indexes and readers. A short name
-- that is part of the name is not looked at again; most are.
DROP VIEW addressees;
DROP INDEX users_by_name;
DROP INDEX IF EXISTS users_by_part_of_name;
CREATE OR REPLACE FUNCTION search_text(name text, short_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(name COLLATE "und-x-icu") || CASE
        WHEN strpos(lower(name COLLATE "und-x-icu"), lower(short_name COLLATE "und-x-icu")) = 0
            THEN E'\n' || lower(short_name COLLATE "und-x-icu")
        ELSE ''
    END;
ALTER TABLE users
    ADD COLUMN sort_name text COLLATE "und-x-icu" GENERATED ALWAYS AS (sort_name(sortable_name, name)) STORED,
    ADD COLUMN search_text text COLLATE "C" GENERATED ALWAYS AS (search_text(name, short_name)) STORED;
CREATE VIEW addressees AS
SELECT id, coalesce(nullif(short_name, ''), name) AS name, name AS full_name, pronouns, uuid, avatar_url, sort_name,
       search_text
FROM users
WHERE workflow_state IN ('registered', 'pre_registered');
CREATE INDEX users_by_name ON users (sort_name, id) WHERE workflow_state IN ('registered', 'pre_registered');
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
        CREATE INDEX users_by_part_of_name ON users USING gin (search_text gin_trgm_ops)
        WHERE workflow_state IN ('registered', 'pre_registered');
    END IF;
END $$;

-- A term of one or two letters holds no trigram: every two letters that stand together, and the last one. A letter is
-- looked for as the beginning of these. Lexemes, because they are compared byte by byte, at a third of the price of text.
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
CREATE INDEX users_by_letters_and_pairs ON users USING gin (letters_and_pairs(search_text))
    WHERE workflow_state IN ('registered', 'pre_registered');

-- Who observes somebody in a course.
CREATE INDEX enrollments_observing ON enrollments (associated_user_id, course_id) WHERE associated_user_id IS NOT NULL;

-- The rule of enrollment_standings, for those who know the parts of an enrolment and not its row.
CREATE FUNCTION standing_of(
    workflow_state text, date_state text, course_state text, course_closes boolean, course_start timestamptz,
    course_end timestamptz, section_closes boolean, section_start timestamptz, section_end timestamptz
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN workflow_state IN ('deleted', 'rejected') OR course_state = 'deleted' THEN 'none'
        WHEN workflow_state = 'completed' OR course_state = 'completed' THEN 'completed'
        WHEN workflow_state = 'inactive' THEN 'inactive'
        WHEN date_state IN ('deleted', 'rejected') THEN 'none'
        WHEN date_state IN ('pending_active', 'pending_invited', 'creation_pending') THEN 'pending'
        WHEN date_state IS NOT NULL THEN date_state
        WHEN section_closes AND section_end <= now() THEN 'completed'
        WHEN section_closes AND section_start > now() THEN 'pending'
        WHEN section_closes AND (section_start IS NOT NULL OR section_end IS NOT NULL)
            THEN CASE workflow_state WHEN 'creation_pending' THEN 'invited' ELSE workflow_state END
        WHEN course_closes AND course_end <= now() THEN 'completed'
        WHEN course_closes AND course_start > now() THEN 'pending'
        WHEN workflow_state = 'creation_pending' THEN 'invited'
        ELSE workflow_state
    END;
CREATE OR REPLACE VIEW enrollment_standings AS
SELECT e.id, e.course_id, e.section_id, e.user_id, e.type, e.associated_user_id,
       e.limit_privileges_to_course_section AS section_limited,
       standing_of(
           e.workflow_state, e.date_state, c.workflow_state, c.restrict_enrollments_to_course_dates, c.start_at,
           c.conclude_at, s.restrict_enrollments_to_section_dates, s.start_at, s.end_at
       ) AS standing
FROM enrollments e
JOIN courses c ON c.id = e.course_id
LEFT JOIN sections s ON s.id = e.section_id;

-- Who is in a course (place 'c'), a section ('s') or a group ('g'), by the names people are sorted by: whatever of
-- their enrolments and memberships is not gone for good. Whether it counts at this moment is for the reader to see.
-- sort_name is null for those who cannot be written to. ways, of courses alone, is what somebody's enrolments there
-- say apart from dates and from whom they observe: [section, type, workflow_state, date_state] of each.
CREATE TABLE rosters (
    user_id   bigint NOT NULL,
    place     "char" NOT NULL,
    place_id  bigint NOT NULL,
    sort_name text COLLATE "und-x-icu",
    ways      jsonb,
    PRIMARY KEY (user_id, place, place_id)
);

-- How many of a course's people who can be written to are enrolled in the same ways. However many people there are,
-- the ways are few. The digest stands for ways that may be too long for an index.
CREATE TABLE headcounts (
    course_id bigint NOT NULL,
    digest    uuid NOT NULL,
    ways      jsonb NOT NULL,
    people    bigint NOT NULL,
    PRIMARY KEY (course_id, digest)
);

-- Names and enrolments come in different events, and what is derived from both has to see both. So those who write
-- them take turns. service/application/directory/events.py does before it locks anything else; a release that does not may
-- meet a deadlock, and then begins anew.
CREATE FUNCTION take_roster_turn() RETURNS void LANGUAGE sql
    RETURN pg_advisory_xact_lock(7206110512006);

-- A row costs a few probes of indexes, whatever the planner believes of tables that were empty a moment ago: the
-- lateral arms, and no joins but by an index, see to that.
CREATE FUNCTION enroll_in_rosters(users bigint[], courses bigint[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_custom_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM take_roster_turn();
    WITH touched AS MATERIALIZED (
        SELECT DISTINCT user_id, course_id FROM unnest(users, courses) AS t (user_id, course_id)
        WHERE user_id IS NOT NULL AND course_id IS NOT NULL
    ), told AS MATERIALIZED (
        SELECT t.*, a.sort_name, before.ways AS old_ways, after.ways, after.sections
        FROM touched t
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(DISTINCT jsonb_build_array(section_id, type, workflow_state, date_state)) AS ways,
                   array_agg(DISTINCT section_id) FILTER (WHERE section_id IS NOT NULL) AS sections
            FROM enrollments
            WHERE course_id = t.course_id AND user_id = t.user_id
              AND workflow_state NOT IN ('deleted', 'rejected') AND type <> 'StudentViewEnrollment'
        ) after
        LEFT JOIN LATERAL (
            SELECT ways FROM rosters WHERE user_id = t.user_id AND place = 'c' AND place_id = t.course_id OFFSET 0
        ) before ON true
        LEFT JOIN LATERAL (SELECT sort_name FROM addressees WHERE id = t.user_id OFFSET 0) a ON true
        WHERE before.ways IS DISTINCT FROM after.ways
    ), gone AS (
        DELETE FROM rosters r USING told t
        WHERE t.ways IS NULL AND r.user_id = t.user_id AND r.place = 'c' AND r.place_id = t.course_id
    ), left_behind AS (
        DELETE FROM rosters r USING (
            SELECT DISTINCT t.user_id, (way ->> 0)::bigint AS section_id
            FROM told t CROSS JOIN LATERAL jsonb_array_elements(t.old_ways) AS way
        ) t
        WHERE r.user_id = t.user_id AND r.place = 's' AND r.place_id = t.section_id AND NOT EXISTS (
            SELECT FROM enrollments e
            WHERE e.section_id = t.section_id AND e.user_id = t.user_id AND e.course_id IS NOT NULL
              AND e.workflow_state NOT IN ('deleted', 'rejected') AND e.type <> 'StudentViewEnrollment'
        )
    ), written AS (
        INSERT INTO rosters AS r (user_id, place, place_id, sort_name, ways)
        SELECT user_id, 'c', course_id, sort_name, ways FROM told WHERE ways IS NOT NULL
        UNION ALL
        SELECT DISTINCT user_id, 's'::"char", unnest(sections), sort_name, NULL::jsonb FROM told
        ON CONFLICT (user_id, place, place_id) DO UPDATE SET ways = excluded.ways WHERE r.place = 'c'
    )
    INSERT INTO headcounts AS h (course_id, digest, ways, people)
    SELECT t.course_id, md5(one.ways::text)::uuid, one.ways, sum(one.people)
    FROM told t
    CROSS JOIN LATERAL (VALUES (t.old_ways, -1), (t.ways, 1)) AS one (ways, people)
    WHERE t.sort_name IS NOT NULL AND one.ways IS NOT NULL
    GROUP BY t.course_id, one.ways
    HAVING sum(one.people) <> 0
    ON CONFLICT (course_id, digest) DO UPDATE SET people = h.people + excluded.people;
    DELETE FROM headcounts WHERE course_id = ANY (ARRAY(SELECT DISTINCT unnest(courses))) AND people = 0;
END $$;

CREATE FUNCTION join_in_rosters(users bigint[], circles bigint[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_custom_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM take_roster_turn();
    WITH touched AS MATERIALIZED (
        SELECT DISTINCT user_id, group_id FROM unnest(users, circles) AS t (user_id, group_id)
    ), told AS MATERIALIZED (
        SELECT t.*, a.sort_name, m.user_id IS NOT NULL AS member
        FROM touched t
        LEFT JOIN LATERAL (SELECT sort_name FROM addressees WHERE id = t.user_id OFFSET 0) a ON true
        LEFT JOIN LATERAL (
            SELECT user_id FROM group_memberships
            WHERE group_id = t.group_id AND user_id = t.user_id AND workflow_state = 'accepted'
            LIMIT 1
        ) m ON true
    ), gone AS (
        DELETE FROM rosters r USING told t
        WHERE NOT t.member AND r.user_id = t.user_id AND r.place = 'g' AND r.place_id = t.group_id
    )
    INSERT INTO rosters (user_id, place, place_id, sort_name)
    SELECT user_id, 'g', group_id, sort_name FROM told WHERE member
    ON CONFLICT (user_id, place, place_id) DO NOTHING;
END $$;

-- Names, old and new; null is the name of those who cannot be written to.
CREATE FUNCTION rename_in_rosters(users bigint[], old_names text[], new_names text[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_custom_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM take_roster_turn();
    WITH told AS MATERIALIZED (
        SELECT * FROM unnest(users, old_names, new_names) AS t (user_id, old_name, new_name)
    ), renamed AS (
        UPDATE rosters r SET sort_name = t.new_name
        FROM told t
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

CREATE FUNCTION follow_enrollments() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE FUNCTION follow_group_memberships() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE FUNCTION follow_users() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- Nobody writes what the tables below are derived from until they hold it.
LOCK TABLE users, enrollments, group_memberships IN SHARE ROW EXCLUSIVE MODE;
DO $$
DECLARE
    followed text;
BEGIN
    FOREACH followed IN ARRAY ARRAY['enrollments', 'group_memberships', 'users'] LOOP
        EXECUTE format('CREATE TRIGGER rosters_arrived AFTER INSERT ON %1$I REFERENCING NEW TABLE AS arrived'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION follow_%1$s()', followed);
        EXECUTE format('CREATE TRIGGER rosters_changed AFTER UPDATE ON %1$I REFERENCING OLD TABLE AS gone'
                       ' NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION follow_%1$s()', followed);
    END LOOP;
END $$;
SELECT enroll_in_rosters(array_agg(user_id), array_agg(course_id)) FROM enrollments;
SELECT join_in_rosters(array_agg(user_id), array_agg(group_id)) FROM group_memberships;
CREATE INDEX rosters_by_name ON rosters (place, place_id, sort_name, user_id) WHERE sort_name IS NOT NULL;
ANALYZE rosters, headcounts;
