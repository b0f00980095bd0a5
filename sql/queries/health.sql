-- name: database_answers :value
-- The cheapest proof that statements run.
SELECT true AS answers;
