-- name: watched_batches :many
-- All batches that a gateway's open streams show, in one look; their watchers were found to be their senders before.
SELECT b.id, b.send_id, b.message_id, b.tags, b.state, b.total, b.delivered, b.failed, batch_skipped(b) AS skipped,
       b.created_at, b.started_at, b.finished_at, b.send_at, b.error, batch_rate(b) AS rate,
       statement_timestamp() AS seen_at,
       b.forgotten_at IS NOT NULL AS forgotten
FROM batches b
WHERE b.id = ANY (:batch_ids::bigint[]);

-- name: notify_of_batches :none
-- A statement of its own, after the change is committed: a transaction that notifies holds a lock of the whole database
-- while it is committed, so that all that do take turns at the disk. Alone it writes nothing and waits for no disk.
SELECT pg_notify('clarion_batches', batch_id::text) FROM unnest(:batch_ids::bigint[]) AS batch_id;
