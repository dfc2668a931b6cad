"""The store in PostgreSQL: for processes on several machines. Leases are measured by the database's clock, which all of them share.

A call's row is locked while it is judged. A connection that was lost is made anew with the next call; one call at most hears of it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from loopwright.agent.idempotency import StoreUnavailable
from loopwright.agent.idempotency.sql import Rows, SqlStore, Transaction
from loopwright.masking import masked

SCHEMA = """
CREATE TABLE IF NOT EXISTS loopwright_calls (
    agent TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    owner TEXT NOT NULL, lease_until BIGINT NOT NULL, made BIGINT NOT NULL,
    status INTEGER, headers TEXT NOT NULL DEFAULT '{}', body BYTEA,
    request BYTEA, delivered INTEGER NOT NULL DEFAULT 1,
    workflow TEXT NOT NULL DEFAULT '', hop BIGINT NOT NULL DEFAULT 0, branch TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (agent, key)
);
CREATE INDEX IF NOT EXISTS loopwright_calls_undelivered ON loopwright_calls (lease_until) WHERE delivered = 0;
"""
MAKING = "SELECT pg_advisory_xact_lock(7026374210)"  # two processes that make the table at one moment would fail on each other
DATABASE_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
PATIENCE = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "options": "-c statement_timeout=20000 -c lock_timeout=10000"}


class _Statements:
    """A transaction, with parameters as `SqlStore` writes them."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[object] = ()) -> Rows:
        """Run a statement."""
        return self._connection.execute(statement.replace("?", "%s").encode(), values or None)


class PostgresStore(SqlStore):
    """Implements `IdempotencyStore`. Times come from `clock` where one is given, in ms since the epoch. Raises StoreUnavailable.

    With `reading` the table has to be there, and is never changed: for who looks at the executions alone.
    """

    table = "loopwright_calls"
    lock = " FOR UPDATE"
    lock_free = " FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str, clock: Callable[[], int] | None = None, reading: bool = False) -> None:
        super().__init__()
        self._url, self._clock = url, clock
        self._connection: psycopg.Connection[Any] | None = None
        if not reading:
            with self.transaction() as db:
                db.execute(MAKING)
                db.execute(SCHEMA)

    def now(self, db: Transaction) -> int:
        """The database's time."""
        return self._clock() if self._clock else int(db.execute(DATABASE_CLOCK).fetchone()[0])

    def close(self) -> None:
        """Close the connection."""
        with self._guard:
            self._drop()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `SqlStore`."""
        with self._guard:
            try:
                connection = self._begun()
                try:
                    yield _Statements(connection)
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
            except psycopg.Error as error:
                self._drop()
                raise self._unavailable(error) from error

    def _begun(self) -> "psycopg.Connection[Any]":
        """A connection that answers. One that the server has closed since shows only when it is used."""
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
                return self._connection
            except psycopg.Error:
                self._drop()
        asked: dict[str, Any] = {**PATIENCE, **conninfo_to_dict(self._url)}
        self._connection = psycopg.connect(**asked)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        remedy = "look whether the database runs, and whether LOOPWRIGHT_AGENT_STORE names it with a user that may create tables"
        return StoreUnavailable("the Idempotency-Key store does not answer", masked(str(error).strip() or type(error).__name__), remedy)
