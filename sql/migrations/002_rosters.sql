-- What the triggers of sql/schema/03_rosters.sql derive from users, enrolments and memberships, so that finding and
-- counting people (canvas/endpoints.md 4.13) has a price that grows neither with a course nor with the institution.

-- Users named by an enrolment and unknown when it came, whom an expansion of their course leaves out. One that has come
-- since, in a transaction that did not see this row, may stay; so readers look again, and the table stays as small as the
-- events' disorder.
CREATE TABLE unknown_members (user_id bigint PRIMARY KEY);

-- Who is in a course (place 'c'), a section ('s') or a group ('g'), by the names people are sorted by: whatever of
-- their enrolments and memberships is not gone for good. Whether it counts at this moment is for the reader to see.
-- sort_name is null for those who cannot be written to. ways, of courses alone, is what a user's enrolments there
-- say apart from dates and from whom they observe: [section, type, workflow_state, date_state] of each.
CREATE TABLE rosters (
    user_id   bigint NOT NULL,
    place     "char" NOT NULL,
    place_id  bigint NOT NULL,
    sort_name text COLLATE "und-x-icu",
    ways      jsonb,
    PRIMARY KEY (user_id, place, place_id)
);
CREATE INDEX rosters_by_name ON rosters (place, place_id, sort_name, user_id) WHERE sort_name IS NOT NULL;

-- How many of a course's people who can be written to are enrolled in the same ways. However many people there are,
-- the ways are few. The digest stands for ways that may be too long for an index.
CREATE TABLE headcounts (
    course_id bigint NOT NULL,
    digest    uuid NOT NULL,
    ways      jsonb NOT NULL,
    people    bigint NOT NULL,
    PRIMARY KEY (course_id, digest)
);
