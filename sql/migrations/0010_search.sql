-- Finding people by name (canvas/endpoints.md 4.13).

-- The name people are sorted by: as the directory tells it, else the last word of the name first.
CREATE FUNCTION sort_name(sortable_name text, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(nullif(btrim(sortable_name), ''), regexp_replace(btrim(name), '^(.*\S)\s+(\S+)$', '\2, \1'));

-- What the terms of a search are looked for in. A term holds no white space, so none reaches across the line.
CREATE FUNCTION search_text(name text, short_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower((name || E'\n' || coalesce(short_name, '')) COLLATE "und-x-icu");

-- Everybody who can be written to, as a search shows and orders them.
CREATE VIEW addressees AS
SELECT id, coalesce(nullif(short_name, ''), name) AS name, name AS full_name, pronouns, uuid, avatar_url,
       sort_name(sortable_name, name) COLLATE "und-x-icu" AS sort_name, search_text(name, short_name) AS search_text
FROM users
WHERE workflow_state IN ('registered', 'pre_registered');

-- Pages in the order of names: a page is a stretch of this index.
CREATE INDEX users_by_name ON users (sort_name(sortable_name, name) COLLATE "und-x-icu", id)
WHERE workflow_state IN ('registered', 'pre_registered');

-- The few of a course who are no students, where only they are asked for.
CREATE INDEX enrollments_not_students ON enrollments (course_id, type, user_id) WHERE type <> 'StudentEnrollment';

-- A rare name among very many. pg_trgm comes with the server's own package and is a trusted extension, which the
-- owner of a database may create. Where neither is so, the service works all the same: rare names are then looked
-- for from beginning to end. The index can be made at any later time.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX users_by_part_of_name ON users USING gin (search_text(name, short_name) gin_trgm_ops)
        WHERE workflow_state IN ('registered', 'pre_registered');
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'pg_trgm cannot be used here; searches go without its index';
END $$;

-- One row or more if the viewer sees a person: by an enrolment in one of the ranges (service/domain/visibility.py), as a
-- member of one of the groups, or on the roster of one of the accounts. The planner puts the text in the place of the
-- call, so that it costs a look or two into enrollments_user.
CREATE FUNCTION sightings(person bigint, viewer bigint, ranges jsonb, circles jsonb, rosters bigint[])
    RETURNS SETOF integer LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 AS $$
SELECT 1
FROM enrollment_standings e
JOIN jsonb_to_recordset(ranges) AS r (
    course_id bigint, section_id bigint, user_id bigint, types text[], all_observers boolean, concluded boolean
) ON r.course_id = e.course_id
WHERE e.user_id = person
  AND (e.standing IN ('active', 'invited') OR (r.concluded AND e.standing = 'completed'))
  AND (r.section_id IS NULL OR e.section_id = r.section_id)
  AND (r.user_id IS NULL OR e.user_id = r.user_id)
  AND (r.types IS NULL OR e.type = ANY (r.types))
  AND e.type <> 'StudentViewEnrollment'
  AND (r.all_observers OR e.type <> 'ObserverEnrollment' OR e.associated_user_id = viewer)
UNION ALL
SELECT 1
FROM jsonb_to_recordset(circles) AS g (
    group_id bigint, course_id bigint, sections bigint[], staff_only boolean, concluded boolean
)
JOIN group_memberships m ON m.group_id = g.group_id AND m.user_id = person AND m.workflow_state = 'accepted'
WHERE g.course_id IS NULL OR EXISTS (
    SELECT FROM enrollment_standings e
    WHERE e.course_id = g.course_id AND e.user_id = person AND e.type <> 'StudentViewEnrollment'
      AND (e.standing IN ('active', 'invited') OR (g.concluded AND e.standing = 'completed'))
      AND (NOT g.staff_only OR e.type IN ('TeacherEnrollment', 'TaEnrollment', 'DesignerEnrollment'))
      AND (g.sections IS NULL OR e.section_id = ANY (g.sections))
)
UNION ALL
SELECT 1 FROM user_accounts WHERE user_id = person AND account_id = ANY (rosters)
UNION ALL
SELECT 1
FROM enrollment_standings e
JOIN courses c ON c.id = e.course_id
WHERE e.user_id = person AND c.account_id = ANY (rosters) AND e.standing <> 'none' AND e.type <> 'StudentViewEnrollment'
$$;
