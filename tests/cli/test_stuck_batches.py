"""``clarion batch list --stuck`` as an operator runs it."""

import json

import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.batches import Batches
from tests.support.commands import clarion


@pytest.fixture
def batches(conn: asyncpg.Connection) -> Batches:
    """The test's batches."""
    return Batches(conn)


async def _stand_still(conn: asyncpg.Connection) -> None:
    await conn.execute(
        "UPDATE batches SET created_at = now() - interval '2 h'; UPDATE chunks SET updated_at = now() - interval '2 h'"
    )


async def test_a_line_for_each_stuck_batch_with_the_last_error(
    settings: Settings, conn: asyncpg.Connection, batches: Batches
) -> None:
    """It needs the database and nothing else."""
    batch = await batches.accept(range(10, 20), chunk_size=5, sender=77)
    await conn.execute("UPDATE chunks SET error = E'refused:\\nno room' WHERE position = 1")
    await _stand_still(conn)
    await batches.accept([10, 11], chunk_size=2)

    done = await clarion(settings, "batch", "list", "--stuck", without=["CLARION_AMQP_URL"], fresh=True)

    assert (done.code, done.err) == (0, "")
    head, line = done.out.splitlines()
    assert head.split() == ["ID", "SENDER", "STATE", "TOTAL", "DONE", "STUCK", "FOR", "WHY"]
    shown = line.split(maxsplit=6)
    assert shown[:5] == [str(batch), "77", "created", "10", "0"]
    assert shown[5].startswith("2:00:")
    assert shown[6] == r"refused:\nno room"


async def test_as_json_it_is_one_array(settings: Settings, conn: asyncpg.Connection, batches: Batches) -> None:
    assert await clarion(settings, "batch", "list", "--stuck", "--json") == (0, "[]\n", "")
    batch = await batches.accept(range(10, 20), chunk_size=5)
    await _stand_still(conn)

    done = await clarion(settings, "batch", "list", "--stuck", "--json")

    assert (done.code, done.err) == (0, "")
    (found,) = json.loads(done.out)
    assert 7200 <= found.pop("stuck_for") < 7300
    assert found == {
        "id": batch,
        "sender_id": 1,
        "state": "created",
        "total": 10,
        "done": 0,
        "why": "no worker has taken a chunk",
    }


async def test_how_long_is_too_long_follows_the_setting(
    settings: Settings, conn: asyncpg.Connection, batches: Batches
) -> None:
    await batches.accept(range(10, 20), chunk_size=5)
    await _stand_still(conn)

    patient = settings.model_copy(update={"retry_after": 800.0})

    assert await clarion(patient, "batch", "list", "--stuck", "--json") == (0, "[]\n", "")
