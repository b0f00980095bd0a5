-- When chunks are commanded: of each batch a few at a time. A chunk that waits for its turn has due_at = 'infinity'; one
-- that is commanded is due when its command is taken for lost.

-- name: take_turns :many
-- The next chunks of one batch, and in how many seconds each is to be commanded; see the function.
SELECT position, wait
FROM take_turns(:batch_id::bigint, :in_flight::integer, :patience::interval, :ahead::interval,
                :sender_pace::integer, :account_pace::integer, :root_account_id::bigint);

-- name: running_batches :many
-- A page of the batches that are under way, in the order of their ids, with the trace of the request that sent each.
-- Whether chunks wait in it although fewer are commanded than that: whoever was to command them was killed, or did not
-- come to it.
SELECT b.id AS batch_id, b.traceparent,
       EXISTS (SELECT FROM chunks c WHERE c.batch_id = b.id AND c.state = 'pending' AND c.due_at = 'infinity' OFFSET 0)
       AND commanded_chunks(b.id) < :fewest::integer AS has_room
FROM (
    SELECT id, traceparent FROM batches
    WHERE state IN ('created', 'sending') AND id > :behind::bigint
    ORDER BY id
    LIMIT :limit::integer
) b
ORDER BY b.id;

-- name: next_turn :one
-- How many seconds it is until the next pending chunk falls due; what is overdue is not counted. No row: none does.
SELECT extract(epoch FROM due_at - statement_timestamp())::float8 AS seconds FROM chunks
WHERE state = 'pending' AND due_at > statement_timestamp() AND due_at < 'infinity'
ORDER BY due_at
LIMIT 1;
