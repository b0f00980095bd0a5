-- One policy of attempts for chunks, replies and batch updates: what their rows count agrees, and what is worked out
-- of it is worked out here.

-- When the next attempt is due after a failure at ``now``, the first after ``first_wait``: each wait is twice the one
-- before. ``attempts`` that failed before this one.
CREATE FUNCTION next_attempt_at(attempts integer, first_wait interval, now timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN now + first_wait * 2 ^ attempts;

-- Whether a failure at ``now`` counts, of a row that has failed ``attempts`` times, last at ``tried_at``: not within
-- the wait after that one. A command that comes twice must not use up the attempts in a moment.
CREATE FUNCTION attempt_counts(attempts integer, tried_at timestamptz, first_wait interval, now timestamptz)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN tried_at IS NULL OR next_attempt_at(attempts - 1, first_wait, tried_at) <= now;

-- When the last attempt failed, as in the other tables.
ALTER TABLE chunks ADD COLUMN tried_at timestamptz;
UPDATE chunks SET tried_at = updated_at WHERE state = 'pending' AND attempts > 0;

-- Why the last attempt failed, as in the other tables; null once the update has ended in any other way than by being
-- given up, so that both can be told apart: cancelling and refusing all of it are failures too.
ALTER TABLE progresses ADD COLUMN error text;
UPDATE progresses SET error = message WHERE state = 'failed' AND (attempts >= 5 OR hand_outs > 10);
