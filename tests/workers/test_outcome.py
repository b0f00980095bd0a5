"""Which error means which end of a command."""

import asyncpg
import pytest

from service.runtime.broker import BrokerUnavailable
from workers.outcome import DeadLetter, Requeue, outcome_of


def unencodable() -> Exception:
    """What asyncpg raises for a value that does not fit its parameter: an InterfaceError by descent."""

    class Unencodable(asyncpg.InterfaceError, ValueError):
        pass

    return Unencodable("value out of int64 range")


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.CannotConnectNowError("the database system is in recovery mode"),
        asyncpg.CrashShutdownError("terminating connection"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.IdleInTransactionSessionTimeoutError("terminating connection"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.PostgresIOError("could not read block 7"),
        asyncpg.UndefinedFunctionError("function deliver_all() does not exist"),
        asyncpg.UndefinedColumnError("column does not exist"),
        asyncpg.UndefinedTableError("no such table"),
        asyncpg.InvalidSchemaNameError("schema does not exist"),
        asyncpg.InsufficientPrivilegeError("permission denied for table chunks"),
        asyncpg.InvalidCachedStatementError("cached statement plan is invalid"),
        asyncpg.QueryCanceledError("canceling statement due to user request"),
        asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InvalidCatalogNameError("database does not exist"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        ConnectionRefusedError(111, "refused"),
        TimeoutError(),
        BrokerUnavailable("not connected"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.UniqueViolationError("duplicate key value"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_lies_outside_the_command_is_tried_again(error: Exception) -> None:
    outcome = outcome_of(error)

    assert isinstance(outcome, Requeue)
    assert type(error).__name__ in outcome.reason


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.RaiseError("no"),
        asyncpg.CheckViolationError("violates check constraint"),
        asyncpg.NumericValueOutOfRangeError("integer out of range"),
        unencodable(),
        LookupError("a fault of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_lies_in_the_command_goes_to_the_dead_letters(error: Exception) -> None:
    outcome = outcome_of(error)

    assert isinstance(outcome, DeadLetter)
    assert outcome.reason == f"{type(error).__name__}: {error}"


def test_a_reason_is_never_half_a_sentence() -> None:
    assert outcome_of(AssertionError()) == DeadLetter("AssertionError")
