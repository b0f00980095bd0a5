-- A snapshot beside the directory (CONTRACT 5.1). All of it in one transaction that sees one moment and may change
-- nothing but a temporary table.

-- name: present_moment :value
-- What a snapshot is as of: the clock is the one that is compared with events' times everywhere.
SELECT clock_timestamp();

-- name: begin_snapshot :none
-- The temporary table goes with the transaction. It stands before the empty one of the same form.
CREATE TEMPORARY TABLE snapshot_rows (LIKE snapshot_rows INCLUDING ALL) ON COMMIT DROP;

-- name: forbid_writing :none
-- From here on the server itself refuses to change anything but temporary tables.
SET TRANSACTION READ ONLY;

-- name: put_snapshot_rows :none
-- Rows of a snapshot, keys with values as JSON. What a later line says of the same row counts.
INSERT INTO snapshot_rows AS s (kind, label, ids, expected)
SELECT kind, label, CASE WHEN first_id IS NOT NULL THEN array_remove(ARRAY[first_id, second_id], NULL) END, expected::jsonb
FROM unnest(:kinds::text[], :labels::text[], :first_ids::bigint[], :second_ids::bigint[], :expected::text[])
    AS e (kind, label, first_id, second_id, expected)
ON CONFLICT (kind, label) DO UPDATE SET expected = s.expected || excluded.expected;

-- name: analyze_snapshot_rows :none
-- Without it the planner takes a million rows for a few.
ANALYZE snapshot_rows;

-- name: differences_of :many
-- Of one kind: so many of each sort, in an order that is the same every time, and how many there are of that sort.
SELECT difference, label, ids, expected, held, total
FROM (
    SELECT difference, label, ids, expected::text, held::text, count(*) OVER (PARTITION BY difference) AS total,
           row_number() OVER (PARTITION BY difference ORDER BY label, ids) AS n
    FROM differences(:kind::text, :whole::boolean)
) numbered
WHERE n <= :most::integer
ORDER BY difference, n;
