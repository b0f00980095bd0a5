-- What delivering a chunk needs, the events of its batch, and the attempts at what workers carry out.

-- Who holds which of the sender's codes among the recipients of a chunk, for tags (canvas/semantics.md 4.2): a row for
-- each such code and whether it is a current one, with its holders; no list of holders stands for all recipients. Where
-- no recipient shares any, one row with the sender's codes alone.
-- The recipients span a range of user ids, so the courses named by the request are read as one range as well; who in it
-- is a recipient, the reader knows. Recipients for whom that settles everything are not looked up one by one.
-- A function, because read_chunk needs this for chunks that are to be delivered only: in a statement, PostgreSQL would
-- lock thirty tables and indexes and set up a plan of two hundred lines for a command that came twice, to find nothing.
CREATE OR REPLACE FUNCTION codes_in_chunk(of_batch bigint, at_position integer) RETURNS TABLE (
    sender_codes text[], sender_active_codes text[], code text, active boolean, holders bigint[]
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH chunk AS MATERIALIZED (
        SELECT c.recipients, b.sender_id, b.tags, b.members_of_course
        FROM chunks c
        JOIN batches b ON b.id = c.batch_id
        WHERE c.batch_id = of_batch AND c.position = at_position
    ), sender_code AS MATERIALIZED (
        SELECT u.code, bool_or(u.active) AS active
        FROM user_codes u WHERE u.user_id = (SELECT sender_id FROM chunk)
        GROUP BY u.code
    ), asked_code AS MATERIALIZED (
        SELECT code, active, CASE WHEN code LIKE 'course\_%' THEN substr(code, 8)::bigint END AS course_id
        FROM sender_code WHERE code = ANY ((SELECT tags FROM chunk)::text[])
    ), settling AS MATERIALIZED (
        -- Both currently in an asked course, and nothing but courses asked for: no other code can matter to the two.
        SELECT array_agg(course_id) FILTER (WHERE active) AS course_ids
        FROM asked_code HAVING count(*) = count(course_id)
    ), promised AS MATERIALIZED (
        -- Looked up when the send was accepted; the sender is current in the course to this moment.
        SELECT members_of_course AS course_id FROM chunk
        WHERE members_of_course = ANY ((SELECT course_ids FROM settling)::bigint[])
    ), asked AS MATERIALIZED (
        -- OFFSET 0: the standing is worked out once for each row, not for each mention.
        SELECT e.user_id, e.course_id, e.standing <> 'completed' AS active,
               e.standing <> 'completed' AND e.course_id = ANY ((SELECT course_ids FROM settling)::bigint[]) AS settled
        FROM (
            SELECT user_id, course_id, standing FROM enrollment_standings
            WHERE course_id = ANY (array(SELECT course_id FROM asked_code
                                         WHERE course_id IS NOT NULL AND NOT EXISTS (SELECT FROM promised)))
              AND user_id BETWEEN (SELECT recipients[1] FROM chunk)
                              AND (SELECT recipients[cardinality(recipients)] FROM chunk)
              AND type <> 'StudentViewEnrollment'
            OFFSET 0
        ) e
        WHERE e.standing IN ('active', 'invited', 'completed')
    ), usual AS MATERIALIZED (
        -- One course, and those in it are the recipients, one for one: then none is looked up or listed.
        SELECT course_id FROM promised
        UNION ALL
        SELECT min(course_id) FROM asked WHERE settled
        HAVING array_agg(user_id) = (SELECT recipients FROM chunk) AND min(course_id) = max(course_id)
    ), other AS MATERIALIZED (
        SELECT r.user_id, held.code, held.active
        FROM (
            SELECT u AS user_id FROM chunk, unnest(chunk.recipients) AS u
            WHERE NOT EXISTS (SELECT FROM usual) AND (SELECT count(*) FROM sender_code) > 0
              AND u NOT IN (SELECT user_id FROM asked WHERE settled)
        ) r
        CROSS JOIN LATERAL (
            SELECT u.code, bool_or(u.active) AS active FROM user_codes u WHERE u.user_id = r.user_id GROUP BY u.code
        ) held
        JOIN sender_code s ON s.code = held.code
    ), by_code AS (
        SELECT 'course_' || course_id AS code, active, array_agg(user_id) AS holders
        FROM asked
        WHERE NOT (settled AND EXISTS (SELECT FROM usual))
        GROUP BY course_id, active
        UNION ALL
        -- No list of holders stands for all recipients.
        SELECT 'course_' || course_id, true, NULL FROM usual
        UNION ALL
        SELECT code, active, array_agg(user_id) FROM other GROUP BY code, active
        UNION ALL
        -- An empty code stands for any current code at all, which decides whether concluded ones count.
        SELECT '', true, array_agg(o.user_id)
        FROM (SELECT user_id FROM other GROUP BY user_id HAVING NOT bool_or(active)) o
        WHERE EXISTS (SELECT FROM user_codes u WHERE u.user_id = o.user_id AND u.active OFFSET 0)
        HAVING count(*) > 0
    )
    SELECT array(SELECT code FROM sender_code), array(SELECT code FROM sender_code WHERE active),
           by_code.code, by_code.active, by_code.holders
    FROM chunk LEFT JOIN by_code ON true;
END $$;

-- Chunks that have this user among their recipients, are not delivered and could be: a reader has them delivered at once
-- (CONTRACT 3.3). One that has failed, or may have killed its worker, is left to the attempts that workers have. PostgreSQL
-- makes it part of the statement that calls it, which holds for functions of one statement only. OFFSET 0: an array is
-- read when nothing else is left to ask.
CREATE OR REPLACE FUNCTION awaited_chunks(of_user bigint) RETURNS TABLE (batch_id bigint, "position" integer)
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT near.batch_id, near.position
    FROM (
        SELECT c.batch_id, c.position, c.recipients
        FROM chunks c
        CROSS JOIN LATERAL (SELECT FROM batches b WHERE b.id = c.batch_id AND b.state IN ('created', 'sending') OFFSET 0) b
        WHERE c.state = 'pending' AND c.lowest_user_id <= of_user AND c.highest_user_id >= of_user
          AND c.attempts = 0 AND c.redeliveries = 0
        OFFSET 0
    ) near
    WHERE of_user = ANY (near.recipients)
$$;

-- The state of a batch once so many of its recipients are settled, and so many of those failed. What was cancelled
-- stays cancelled; what was paused and has nothing left to do is at its end.
CREATE OR REPLACE FUNCTION batch_state(state text, settled integer, failed integer, total integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN settled < total THEN CASE state WHEN 'created' THEN 'sending' ELSE state END
                WHEN state = 'cancelled' THEN state
                WHEN failed > 0 THEN 'error' ELSE 'sent' END;

-- The events when so many more recipients of a batch were settled at that moment by a chunk: its beginning, with the first
-- recipients that are settled; then how far it is, or how it ended. Those whom a cancel skips are no beginning, so the
-- chunk that was in work then may be it.
CREATE OR REPLACE FUNCTION batch_events(batch batches, settled_at timestamptz, size integer) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (batch).started_at = settled_at
                     AND ((batch).delivered + (batch).failed + (batch).skipped = size OR (batch).state = 'cancelled')
                THEN ARRAY['batch_started'] ELSE ARRAY[]::text[] END
           || CASE WHEN (batch).finished_at IS NULL THEN 'batch_progress'
                   WHEN (batch).state = 'error' THEN 'batch_failed' ELSE 'batch_finished' END;

-- The same, as the release before asks for it.
CREATE OR REPLACE FUNCTION batch_events(state text, first boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN first THEN ARRAY['batch_started'] ELSE ARRAY[]::text[] END
           || CASE state WHEN 'sent' THEN 'batch_finished' WHEN 'cancelled' THEN 'batch_finished'
                         WHEN 'error' THEN 'batch_failed' ELSE 'batch_progress' END;

-- A batch in the body of its events (CONTRACT 4): ids and counts as text.
CREATE OR REPLACE FUNCTION batch_body(batch batches) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object(
        'batch_id', (batch).id::text, 'state', (batch).state, 'total', (batch).total::text,
        'delivered', (batch).delivered::text, 'failed', (batch).failed::text, 'skipped', (batch).skipped::text);

-- When work is due again that has failed at this moment, after ``attempts`` failures before: the first wait is
-- ``first_wait``, and each one twice the one before.
CREATE OR REPLACE FUNCTION next_attempt_at(attempts integer, first_wait interval, now timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN now + first_wait * 2 ^ attempts;

-- Whether a failure at this moment counts, of work that failed ``attempts`` times before, last at ``tried_at``: not
-- within the wait that followed. A command that comes twice must not use up the attempts in a moment.
CREATE OR REPLACE FUNCTION attempt_counts(
    attempts integer, tried_at timestamptz, first_wait interval, now timestamptz
) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN tried_at IS NULL OR next_attempt_at(attempts - 1, first_wait, tried_at) <= now;

-- Recipients per second that were delivered or failed in the last ten seconds; of a batch that has ended, in the last ten
-- of its work. The newest 500 chunks are looked at, which are fewer seconds where it goes fast. Null before the first.
-- In PL/pgSQL, here and below, because that keeps its plans.
CREATE OR REPLACE FUNCTION batch_rate(batch batches) RETURNS double precision
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    until timestamptz := coalesce(batch.finished_at, statement_timestamp());
    since timestamptz := greatest(until - interval '10 s', batch.created_at, batch.send_at);
    rate double precision;
BEGIN
    IF batch.started_at IS NULL THEN
        RETURN NULL;
    END IF;
    WITH recent AS MATERIALIZED (
        SELECT c.updated_at, c.size
        FROM chunks c
        WHERE c.batch_id = batch.id AND c.state IN ('delivered', 'failed') AND c.updated_at > since
        ORDER BY c.updated_at DESC
        LIMIT 500
    ), began AS (
        -- Where not all were looked at, the time counts from the oldest of them, which then does not count itself.
        SELECT CASE WHEN count(*) = 500 THEN min(updated_at) ELSE since END AS at FROM recent
    )
    SELECT coalesce((SELECT sum(size) FROM recent WHERE updated_at > at), 0)
           / nullif(extract(epoch FROM until - at), 0)
    INTO rate FROM began;
    RETURN rate;
END $$;

-- How many recipients of a batch are skipped, with those who were taken out of chunks that are not settled yet.
CREATE OR REPLACE FUNCTION batch_skipped(batch batches) RETURNS integer
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN batch.skipped + (
        SELECT coalesce(sum(c.skipped), 0)
        FROM chunks c WHERE c.batch_id = batch.id AND c.state = 'pending' AND c.skipped > 0);
END $$;
