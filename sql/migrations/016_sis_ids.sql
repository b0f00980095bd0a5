-- What snapshots of a student information system say (CONTRACT 5.1) and the directory has no place for.

-- Ids for what is first seen in a snapshot. Local ids of Canvas count up from 1 and never come near; what follows fits
-- below 10^13, where local ids end (CONTRACT 5), and below 2^53, where whole numbers of JavaScript end.
CREATE SEQUENCE sis_id_numbers AS bigint START WITH 9000000000000 MINVALUE 9000000000000 MAXVALUE 9999999999999 CACHE 100;

-- Which id of the directory a SIS id is, once it has been met: the same for ever, whoever imports what again.
CREATE TABLE sis_ids (
    kind   text NOT NULL,
    sis_id text NOT NULL,
    id     bigint NOT NULL,
    PRIMARY KEY (kind, sis_id)
);

-- Sections that events have brought have a SIS id of their own, and by it their courses are known.
CREATE INDEX sections_sis_source_id ON sections (sis_source_id) WHERE sis_source_id IS NOT NULL;

-- Terms. No event has them; their dates are those of courses without own ones.
CREATE TABLE sis_terms (
    id       bigint PRIMARY KEY,
    start_at timestamptz,
    end_at   timestamptz
);

-- The terms of courses and the courses' own dates, from which their dates follow again when a term changes.
CREATE TABLE sis_course_dates (
    course_id bigint PRIMARY KEY,
    terms     bigint[] NOT NULL,
    start_at  timestamptz,
    end_at    timestamptz
);
CREATE INDEX sis_course_dates_terms ON sis_course_dates USING gin (terms);

-- Who observes whom, in all courses of the observed. listed_by: the user whose row of OneRoster says so, which may be
-- either of them, and who of the two observes follows from sis_guardians; 0 where it was said without a doubt.
CREATE TABLE sis_observers (
    observer_id bigint NOT NULL,
    student_id  bigint NOT NULL,
    listed_by   bigint NOT NULL,
    PRIMARY KEY (observer_id, student_id, listed_by)
);
CREATE INDEX sis_observers_student ON sis_observers (student_id);
CREATE INDEX sis_observers_listed_by ON sis_observers (listed_by) WHERE listed_by <> 0;

-- Users whose role is guardian or parent.
CREATE TABLE sis_guardians (user_id bigint PRIMARY KEY);

-- Enrolments as an observer that follow from sis_observers and an enrolment of the observed.
CREATE TABLE sis_observations (
    observer_id           bigint NOT NULL,
    student_enrollment_id bigint NOT NULL,
    enrollment_id         bigint NOT NULL,
    PRIMARY KEY (student_enrollment_id, observer_id)
);
CREATE UNIQUE INDEX sis_observations_enrollment ON sis_observations (enrollment_id);

-- The form of the temporary table in which ``clarion directory verify`` collects a snapshot; this one stays empty.
-- ids: of the row, one or two; null as long as the directory does not know them.
CREATE TABLE snapshot_rows (
    kind     text NOT NULL,
    label    text NOT NULL,
    ids      bigint[],
    expected jsonb NOT NULL,
    PRIMARY KEY (kind, label)
);
