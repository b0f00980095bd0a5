-- name: database_answers :one
-- The cheapest proof that statements run.
SELECT true AS answers;
