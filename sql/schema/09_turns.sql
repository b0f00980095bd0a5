-- When the chunks of a batch are commanded.

-- How many chunks of a batch are commanded and not done. What waits to be tried again after a failure is left out: others
-- take its place.
CREATE OR REPLACE FUNCTION commanded_chunks(of_batch bigint) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT count(*) FROM chunks
    WHERE batch_id = of_batch AND state = 'pending' AND due_at < 'infinity' AND attempts = 0
$$;

-- The account by whose pace a send goes: that of its context, of a course's for what is in a course; else the given one.
CREATE OR REPLACE FUNCTION account_of_send(of_send bigint, otherwise bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT CASE s.context_type
        WHEN 'Account' THEN s.context_id
        WHEN 'Course' THEN (SELECT account_id FROM courses WHERE id = s.context_id)
        WHEN 'Section' THEN (SELECT c.account_id FROM sections t JOIN courses c ON c.id = t.course_id WHERE t.id = s.context_id)
        WHEN 'Group' THEN (
            SELECT CASE g.context_type WHEN 'Course' THEN (SELECT account_id FROM courses WHERE id = g.context_id)
                                       ELSE coalesce(g.account_id, g.context_id) END
            FROM groups g WHERE g.id = s.context_id)
        END
    INTO found FROM sends s WHERE s.id = of_send;
    RETURN coalesce(found, otherwise);
END $$;

-- Commands as many chunks of a running batch as lack to ``in_flight``, in their order: they are due again after
-- ``patience``. Each of them, and the seconds until its turn: 0, or where a pace is given (recipients a minute; 0 is
-- none), more; then it falls due at its turn, and the sweepers command it. Turns are given no longer than ``ahead``
-- before they come, so that the turns of one sender hold up no other of the account; one at least.
-- A turn begins when those before it have had their time, of the sender and of the account (a leaky bucket that holds
-- nothing). The account's time runs on while a sender's pace is the slower one.
-- The batch is locked in a statement of its own: who has waited for it sees what the others have taken.
CREATE OR REPLACE FUNCTION take_turns(
    of_batch bigint, in_flight integer, patience interval, ahead interval,
    sender_pace integer, account_pace integer, root_account bigint
) RETURNS TABLE ("position" integer, wait double precision) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    batch record;
    chunk record;
    commanded bigint;
    account_id bigint;
    moment timestamptz;
    sender_next timestamptz := '-infinity';
    account_next timestamptz := '-infinity';
    turn timestamptz;
BEGIN
    SELECT b.sender_id, b.send_id INTO batch FROM batches b
    WHERE b.id = of_batch AND b.state IN ('created', 'sending') FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    commanded := commanded_chunks(of_batch);
    IF commanded >= in_flight THEN
        RETURN;
    END IF;
    IF sender_pace = 0 AND account_pace = 0 THEN
        RETURN QUERY
        -- A CTE, because a subquery with a limit may be run again for each row, and take more each time.
        WITH next AS MATERIALIZED (
            SELECT w.position FROM chunks w
            WHERE w.batch_id = of_batch AND w.state = 'pending' AND w.due_at = 'infinity'
            ORDER BY w.position
            LIMIT in_flight - commanded
            FOR UPDATE SKIP LOCKED
        )
        UPDATE chunks c SET due_at = clock_timestamp() + patience
        FROM next
        WHERE c.batch_id = of_batch AND c.position = next.position
        RETURNING c.position, 0::double precision;
        RETURN;
    END IF;
    IF sender_pace > 0 THEN
        INSERT INTO paces AS p (kind, id, next_at) VALUES ('sender', batch.sender_id, '-infinity')
        ON CONFLICT (kind, id) DO UPDATE SET next_at = p.next_at
        RETURNING p.next_at INTO sender_next;
    END IF;
    IF account_pace > 0 THEN
        account_id := account_of_send(batch.send_id, root_account);
        INSERT INTO paces AS p (kind, id, next_at) VALUES ('account', account_id, '-infinity')
        ON CONFLICT (kind, id) DO UPDATE SET next_at = p.next_at
        RETURNING p.next_at INTO account_next;
    END IF;
    moment := clock_timestamp();
    FOR chunk IN
        SELECT w.position, w.size FROM chunks w
        WHERE w.batch_id = of_batch AND w.state = 'pending' AND w.due_at = 'infinity'
        ORDER BY w.position
        LIMIT in_flight - commanded
        FOR UPDATE SKIP LOCKED
    LOOP
        account_next := greatest(account_next, moment);
        turn := greatest(sender_next, account_next);
        EXIT WHEN commanded > 0 AND turn > moment + ahead;
        commanded := commanded + 1;
        IF sender_pace > 0 THEN
            sender_next := turn + interval '1 minute' * chunk.size / sender_pace;
        END IF;
        IF account_pace > 0 THEN
            account_next := account_next + interval '1 minute' * chunk.size / account_pace;
        END IF;
        UPDATE chunks c SET due_at = CASE WHEN turn > moment THEN turn ELSE moment + patience END
        WHERE c.batch_id = of_batch AND c.position = chunk.position;
        position := chunk.position;
        wait := extract(epoch FROM turn - moment);
        RETURN NEXT;
    END LOOP;
    UPDATE paces p SET next_at = sender_next WHERE p.kind = 'sender' AND p.id = batch.sender_id AND sender_pace > 0;
    UPDATE paces p SET next_at = account_next WHERE p.kind = 'account' AND p.id = account_id AND account_pace > 0;
END $$;
