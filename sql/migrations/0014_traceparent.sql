-- The W3C trace context in which something was accepted, so that whoever is told to carry it out, or finds that nobody
-- was, goes on in the same trace. Null: there was none.
ALTER TABLE batches ADD COLUMN traceparent text;
ALTER TABLE pending_replies ADD COLUMN traceparent text;
ALTER TABLE progresses ADD COLUMN traceparent text;
