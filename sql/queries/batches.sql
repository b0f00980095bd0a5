-- name: insert_batch :one
-- A batch with its chunks: the recipients come sorted in one array and are cut here, each chunk with a block of
-- ids of its own. The template message gets an id too, because the batch object shows it. The array comes as text,
-- which the driver passes on far faster than a list of 100,000 numbers.
WITH asked AS MATERIALIZED (
    SELECT $5::text::bigint[] AS recipients
), batch AS (
    INSERT INTO batches (send_id, sender_id, message_id, tags, user_note, state, total, created_at, traceparent,
                         members_of_course)
    SELECT $1::bigint, $2::bigint, nextval('id_blocks'), $3::text[], $4::boolean, 'created',
           cardinality(recipients), $6::timestamptz, $9::text, $10::bigint
    FROM asked
    RETURNING id
), cut AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
    SELECT batch.id, n, nextval('id_blocks'), asked.recipients[n * $7::integer + 1 : (n + 1) * $7::integer],
           $8::timestamptz, $6::timestamptz
    FROM asked, batch, generate_series(0, (cardinality(asked.recipients) - 1) / $7::integer) AS n
    RETURNING position
)
SELECT batch.id, (SELECT count(*) FROM cut) AS chunks FROM batch;

-- name: list_batches :many
-- A page of the sender's batches in the asked states, oldest first (endpoints.md 4.3).
SELECT b.*
FROM batches b
WHERE b.sender_id = $1::bigint AND b.state = ANY ($2::text[])
ORDER BY b.id
LIMIT $3::bigint OFFSET $4::bigint;

-- name: count_batches :one
-- For the number of the last page.
SELECT count(*) FROM batches WHERE sender_id = $1::bigint AND state = ANY ($2::text[]);

-- name: find_batch :one
-- One batch of this sender in whatever state; somebody else's is not found.
SELECT b.* FROM batches b WHERE b.id = $1::bigint AND b.sender_id = $2::bigint;
