-- name: next_block :value
-- One nextval reserves the 2000 ids from its value on.
SELECT nextval('id_blocks');
