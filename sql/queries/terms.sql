-- name: put_terms :none
-- Terms as the newest snapshot has them.
INSERT INTO sis_terms AS t (id, start_at, end_at)
SELECT * FROM unnest(:ids::bigint[], :start_ats::timestamptz[], :end_ats::timestamptz[])
ON CONFLICT (id) DO UPDATE SET start_at = excluded.start_at, end_at = excluded.end_at
WHERE (t.start_at, t.end_at) IS DISTINCT FROM (excluded.start_at, excluded.end_at);

-- name: put_course_dates :none
-- The terms and own dates of courses as the newest snapshot has them; the terms as the texts of arrays.
INSERT INTO sis_course_dates AS d (course_id, terms, start_at, end_at)
SELECT course_id, terms::bigint[], start_at, end_at
FROM unnest(:course_ids::bigint[], :terms::text[], :start_ats::timestamptz[], :end_ats::timestamptz[])
    AS e (course_id, terms, start_at, end_at)
ON CONFLICT (course_id) DO UPDATE
SET terms = excluded.terms, start_at = excluded.start_at, end_at = excluded.end_at
WHERE (d.terms, d.start_at, d.end_at) IS DISTINCT FROM (excluded.terms, excluded.start_at, excluded.end_at);

-- name: courses_of_terms :many
-- The dates of all courses of these terms.
SELECT d.course_id, dates.start_at, dates.end_at
FROM sis_course_dates d CROSS JOIN LATERAL course_dates(d.terms, d.start_at, d.end_at) dates
WHERE d.terms && :terms::bigint[]
ORDER BY d.course_id;

-- name: dates_of_courses :many
-- The dates that follow from these own ones and terms, by the position of the question.
SELECT e.n::integer AS position, dates.start_at, dates.end_at
FROM unnest(:terms::text[], :start_ats::timestamptz[], :end_ats::timestamptz[])
    WITH ORDINALITY AS e (terms, start_at, end_at, n)
CROSS JOIN LATERAL course_dates(e.terms::bigint[], e.start_at, e.end_at) dates;
