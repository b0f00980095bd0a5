-- What the metadata of events tells of an account besides its id (canvas/events.md 1.1).
ALTER TABLE accounts ADD COLUMN root_account_uuid text;

-- Nobody has told it so far; its stamp stands before that of site_admin (service/domain/directory_shapes.py).
UPDATE accounts
SET stamps = coalesce(stamps[1:4], array_fill(as_of, ARRAY[4])) || '-infinity'::timestamptz || coalesce(stamps[5], as_of);
