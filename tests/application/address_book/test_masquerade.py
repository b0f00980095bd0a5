"""What acting as another user costs (canvas/conventions.md 3)."""

import asyncio

import asyncpg

from service.application.address_book.masquerade import act_as
from tests.support.institution import ROOT_ACCOUNT, Institution


async def test_the_number_of_statements_does_not_depend_on_the_accounts_that_the_other_administers(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    admin, *targets = await institution.users(3)
    await institution.admin(admin)
    for target, accounts in zip(targets, (1, 5), strict=True):
        for _ in range(accounts):
            await institution.admin(target, account=await institution.account(ROOT_ACCOUNT))
    counted: list[str] = []

    async def cost(target: int) -> int:
        counted.clear()
        with conn.query_logger(lambda query: counted.append(query.query)):
            found = await act_as(conn, user_id=admin, as_user_id=target, root_account_id=ROOT_ACCOUNT, shard_id=1)
            await asyncio.sleep(0)  # the driver calls the logger from the event loop's queue
        assert found is not None
        return len(counted)

    await cost(targets[0])  # the driver asks for itself when it first meets a type
    assert [await cost(target) for target in targets] == [2, 2]
