-- Who listens learns of each move of a batch (pause, resume, cancel, retry, start of a scheduled one) as soon as it is
-- committed, whoever makes it. Deliveries are left out, and notify once they are committed (notify_of_batches): a
-- transaction that notifies holds a lock of the whole database while it is committed.
CREATE OR REPLACE FUNCTION notify_of_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('clarion_batches', NEW.id::text);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER batch_moved AFTER UPDATE OF state, send_at, error ON batches FOR EACH ROW
    WHEN (OLD.send_at IS DISTINCT FROM NEW.send_at OR OLD.error IS DISTINCT FROM NEW.error
          OR OLD.state <> NEW.state AND (OLD.state NOT IN ('created', 'sending')
                                         OR NEW.state NOT IN ('sending', 'sent', 'error')))
    EXECUTE FUNCTION notify_of_move();
