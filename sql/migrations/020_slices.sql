-- Where a chunk stands in its batch that is cut out of another because a reader waits for it (CONTRACT 3.3): behind all
-- that a batch begins with, and without asking which positions it has. It may begin anew after a thousand million.
CREATE SEQUENCE slice_positions AS integer MINVALUE 1000000000 MAXVALUE 1999999999 CYCLE;
