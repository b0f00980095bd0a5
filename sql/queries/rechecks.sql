-- name: read_reach :single
-- By which way the recipients of a batch were reached when it was accepted.
SELECT b.sender_id, b.audiences, b.from_conversation_id, s.context_type, s.context_id
FROM batches b JOIN sends s ON s.id = b.send_id
WHERE b.id = :batch_id::bigint;

-- name: take_out :none
-- Recipients who do not get what their chunk brings any more, each with the reason; the others keep their order, and take
-- their ids from first_id on as before. Only where the delivery that follows in this transaction finds the chunk as it was
-- read.
WITH chunk AS MATERIALIZED (
    SELECT c.batch_id, c.position, c.recipients
    FROM chunks c JOIN batches b ON b.id = c.batch_id
    WHERE c.batch_id = :batch_id::bigint AND c.position = :position::integer AND c.state = 'pending'
      AND c.first_id = :first_id::bigint AND b.state IN ('created', 'sending')
    FOR UPDATE OF c
), kept AS MATERIALIZED (
    SELECT array_agg(r.user_id ORDER BY r.n) AS recipients
    FROM chunk, unnest(chunk.recipients) WITH ORDINALITY AS r(user_id, n)
    WHERE r.user_id <> ALL (:user_ids::bigint[])
), listed AS (
    INSERT INTO skipped_recipients (batch_id, user_id, reason, skipped_at)
    SELECT chunk.batch_id, t.user_id, t.reason, statement_timestamp()
    FROM chunk, unnest(:user_ids, :reasons::text[]) AS t(user_id, reason)
    WHERE t.user_id = ANY (chunk.recipients)
    ON CONFLICT DO NOTHING
)
UPDATE chunks c
SET recipients = coalesce(kept.recipients, '{}'),
    skipped = c.skipped + cardinality(chunk.recipients) - coalesce(cardinality(kept.recipients), 0)
FROM chunk, kept WHERE c.batch_id = chunk.batch_id AND c.position = chunk.position;
