-- name: begin_early_delivery :value
-- The trace in which a batch was accepted. From here on the transaction waits for no lock longer than that: a reader waits
-- for its end.
SELECT b.traceparent FROM batches b
WHERE b.id = :batch_id::bigint AND set_config('lock_timeout', :lock_timeout::text, true) IS NOT NULL;
