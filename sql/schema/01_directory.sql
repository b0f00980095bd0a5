-- Which value of a key wins when directory events come late, twice and out of order (sql/migrations/001_directory.sql).

-- The stamps of one event that held the keys whose bits are set in given; null: it held them all.
CREATE OR REPLACE FUNCTION stamps_of(as_of timestamptz, given integer, keys integer) RETURNS timestamptz[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN given IS NOT NULL THEN ARRAY(
        SELECT CASE WHEN given >> k & 1 = 1 THEN as_of ELSE '-infinity' END FROM generate_series(0, keys - 1) AS k
    ) END;

-- The time of each key's value after both. Null again once one of the two is the newest in every key.
CREATE OR REPLACE FUNCTION merged_stamps(
    new_stamps timestamptz[], new_as_of timestamptz, old_stamps timestamptz[], old_as_of timestamptz
) RETURNS timestamptz[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN new_stamps IS NULL AND new_as_of >= old_as_of THEN NULL
        WHEN old_stamps IS NULL AND old_as_of >= new_as_of THEN NULL
        ELSE ARRAY(
            SELECT greatest(coalesce(new_stamps[k], new_as_of), coalesce(old_stamps[k], old_as_of))
            FROM generate_subscripts(coalesce(new_stamps, old_stamps), 1) AS k
        )
    END;
