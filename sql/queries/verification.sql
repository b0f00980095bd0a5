-- name: count_copies :single
-- The proof after a bulk send, from the inboxes and not from its own counters: how many of a batch's recipients there
-- are, and how many of them have no copy in the thread that the chunk names, or more than one copy anywhere.
WITH batch AS (
    SELECT send_id, sender_id FROM batches WHERE id = :batch_id::bigint
), recipient AS (
    SELECT r.user_id, coalesce(c.conversation_ids[r.n], c.first_id + r.n - 1) AS conversation_id
    FROM chunks c, unnest(c.recipients) WITH ORDINALITY AS r(user_id, n)
    WHERE c.batch_id = :batch_id::bigint
), message AS (
    SELECT m.conversation_id FROM conversation_messages m WHERE m.send_id = (SELECT send_id FROM batch)
), copy AS (
    SELECT p.user_id, p.conversation_id
    FROM message m
    JOIN participants p ON p.conversation_id = m.conversation_id
    WHERE p.user_id <> (SELECT sender_id FROM batch)
), placed AS (
    -- Counted side by side and not joined: tables that were never analysed would have it compare each with each.
    SELECT user_id, conversation_id, count(*) FILTER (WHERE meant) AS meant, count(*) FILTER (WHERE NOT meant) AS copies
    FROM (
        SELECT user_id, conversation_id, true AS meant FROM recipient
        UNION ALL
        SELECT user_id, conversation_id, false FROM copy
    ) AS both_sides
    GROUP BY user_id, conversation_id
), counted AS (
    SELECT user_id, sum(copies) AS copies, bool_or(meant > 0 AND copies > 0) AS in_place
    FROM placed
    GROUP BY user_id
    HAVING sum(meant) > 0
)
SELECT count(*) AS recipients,
       count(*) FILTER (WHERE copies > 1) AS duplicates,
       count(*) FILTER (WHERE NOT in_place) AS missing
FROM counted;
