-- name: list_page :many
-- One page of a list in its order, and in each row how long the whole list is. Every branch reads one partial index
-- backwards and stops behind the page's end; a branch of another scope is never started. A single condition over all
-- scopes would read and sort everything instead. A page that shows the list's end says how long the list is; only
-- behind any other is it counted.
WITH page AS MATERIALIZED (
    (SELECT conversation_id, received_at AS listed_at FROM listings
     WHERE :scope::text = 'inbox' AND user_id = :user_id::bigint AND in_inbox
     ORDER BY received_at DESC, conversation_id DESC LIMIT :size::bigint + 1 OFFSET :offset::bigint)
    UNION ALL
    (SELECT conversation_id, received_at AS listed_at FROM listings
     WHERE :scope = 'unread' AND user_id = :user_id AND in_unread
     ORDER BY received_at DESC, conversation_id DESC LIMIT :size + 1 OFFSET :offset)
    UNION ALL
    (SELECT conversation_id, received_at AS listed_at FROM listings
     WHERE :scope = 'archived' AND user_id = :user_id AND in_archived
     ORDER BY received_at DESC, conversation_id DESC LIMIT :size + 1 OFFSET :offset)
    UNION ALL
    (SELECT conversation_id, sent_at AS listed_at FROM listings
     WHERE :scope = 'sent' AND user_id = :user_id AND in_sent
     ORDER BY sent_at DESC, conversation_id DESC LIMIT :size + 1 OFFSET :offset)
    UNION ALL
    (SELECT conversation_id, changed_at AS listed_at FROM listings
     WHERE :scope = 'starred' AND user_id = :user_id AND in_starred
     ORDER BY changed_at DESC, conversation_id DESC LIMIT :size + 1 OFFSET :offset)
)
SELECT page.conversation_id,
       CASE WHEN (SELECT count(*) FROM page) <= :size THEN :offset + (SELECT count(*) FROM page)
            WHEN :scope = 'inbox' THEN (SELECT count(*) FROM listings WHERE user_id = :user_id AND in_inbox)
            WHEN :scope = 'unread' THEN (SELECT count(*) FROM listings WHERE user_id = :user_id AND in_unread)
            WHEN :scope = 'archived' THEN (SELECT count(*) FROM listings WHERE user_id = :user_id AND in_archived)
            WHEN :scope = 'sent' THEN (SELECT count(*) FROM listings WHERE user_id = :user_id AND in_sent)
            WHEN :scope = 'starred' THEN (SELECT count(*) FROM listings WHERE user_id = :user_id AND in_starred)
       END AS total
FROM page
ORDER BY page.listed_at DESC, page.conversation_id DESC
LIMIT :size;

-- name: list_ids :column
-- A whole list under filters, in order (semantics.md 6.2, 6.3). Filters are counted: any of them is at least one, all
-- of them is as many as there are, and none at all needs none. Counting also keeps the look at other participants a
-- look into the primary key, row by row, where EXISTS may be turned into reading the table. Many filters are
-- hashed once, so that a conversation costs a look at its participants and not one for each filter.
SELECT l.conversation_id FROM (
    SELECT conversation_id, tag_set, received_at AS listed_at FROM listings
    WHERE :scope::text = 'inbox' AND user_id = :user_id::bigint AND in_inbox
    UNION ALL
    SELECT conversation_id, tag_set, received_at AS listed_at FROM listings
    WHERE :scope::text = 'unread' AND user_id = :user_id::bigint AND in_unread
    UNION ALL
    SELECT conversation_id, tag_set, received_at AS listed_at FROM listings
    WHERE :scope::text = 'archived' AND user_id = :user_id::bigint AND in_archived
    UNION ALL
    SELECT conversation_id, tag_set, sent_at AS listed_at FROM listings
    WHERE :scope::text = 'sent' AND user_id = :user_id::bigint AND in_sent
    UNION ALL
    SELECT conversation_id, tag_set, changed_at AS listed_at FROM listings
    WHERE :scope::text = 'starred' AND user_id = :user_id::bigint AND in_starred
) l
LEFT JOIN (
    SELECT s.id, count(*) AS matching
    FROM tag_sets s CROSS JOIN unnest(s.codes) AS code
    WHERE s.codes && :filter_codes::text[] AND (code IN (SELECT unnest(:filter_codes::text[]))) IS TRUE
    GROUP BY s.id
) tagged ON tagged.id = l.tag_set
WHERE coalesce(tagged.matching, 0) + CASE
      WHEN cardinality(:filter_user_ids::bigint[]) = 0 THEN 0
      WHEN cardinality(:filter_user_ids::bigint[]) <= 10 THEN (
          SELECT count(*) FROM participants other
          WHERE other.conversation_id = l.conversation_id AND other.user_id = ANY (:filter_user_ids::bigint[]))
      ELSE (
          SELECT count(*) FILTER (WHERE other.user_id IN (SELECT unnest(:filter_user_ids::bigint[])))
          FROM participants other WHERE other.conversation_id = l.conversation_id)
  END >= :needed::bigint
ORDER BY l.listed_at DESC, l.conversation_id DESC;

-- name: listed :column
-- Which of the given conversations the list holds under the filters: "visible" in every answer that is not a list.
-- CASE keeps the scope out of the choice of an index: the rows are few and their keys are known.
SELECT l.conversation_id
FROM unnest(:conversation_ids::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT * FROM listings WHERE conversation_id = asked.id AND user_id = :user_id::bigint OFFSET 0
) l
LEFT JOIN (
    SELECT s.id, count(*) AS matching
    FROM tag_sets s CROSS JOIN unnest(s.codes) AS code
    WHERE s.codes && :filter_codes::text[] AND (code IN (SELECT unnest(:filter_codes::text[]))) IS TRUE
    GROUP BY s.id
) tagged ON tagged.id = l.tag_set
WHERE CASE :scope::text WHEN 'inbox' THEN l.in_inbox WHEN 'unread' THEN l.in_unread WHEN 'archived' THEN l.in_archived
                    WHEN 'sent' THEN l.in_sent WHEN 'starred' THEN l.in_starred END
  AND coalesce(tagged.matching, 0) + CASE
      WHEN cardinality(:filter_user_ids::bigint[]) = 0 THEN 0
      WHEN cardinality(:filter_user_ids::bigint[]) <= 10 THEN (
          SELECT count(*) FROM participants other
          WHERE other.conversation_id = l.conversation_id AND other.user_id = ANY (:filter_user_ids::bigint[]))
      ELSE (
          SELECT count(*) FILTER (WHERE other.user_id IN (SELECT unnest(:filter_user_ids::bigint[])))
          FROM participants other WHERE other.conversation_id = l.conversation_id)
  END >= :needed::bigint;

-- name: users_by_uuid :many
-- uuid: filters stand for user_ filters (CONTRACT 6.10).
SELECT u.uuid, u.id FROM users u WHERE u.uuid = ANY (:uuids::text[]) AND u.uuid IS NOT NULL;

-- name: unread_count :value
-- Counted when asked: nothing has to be kept in step with every delivery (semantics.md 9).
SELECT count(*) FROM listings WHERE user_id = :user_id::bigint AND in_unread;
