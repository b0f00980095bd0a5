-- What expanding a course of 100,000 members needs besides its enrolments: the users to leave out. Looking up
-- every member's user would cost four times as much as the rest.

CREATE INDEX users_unmessageable ON users (id) WHERE workflow_state NOT IN ('registered', 'pre_registered');

-- Users named by an enrolment and not heard of when it came. One that has come since, in a transaction that did
-- not see this row, may stay; so readers look again, and the table stays as small as the events' disorder.
CREATE TABLE unknown_members (user_id bigint PRIMARY KEY);

CREATE FUNCTION note_unknown_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unknown_members
    SELECT DISTINCT n.user_id FROM arrived n
    WHERE n.user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = n.user_id)
    ORDER BY n.user_id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER enrollments_arrived AFTER INSERT ON enrollments
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION note_unknown_members();
CREATE TRIGGER enrollments_changed AFTER UPDATE ON enrollments
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION note_unknown_members();

CREATE FUNCTION forget_unknown_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM unknown_members m USING arrived n WHERE m.user_id = n.id;
    RETURN NULL;
END $$;
CREATE TRIGGER users_arrived AFTER INSERT ON users
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION forget_unknown_members();
