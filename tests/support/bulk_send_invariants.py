"""What must hold in the database after a bulk send, whatever happened on the way."""

from sql.connection import Connection

# One row per recipient of the batch: how many copies of its send that person has.
_COPIES = """
SELECT r.user_id, count(m.id) AS copies
FROM batches b
JOIN chunks c ON c.batch_id = b.id
CROSS JOIN LATERAL unnest(c.recipients) AS r(user_id)
LEFT JOIN (
    SELECT p.user_id, m.id, m.send_id
    FROM conversation_messages m JOIN participants p ON p.conversation_id = m.conversation_id
) m ON m.user_id = r.user_id AND m.send_id = b.send_id
WHERE b.id = $1
GROUP BY r.user_id
"""


async def copies(conn: Connection, batch_id: int) -> dict[int, int]:
    """Copies per recipient of the batch."""
    return {row["user_id"]: row["copies"] for row in await conn.fetch(_COPIES, batch_id)}


async def assert_delivered_once(conn: Connection, batch_id: int, recipients: list[int]) -> None:
    """The batch is sent, its counters are right, everybody has exactly one copy, and no row is left over."""
    batch = await conn.fetchrow("SELECT * FROM batches WHERE id = $1", batch_id)
    assert batch is not None
    assert batch["state"] == "sent"
    assert (batch["total"], batch["delivered"]) == (len(recipients), len(recipients))
    assert (batch["failed"], batch["skipped"]) == (0, 0)
    found = await copies(conn, batch_id)
    assert found == dict.fromkeys(recipients, 1)
    assert (
        await conn.fetchval("SELECT count(*) FROM chunks WHERE batch_id = $1 AND state <> 'delivered'", batch_id) == 0
    )
    odd = """
        SELECT p.conversation_id FROM participants p
        LEFT JOIN conversations c ON c.id = p.conversation_id
        GROUP BY p.conversation_id HAVING count(c.id) <> count(*) OR count(*) <> 2
    """
    assert await conn.fetch(odd) == []
    miscounted = """
        SELECT p.conversation_id, p.user_id FROM participants p
        WHERE p.message_count <> (SELECT count(*) FROM participant_messages m
                                  WHERE m.conversation_id = p.conversation_id AND m.user_id = p.user_id)
    """
    assert await conn.fetch(miscounted) == []
