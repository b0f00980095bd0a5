-- name: list_recipients :many
-- A batch's recipients in the asked states behind a user, in user id order, so many at most. Most are in the arrays of
-- chunks; who was taken out of one stands in skipped_recipients. A chunk's recipients are in order and chunks hardly
-- ever overlap: the first chunks are read until they have enough, and nobody behind the last of these is on the page.
WITH bound AS MATERIALIZED (
    SELECT CASE WHEN count(*) = :limit::bigint THEN max(user_id) ELSE 9223372036854775807 END AS last
    FROM (
        SELECT r.user_id
        FROM (
            SELECT c.recipients FROM chunks c
            WHERE c.batch_id = :batch_id::bigint AND c.state = ANY (:states::text[])
              AND c.highest_user_id > :after::bigint
            ORDER BY c.lowest_user_id
        ) c
        CROSS JOIN LATERAL unnest(c.recipients) AS r(user_id)
        WHERE r.user_id > :after
        LIMIT :limit
    ) enough
)
SELECT found.user_id, found.state, found.conversation_id, found.message_id, found.error, found.updated_at
FROM (
    SELECT r.user_id, c.state, CASE WHEN c.state = 'delivered' THEN coalesce(r.conversation_id, c.first_id + r.n - 1) END,
           CASE WHEN c.state = 'delivered' THEN c.first_id + r.n - 1 END, c.error, c.updated_at
    FROM bound
    CROSS JOIN LATERAL (
        SELECT * FROM chunks
        WHERE batch_id = :batch_id AND state = ANY (:states) AND highest_user_id > :after
          AND lowest_user_id <= bound.last
        OFFSET 0
    ) c
    CROSS JOIN LATERAL unnest(c.recipients, c.conversation_ids) WITH ORDINALITY AS r(user_id, conversation_id, n)
    WHERE r.user_id > :after AND r.user_id <= bound.last
    UNION ALL
    (SELECT s.user_id, 'skipped', NULL, NULL, s.reason, s.skipped_at
     FROM skipped_recipients s
     WHERE s.batch_id = :batch_id AND 'skipped' = ANY (:states) AND s.user_id > :after
     ORDER BY s.user_id
     LIMIT :limit)
) found(user_id, state, conversation_id, message_id, error, updated_at)
ORDER BY found.user_id
LIMIT :limit;
