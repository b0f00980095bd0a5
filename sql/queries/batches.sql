-- name: insert_batch :single
-- A batch with its chunks: the recipients come sorted in one array and are cut here, each chunk with a block of
-- ids of its own. None is commanded yet. The template message gets an id too, because the batch object shows it. The
-- array comes as text, which the driver passes on far faster than a list of 100,000 numbers; null: the one that
-- expand_ranges holds. Whose account was merged since the request
-- found its recipients is said too: the statement waits for merges and sees what they left. There are few merged
-- accounts, and each is looked for in the sorted recipients, of which there may be very many.
WITH asked AS MATERIALIZED (
    SELECT coalesce(:recipients::text, current_setting('clarion.recipients', true))::bigint[] AS recipients
), batch AS (
    INSERT INTO batches (send_id, sender_id, message_id, tags, user_note, state, total, created_at, traceparent,
                         members_of_course, audiences, from_conversation_id)
    SELECT :send_id::bigint, :sender_id::bigint, nextval('id_blocks'), :tags::text[], :user_note::boolean, 'created',
           cardinality(recipients), :created_at::timestamptz, :traceparent::text, :members_of_course::bigint,
           :audiences::text[], :from_conversation_id::bigint
    FROM asked
    RETURNING id
), cut AS (
    INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
    SELECT batch.id, n, nextval('id_blocks'),
           asked.recipients[n * :chunk_size::integer + 1 : (n + 1) * :chunk_size::integer],
           'infinity', :created_at::timestamptz
    FROM asked, batch, generate_series(0, (cardinality(asked.recipients) - 1) / :chunk_size::integer) AS n
    RETURNING position
)
SELECT batch.id, (SELECT count(*) FROM cut) AS chunks,
       array(
           SELECT u.id FROM asked, users u
           WHERE u.merged_into_user_id IS NOT NULL
             AND u.id BETWEEN asked.recipients[1] AND asked.recipients[cardinality(asked.recipients)]
             AND asked.recipients[width_bucket(u.id, asked.recipients)] = u.id
           UNION ALL
           SELECT u.id FROM users u WHERE u.merged_into_user_id IS NOT NULL AND u.id = :sender_id::bigint
       ) AS merged_user_ids
FROM batch;

-- name: list_batches :many
-- A page of the sender's batches in the asked states, oldest first (endpoints.md 4.3). Where accounts are given, only
-- those of these root accounts and of no other, here and below (semantics.md 13).
SELECT b.id, b.send_id, b.message_id, b.tags, b.state, b.total, b.delivered, b.failed, batch_skipped(b) AS skipped,
       b.created_at, b.started_at, b.finished_at, b.send_at, b.error, batch_rate(b) AS rate,
       statement_timestamp() AS seen_at,
       b.forgotten_at IS NOT NULL AS forgotten
FROM batches b
WHERE b.sender_id = :sender_id::bigint AND b.state = ANY (:states::text[])
  AND (:account_ids::bigint[] IS NULL OR (
      SELECT s.root_account_ids <> '{}' AND s.root_account_ids <@ :account_ids::bigint[]
      FROM sends s WHERE s.id = b.send_id
  ))
ORDER BY b.id
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: list_newest_batches :many
-- The same, newest first (CONTRACT 3.1).
SELECT b.id, b.send_id, b.message_id, b.tags, b.state, b.total, b.delivered, b.failed, batch_skipped(b) AS skipped,
       b.created_at, b.started_at, b.finished_at, b.send_at, b.error, batch_rate(b) AS rate,
       statement_timestamp() AS seen_at,
       b.forgotten_at IS NOT NULL AS forgotten
FROM batches b
WHERE b.sender_id = :sender_id::bigint AND b.state = ANY (:states::text[])
  AND (:account_ids::bigint[] IS NULL OR (
      SELECT s.root_account_ids <> '{}' AND s.root_account_ids <@ :account_ids::bigint[]
      FROM sends s WHERE s.id = b.send_id
  ))
ORDER BY b.id DESC
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: count_batches :value
-- For the number of the last page.
SELECT count(*) FROM batches b
WHERE b.sender_id = :sender_id::bigint AND b.state = ANY (:states::text[])
  AND (:account_ids::bigint[] IS NULL OR (
      SELECT s.root_account_ids <> '{}' AND s.root_account_ids <@ :account_ids::bigint[]
      FROM sends s WHERE s.id = b.send_id
  ));

-- name: find_batch :one
-- One batch of this sender in any state; one of another sender is not found.
SELECT b.id, b.send_id, b.message_id, b.tags, b.state, b.total, b.delivered, b.failed, batch_skipped(b) AS skipped,
       b.created_at, b.started_at, b.finished_at, b.send_at, b.error, batch_rate(b) AS rate,
       statement_timestamp() AS seen_at,
       b.forgotten_at IS NOT NULL AS forgotten
FROM batches b
WHERE b.id = :batch_id::bigint AND b.sender_id = :sender_id::bigint
  AND (:account_ids::bigint[] IS NULL OR (
      SELECT s.root_account_ids <> '{}' AND s.root_account_ids <@ :account_ids::bigint[]
      FROM sends s WHERE s.id = b.send_id
  ));
