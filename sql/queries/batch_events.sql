-- name: watched_batches :many
-- All batches that a gateway's open streams show, in one look; their watchers were found to be their senders before.
SELECT id, send_id, message_id, tags, state, total, delivered, failed, skipped, created_at, started_at, finished_at,
       statement_timestamp() AS seen_at
FROM batches
WHERE id = ANY (:batch_ids::bigint[]);

-- name: notify_of_batches :none
-- A statement of its own, after the change is committed: a transaction that notifies holds a lock of the whole database
-- while it is committed, so that all that do take turns at the disk. Alone it writes nothing and waits for no disk.
SELECT pg_notify('clarion_batches', batch_id::text) FROM unnest(:batch_ids::bigint[]) AS batch_id;
