-- name: intern_tag_sets :many
-- Numbers of tag lists, new ones added. settled: from a transaction that began to write before this one, so it has been
-- committed and the number may be remembered even if this one is rolled back; a savepoint of this one is younger. A list
-- added elsewhere in this very moment is in neither half: ask again.
WITH asked AS MATERIALIZED (
    SELECT array(SELECT jsonb_array_elements_text(value)) AS codes FROM jsonb_array_elements(:lists::jsonb)
), known AS MATERIALIZED (
    SELECT t.id, t.codes, coalesce(age(t.xmin) > age(pg_current_xact_id_if_assigned()::xid), true) AS settled
    FROM tag_sets t JOIN asked ON asked.codes = t.codes
), added AS (
    INSERT INTO tag_sets (codes)
    SELECT codes FROM asked WHERE NOT EXISTS (SELECT FROM known WHERE known.codes = asked.codes) ORDER BY codes
    ON CONFLICT (codes) DO NOTHING
    RETURNING id, codes
)
SELECT codes, id, settled FROM known
UNION ALL
SELECT codes, id, false FROM added;

-- name: tag_sets_by_id :many
-- The lists behind numbers met in rows; settled as in intern_tag_sets.
SELECT id, codes, coalesce(age(xmin) > age(pg_current_xact_id_if_assigned()::xid), true) AS settled
FROM tag_sets WHERE id = ANY (:set_ids::integer[]);

-- name: codes_of_users :many
-- codes(user) and active codes(user) of every participant at once (semantics.md 4.2 step 1).
SELECT user_id, code, bool_or(active) AS active
FROM user_codes
WHERE user_id = ANY (:user_ids::bigint[])
GROUP BY user_id, code;

-- name: conversation_tag_sets :many
-- What reused conversations were filed under so far.
SELECT c.id, c.tag_set
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (SELECT id, tag_set FROM conversations WHERE id = asked.id OFFSET 0) c;

-- name: retag_conversations :none
-- A conversation collects the tags of its messages (semantics.md 4.2 step 5).
UPDATE conversations c SET tag_set = u.tag_set
FROM (
    SELECT * FROM unnest(:conversation_ids::bigint[], :tag_sets::integer[]) AS v(id, tag_set)
    LIMIT cardinality(:conversation_ids)
) u
WHERE c.id = u.id;

-- name: retag_participants :none
-- New tags of rows in reused conversations, in the order of the rows' key.
UPDATE participants p SET tag_set = u.tag_set
FROM (
    SELECT *
    FROM unnest(:conversation_ids::bigint[], :user_ids::bigint[], :tag_sets::integer[])
         AS v(conversation_id, user_id, tag_set)
    LIMIT cardinality(:conversation_ids)
) u
WHERE p.conversation_id = u.conversation_id AND p.user_id = u.user_id;
