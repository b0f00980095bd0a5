-- name: list_recipients :many
-- A batch's recipients in the asked states behind a user, in user id order, so many at most. Most are in the arrays of
-- chunks; who was taken out of one stands in skipped_recipients. A chunk's recipients are in order and chunks hardly
-- ever overlap: the first chunks are read until they have enough, and the page ends with the last of these, at most.
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
    SELECT r.user_id, c.state,
           CASE WHEN c.state = 'delivered' THEN coalesce(r.conversation_id, c.first_id + r.n - 1) END,
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

-- name: lock_waiting_for_deleted :many
-- Pending chunks that have one of these users, who are deleted, among their recipients; locked, and then their batches,
-- which keeps new positions free. What is in work is delivered as it is.
WITH deleted AS MATERIALIZED (
    SELECT u.id FROM users u WHERE u.id = ANY (:user_ids::bigint[]) AND u.workflow_state = 'deleted'
), found AS MATERIALIZED (
    SELECT c.batch_id, c.position FROM chunks c
    WHERE c.state = 'pending' AND EXISTS (
        SELECT FROM deleted d
        WHERE d.id BETWEEN c.lowest_user_id AND c.highest_user_id AND d.id = ANY (c.recipients)
    )
    ORDER BY c.batch_id, c.position
    FOR UPDATE SKIP LOCKED
)
SELECT f.batch_id, f.position
FROM found f JOIN batches b ON b.id = f.batch_id
WHERE b.state IN ('created', 'sending', 'paused')
ORDER BY b.id
FOR NO KEY UPDATE OF b;

-- name: leave_out_deleted :none
-- Deleted users are taken out of pending chunks that are locked with their batches. All others keep the ids that they
-- had: behind each gap a chunk is cut, and what follows becomes a chunk of its own, at the end of the batch, where it
-- waits for its turn.
WITH member AS MATERIALIZED (
    SELECT c.batch_id, c.position, r.user_id, r.n, c.first_id + r.n - 1 AS message_id, d.id IS NOT NULL AS deleted
    FROM (
        SELECT * FROM unnest(:batch_ids::bigint[], :positions::integer[]) AS asked(batch_id, position)
        LIMIT cardinality(:positions)
    ) asked
    CROSS JOIN LATERAL (
        SELECT * FROM chunks WHERE batch_id = asked.batch_id AND position = asked.position OFFSET 0
    ) c
    CROSS JOIN LATERAL unnest(c.recipients) WITH ORDINALITY AS r(user_id, n)
    LEFT JOIN users d ON d.id = r.user_id AND d.id = ANY (:user_ids::bigint[]) AND d.workflow_state = 'deleted'
), run AS MATERIALIZED (
    SELECT batch_id, position, min(message_id) AS first_id, array_agg(user_id ORDER BY n) AS recipients,
           row_number() OVER (PARTITION BY batch_id, position ORDER BY min(n)) AS number
    FROM (
        SELECT m.*, m.n - row_number() OVER (PARTITION BY m.batch_id, m.position ORDER BY m.n) AS gap
        FROM member m WHERE NOT m.deleted
    ) m
    GROUP BY batch_id, position, gap
), left_out AS (
    INSERT INTO skipped_recipients (batch_id, user_id, reason, skipped_at)
    SELECT batch_id, user_id, 'user_deleted', statement_timestamp() FROM member WHERE deleted
), cut AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
    SELECT r.batch_id,
           (SELECT max(position) FROM chunks WHERE batch_id = r.batch_id)
               + row_number() OVER (PARTITION BY r.batch_id ORDER BY r.first_id),
           r.first_id, r.recipients, 'infinity', statement_timestamp()
    FROM run r
    WHERE r.number > 1
)
UPDATE chunks c
SET first_id = coalesce(left_over.first_id, c.first_id), recipients = coalesce(left_over.recipients, '{}'),
    skipped = c.skipped + left_over.gone, updated_at = statement_timestamp()
FROM (
    SELECT g.batch_id, g.position, g.gone, r.first_id, r.recipients
    FROM (
        SELECT batch_id, position, count(*) AS gone FROM member WHERE deleted GROUP BY batch_id, position
    ) g
    LEFT JOIN run r ON r.batch_id = g.batch_id AND r.position = g.position AND r.number = 1
    LIMIT cardinality(:positions)
) left_over
WHERE c.batch_id = left_over.batch_id AND c.position = left_over.position;
