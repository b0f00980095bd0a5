-- name: begin_session :column
-- Settings that hold for a whole session, in a session of one's own. Behind a pooler the next transaction may be on another
-- server connection: then the server's process is another one than the client's, and nothing is set.
SELECT set_config(s.name, s.value, false)
FROM unnest(:names::text[], :values::text[]) AS s(name, value)
WHERE pg_backend_pid() = :known_pid::integer;

-- name: learn_types :none
-- The arrays that statements take and give: the driver asks the catalogues about all of them at once, and not about each
-- again when a request first needs it.
SELECT
WHERE coalesce(:bigints::bigint[]::text, :integers::integer[]::text, :smallints::smallint[]::text, :booleans::boolean[]::text,
               :bytes::bytea[]::text, :times::timestamptz[]::text) <> '';
