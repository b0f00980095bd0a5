-- name: begin_session :column
-- Settings that hold for a whole session, in a session of one's own. Behind a pooler the next transaction may be on another
-- server connection: then the server's process is another one than the client's, and nothing is set.
SELECT set_config(s.name, s.value, false)
FROM unnest(:names::text[], :values::text[]) AS s(name, value)
WHERE pg_backend_pid() = :known_pid::integer;
