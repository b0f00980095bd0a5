-- How often autovacuum visits the tables that grow. PostgreSQL's defaults wait for a fifth of a table to be dead: of a
-- hundred million participants twenty million rows, whose removal then takes hours. The thresholds of 5000 rows below
-- which a table is left alone stay (003_conversations.sql says why). Each visit is worth its while: what has changed is
-- found by the visibility map, but indexes are read whole, so the share is not smaller than this where a table is large.
--   vacuum_scale_factor         dead rows, which reads have to step over: a fiftieth.
--   vacuum_insert_scale_factor  new rows, which an index-only scan has to look up in the table until they are visited,
--                               and which are frozen a part at a time instead of all in one night.
--   analyze_scale_factor        statistics: the newest ids and times lie beyond the last histogram.
ALTER TABLE conversations SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
                               autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE participants SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
                              autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE messages SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
                          autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE message_views SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
                               autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE sends SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
                       autovacuum_analyze_scale_factor = 0.05);
-- Each chunk is written two or three times and then left alone, and what is pending is found by partial indexes, which
-- keep an entry for each dead version: a hundredth.
ALTER TABLE chunks SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05,
                        autovacuum_analyze_scale_factor = 0.05);
-- A row lives for seconds, so nearly all that was ever written is dead, and the relay looks for the oldest one behind it
-- all: 5000 dead rows are enough, however large the table has been; and without pauses, for a visit that falls behind the
-- relay never ends.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_scale_factor = 0,
                        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
-- A batch's counters change with each of its chunks: five hundred times for one to a million. With room on the page a
-- change stays there (HOT) and the next one clears it away; a hundred dead rows are worth a visit to a table this small.
ALTER TABLE batches SET (fillfactor = 70, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.02);
-- Each is written twice in its transaction, without and with the answer, and deleted after a day.
ALTER TABLE idempotency_keys SET (fillfactor = 70, autovacuum_vacuum_threshold = 1000,
                                  autovacuum_vacuum_scale_factor = 0.05);
-- Changed in place by nearly every request.
ALTER TABLE throttle_buckets SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
-- A row or two for each sender or account, changed with each chunk that goes at a pace.
ALTER TABLE paces SET (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
-- Work that waits: a row for as long as it does, and written with every part or attempt.
ALTER TABLE pending_replies SET (autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE batch_updates SET (fillfactor = 70, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.02);
