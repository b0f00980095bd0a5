-- name: intern_tag_sets :many
-- Numbers of tag lists, new ones added. settled: committed by somebody else, so the number may be remembered even if
-- this transaction is rolled back. A list added elsewhere in this very moment is in neither half: ask again.
WITH asked AS MATERIALIZED (
    SELECT array(SELECT jsonb_array_elements_text(value)) AS codes FROM jsonb_array_elements($1::jsonb)
), known AS MATERIALIZED (
    SELECT t.id, t.codes, t.xmin IS DISTINCT FROM pg_current_xact_id_if_assigned()::xid AS settled
    FROM tag_sets t JOIN asked ON asked.codes = t.codes
), added AS (
    INSERT INTO tag_sets (codes)
    SELECT codes FROM asked WHERE NOT EXISTS (SELECT FROM known WHERE known.codes = asked.codes) ORDER BY codes
    ON CONFLICT (codes) DO NOTHING
    RETURNING id, codes
)
SELECT id, codes, settled FROM known
UNION ALL
SELECT id, codes, false FROM added;

-- name: tag_sets_by_id :many
-- The lists behind numbers met in rows.
SELECT id, codes FROM tag_sets WHERE id = ANY ($1::integer[]);

-- name: codes_of_users :many
-- codes(user) and active codes(user) of every participant at once (semantics.md 4.2 step 1).
SELECT user_id, code, bool_or(active) AS active
FROM user_codes
WHERE user_id = ANY ($1::bigint[])
GROUP BY user_id, code;
