-- name: lock_sender :none
-- What one sender starts at the same time is counted one after the other. Only who has a limit comes here.
SELECT pg_advisory_xact_lock(:lock_class::integer, hashint8(:sender_id::bigint));

-- name: recipients_started :value
-- How many recipients a sender had in the last 24 hours.
SELECT coalesce(sum(recipients), 0)::bigint AS started FROM counted_sends
WHERE sender_id = :sender_id::bigint AND counted_at > statement_timestamp() - interval '24 hours';

-- name: count_send :value
-- Counts a send unless its sender would go beyond the limit; whether it was counted. It forgets a few rows that count no
-- longer, of whichever sender, so that they do not pile up.
WITH forgotten AS (
    DELETE FROM counted_sends WHERE ctid = ANY (array(
        SELECT ctid FROM counted_sends WHERE counted_at <= statement_timestamp() - interval '24 hours'
        ORDER BY counted_at
        LIMIT 100
        FOR UPDATE SKIP LOCKED
    ))
), counted AS (
    INSERT INTO counted_sends (sender_id, counted_at, recipients)
    SELECT :sender_id::bigint, statement_timestamp(), :size::integer
    WHERE :size::integer <= :limit::bigint - (
        SELECT coalesce(sum(recipients), 0) FROM counted_sends
        WHERE sender_id = :sender_id::bigint AND counted_at > statement_timestamp() - interval '24 hours'
    )
    RETURNING recipients
)
SELECT EXISTS (SELECT FROM counted) AS counted;
