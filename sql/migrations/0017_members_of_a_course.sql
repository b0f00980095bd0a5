-- A bulk send to members of one course, filed under that course alone: they were looked up when it was accepted, so that
-- nobody needs a second look for tags when the chunks are delivered. Null: some may be in other contexts.
ALTER TABLE batches ADD COLUMN members_of_course bigint;
