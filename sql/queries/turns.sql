-- When chunks are commanded: of each batch a few at a time. A chunk that waits for its turn has due_at = 'infinity'; one
-- that is commanded is due when its command is taken for lost.

-- name: take_turns :many
-- The next chunks of one batch, and in how many seconds each is to be commanded; see the function.
SELECT position, wait
FROM take_turns(:batch_id::bigint, :in_flight::integer, :patience::interval, :ahead::interval,
                :sender_pace::integer, :account_pace::integer, :root_account_id::bigint);

-- name: batches_with_room :many
-- Running batches of which chunks wait although fewer are commanded than that: whoever was to command them was killed, or
-- did not come to it. With the trace of the request that sent each. As many as the limit says, in no order.
SELECT b.id AS batch_id, b.traceparent FROM batches b
WHERE b.state IN ('created', 'sending')
  AND EXISTS (SELECT FROM chunks c WHERE c.batch_id = b.id AND c.state = 'pending' AND c.due_at = 'infinity' OFFSET 0)
  AND commanded_chunks(b.id) < :fewest::integer
LIMIT :limit::integer;

-- name: next_turn :value
-- How many seconds it is until the next pending chunk falls due, null where none does; what is overdue is not counted.
SELECT extract(epoch FROM min(due_at) - statement_timestamp())::float8 AS seconds FROM chunks
WHERE state = 'pending' AND due_at > statement_timestamp() AND due_at < 'infinity';
