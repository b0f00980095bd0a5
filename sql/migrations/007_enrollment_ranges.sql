-- Enrolments of one course that a viewer may see, as service/domain/visibility.py asks for them; n, where there are
-- several questions, is the one that the range is part of.
CREATE TYPE enrollment_range AS (
    n integer, course_id bigint, section_id bigint, user_id bigint, types text[], all_observers boolean,
    concluded boolean
);
