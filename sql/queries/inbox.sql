-- name: list_page :many
-- One page of a list in its order. Every branch reads one partial index backwards and stops at the page's end; a branch
-- of another scope is never started. A single condition over all scopes would read and sort everything instead.
SELECT page.conversation_id FROM (
    (SELECT conversation_id, listed_at FROM inbox_list WHERE $2::text = 'inbox' AND user_id = $1::bigint
     ORDER BY listed_at DESC, conversation_id DESC LIMIT $3::bigint OFFSET $4::bigint)
    UNION ALL
    (SELECT conversation_id, listed_at FROM unread_list WHERE $2::text = 'unread' AND user_id = $1::bigint
     ORDER BY listed_at DESC, conversation_id DESC LIMIT $3::bigint OFFSET $4::bigint)
    UNION ALL
    (SELECT conversation_id, listed_at FROM archived_list WHERE $2::text = 'archived' AND user_id = $1::bigint
     ORDER BY listed_at DESC, conversation_id DESC LIMIT $3::bigint OFFSET $4::bigint)
    UNION ALL
    (SELECT conversation_id, listed_at FROM sent_list WHERE $2::text = 'sent' AND user_id = $1::bigint
     ORDER BY listed_at DESC, conversation_id DESC LIMIT $3::bigint OFFSET $4::bigint)
    UNION ALL
    (SELECT conversation_id, listed_at FROM starred_list WHERE $2::text = 'starred' AND user_id = $1::bigint
     ORDER BY listed_at DESC, conversation_id DESC LIMIT $3::bigint OFFSET $4::bigint)
) page
ORDER BY page.listed_at DESC, page.conversation_id DESC;

-- name: list_size :one
-- How long a list is, for the number of its last page. Only the branch that is asked for runs.
SELECT CASE $2::text
           WHEN 'inbox' THEN (SELECT count(*) FROM inbox_list WHERE user_id = $1::bigint)
           WHEN 'unread' THEN (SELECT count(*) FROM unread_list WHERE user_id = $1::bigint)
           WHEN 'archived' THEN (SELECT count(*) FROM archived_list WHERE user_id = $1::bigint)
           WHEN 'sent' THEN (SELECT count(*) FROM sent_list WHERE user_id = $1::bigint)
           WHEN 'starred' THEN (SELECT count(*) FROM starred_list WHERE user_id = $1::bigint)
       END;

-- name: list_ids :many
-- A whole list under filters, in order (semantics.md 6.2, 6.3). Filters are counted: any of them is at least one, all
-- of them is as many as there are, and none at all needs none. Counting also keeps the look at other participants a
-- look into the primary key, row by row, where EXISTS may be turned into reading the table.
SELECT l.conversation_id
FROM conversation_lists l
LEFT JOIN (
    SELECT s.id, count(*) AS matching
    FROM tag_sets s CROSS JOIN unnest(s.codes) AS code
    WHERE s.codes && $4::text[] AND code = ANY ($4::text[])
    GROUP BY s.id
) tagged ON tagged.id = l.tag_set
WHERE l.user_id = $1::bigint AND l.scope = $2::text
  AND coalesce(tagged.matching, 0) + (
      SELECT count(*) FROM participants other
      WHERE other.conversation_id = l.conversation_id AND other.user_id = ANY ($3::bigint[])
  ) >= $5::bigint
ORDER BY l.listed_at DESC, l.conversation_id DESC;

-- name: listed :many
-- Which of the given conversations the list holds under the filters: "visible" in every answer that is not a list.
SELECT l.conversation_id
FROM unnest($6::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT c.conversation_id, c.tag_set FROM conversation_lists c
    WHERE c.user_id = $1::bigint AND c.scope = $2::text AND c.conversation_id = asked.id
) l
LEFT JOIN (
    SELECT s.id, count(*) AS matching
    FROM tag_sets s CROSS JOIN unnest(s.codes) AS code
    WHERE s.codes && $4::text[] AND code = ANY ($4::text[])
    GROUP BY s.id
) tagged ON tagged.id = l.tag_set
WHERE coalesce(tagged.matching, 0) + (
      SELECT count(*) FROM participants other
      WHERE other.conversation_id = l.conversation_id AND other.user_id = ANY ($3::bigint[])
  ) >= $5::bigint;

-- name: users_by_uuid :many
-- uuid: filters stand for user_ filters (CONTRACT 6.10).
SELECT u.uuid, u.id FROM users u WHERE u.uuid = ANY ($1::text[]) AND u.uuid IS NOT NULL;

-- name: unread_count :one
-- Counted when asked: nothing has to be kept in step with every delivery (semantics.md 9).
SELECT count(*) FROM unread_list WHERE user_id = $1::bigint;
