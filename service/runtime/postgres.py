"""The connection pool, and what a database error means for the caller."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog
from asyncpg.connect_utils import SessionAttribute

from service.runtime.database_figures import MeasuredPool, record_statement
from service.runtime.database_hosts import hosts_of, reason_of
from service.runtime.settings import DatabaseSettings, Settings, SettingsError
from sql.migrate import missing
from sql.sessions import begin_session, learn_types

log = structlog.get_logger(__name__)


class SchemaBehind(Exception):
    """The database lacks what this code needs; the message is one line and names what helps."""

    def __init__(self, lacking: Sequence[str]) -> None:
        self.lacking = lacking
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        super().__init__(f"the database lacks {lacking[0]}{more}: run clarion migrate")


# The other side is away, refuses logins or writes, or the connection broke and it is unknown whether the last
# statement counted.
UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # starting up, shutting down, a statement cancelled from outside
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    SchemaBehind,
)
# A statement took longer than it may, or waited too long for a lock; or others were faster every time it was tried.
OVERDUE = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
# The installation is at fault, whatever was asked of it: code that is newer or older than the schema, a right that was
# not granted, a disk that fails. Statements are fixed, so their syntax and what they name never come from a request.
INSTALLATION = (
    asyncpg.SyntaxOrAccessError,  # all of class 42: undefined function, column, table; permission denied
    asyncpg.InvalidSchemaNameError,
    asyncpg.FeatureNotSupportedError,  # also a plan that the schema changed under
    asyncpg.InvalidSQLStatementNameError,  # a pooler that hands out other sessions
    asyncpg.PostgresSystemError,  # a disk that does not read or write
    asyncpg.ConfigFileError,
)
# Two transactions conflicted; the one rolled back may run again and then finds what the other wrote.
CONFLICT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.LockNotAvailableError,
)

COMMAND_TIMEOUT = 60.0  # seconds that a statement may take, for who has no deadline
STATEMENT_SHARE, LOCK_SHARE = 0.75, 0.5  # of the time until a deadline
# Of each connection of a pool that is not behind a pooler (deploy/README.md says what an operator sets there instead).
_SESSION = {
    "jit": "off",  # statements are short, and compiling one takes longer than running it
    # Planned without their values, once: many take milliseconds to plan. PostgreSQL would plan the first five of each
    # connection with their values, and all that follow too where those five happened to be cheap ones.
    "plan_cache_mode": "force_generic_plan",
    # A plan lasts, and one made for a table that was vacuumed while it was empty reads all of it for each recipient of
    # a big send: to PostgreSQL a table without a page costs nothing. No statement of ours is better off without its
    # index.
    "enable_seqscan": "off",
    # A host that vanished must not keep its locks for as long as TCP takes to notice.
    "idle_in_transaction_session_timeout": "60s",
}
# Of a worker's. One that is frozen in the middle of a transaction holds its locks, a batch's among them, until the
# server ends its session; the others wait for them less long than that, put the chunk off and go on with other batches.
_WORKER_SESSION = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "3s",
    # Longer than COMMAND_TIMEOUT, by which a worker that still runs cancels: for what a worker that vanished has begun.
    "statement_timeout": "75s",
}

MAX_QUERIES = 50_000  # of one connection; then another one takes its place, and what the server keeps for it is freed
MAX_IDLE = 300.0  # seconds after which an idle connection is closed
ACQUIRE_TIMEOUT = 10.0  # seconds; without one, acquire() waits for ever
CONNECT_TIMEOUT = 10.0  # seconds
LOOK_TIMEOUT = 2.0  # seconds that the start of a process waits to see the schema
CLOSE_TIMEOUT = 5.0  # seconds for connections to end in order


def is_unavailable(error: BaseException) -> bool:
    """Whether the error says that the database is away, and nothing about what was asked of it."""
    # asyncpg reports a value it cannot encode as an InterfaceError too; that one is a ValueError.
    return isinstance(error, UNAVAILABLE) and not isinstance(error, ValueError)


def unreachable(error: BaseException) -> str:
    """One line that names the variable and the reason."""
    return f"CLARION_DATABASE_URL: cannot connect: {reason_of(error)}"


async def _leave(_: asyncpg.Connection) -> None:
    """Nothing keeps state in a session (a pooler may stand before it), so a returned connection needs no reset."""


async def create_pool(
    settings: Settings,
    *,
    url: str | None = None,
    size: int | None = None,
    for_worker: bool = False,
    within: float | None = None,
) -> asyncpg.Pool:
    """A pool that connects lazily, so that a process starts while the database is away, or not yet migrated.

    Each new connection looks at the schema: acquire() raises SchemaBehind, one of UNAVAILABLE, until it is what this
    code needs. ``url``: of another server than that of CLARION_DATABASE_URL. ``within``: seconds in which a caller has
    to be done; statements, and waiting for locks, take less.
    """
    wanted = _SESSION | (_WORKER_SESSION if for_worker else {})
    if within is not None:
        wanted |= {
            "statement_timeout": f"{within * STATEMENT_SHARE:.3f}s",
            "lock_timeout": f"{within * LOCK_SHARE:.3f}s",
        }

    async def begin(conn: asyncpg.Connection) -> None:
        await require_schema(conn)
        if not await begin_session(conn, wanted):
            log.debug("pooler_found", not_set=wanted)
        await learn_types(conn)
        conn.add_query_logger(record_statement)

    # Of a replica's hosts any will do: it is asked whether it follows the primary.
    hosts = hosts_of(str(settings.database_url)) if url is None else hosts_of(url, SessionAttribute.any)
    return await MeasuredPool(
        hosts.url,
        connect=hosts.connect,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        min_size=0,
        max_size=size or settings.database_pool_size,
        max_queries=MAX_QUERIES,
        max_inactive_connection_lifetime=MAX_IDLE,
        loop=None,
        statement_cache_size=settings.database_statement_cache,
        command_timeout=COMMAND_TIMEOUT if within is None else within,
        timeout=CONNECT_TIMEOUT,
        reset=_leave,
        init=begin,
        # All that poolers of any version take: they refuse a connection that begins with a setting unknown to them.
        server_settings={"application_name": "clarion"},
    )


async def require_schema(conn: asyncpg.Connection) -> None:
    """Raises SchemaBehind unless the database has all that this code needs."""
    if lacking := await missing(conn):
        raise SchemaBehind(lacking)


async def look_at_schema(pool: asyncpg.Pool) -> None:
    """Says in the log whether a process that begins has to wait for ``clarion migrate``, or for the database.

    Raises SettingsError where no waiting helps, as with an option in the URL that the server does not know.
    """
    try:
        async with pool.acquire(timeout=LOOK_TIMEOUT):
            pass
    except SchemaBehind as error:
        log.warning("waiting_for_schema", error=str(error))
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        if not is_unavailable(error):
            raise SettingsError(unreachable(error)) from error
        log.warning("database_unavailable", error=unreachable(error))


@asynccontextmanager
async def connected(settings: DatabaseSettings, *, migrated: bool = True) -> AsyncIterator[asyncpg.Connection]:
    """One connection, for a command that does its work and ends.

    Raises SettingsError when there is none to be had: the operator has to know what to mend. Raises SchemaBehind unless
    the database has the schema, or need not have it (``migrated``).
    """
    try:
        conn = await hosts_of(str(settings.database_url)).connect(
            statement_cache_size=settings.database_statement_cache, timeout=CONNECT_TIMEOUT
        )
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        raise SettingsError(unreachable(error)) from error
    try:
        if migrated:
            await require_schema(conn)
        yield conn
    finally:
        await conn.close()


async def close_pool(pool: asyncpg.Pool) -> None:
    """Closes every connection in order, or without it when the database does not answer any more."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT)
    except TimeoutError:
        log.warning("pool_terminated")
        pool.terminate()
