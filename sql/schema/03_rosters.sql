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
