-- What fails is tried again with growing delay, and what its worker dies of is not handed out for ever.

-- When the last attempt failed: another failure within the wait that follows does not count.
ALTER TABLE pending_replies ADD COLUMN tried_at timestamptz;
ALTER TABLE progresses ADD COLUMN tried_at timestamptz, ADD COLUMN attempts integer NOT NULL DEFAULT 0;

-- How often it was begun again after its command had come back without a verdict: each time its worker may have died of
-- it. What is not noted is the first time, so that work which goes well costs no statement more.
ALTER TABLE chunks ADD COLUMN hand_outs integer NOT NULL DEFAULT 0;
ALTER TABLE pending_replies ADD COLUMN hand_outs integer NOT NULL DEFAULT 0;
ALTER TABLE progresses ADD COLUMN hand_outs integer NOT NULL DEFAULT 0;
