"""The store in one SQLite file: for processes on one machine.

Every commit survives the death of the process; the WAL with synchronous=NORMAL may lose the last commits when the machine loses power,
which gives a second run and never a lost one.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from loopwright.agent.idempotency import StoreUnavailable
from loopwright.agent.idempotency.sql import SqlStore, Transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    agent TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    owner TEXT NOT NULL, lease_until INTEGER NOT NULL, made INTEGER NOT NULL,
    status INTEGER, headers TEXT NOT NULL DEFAULT '{}', body BLOB,
    request BLOB, delivered INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (agent, key)
);
CREATE INDEX IF NOT EXISTS undelivered ON calls (lease_until) WHERE delivered = 0;
"""
ADDED_SINCE = ("workflow TEXT NOT NULL DEFAULT ''", "hop INTEGER NOT NULL DEFAULT 0", "branch TEXT NOT NULL DEFAULT ''")


class SqliteStore(SqlStore):
    """Implements `IdempotencyStore`. Times come from `clock`, in ms since the epoch. Raises StoreUnavailable.

    With `reading` the file has to be there, and is never changed: for who looks at the executions alone.
    """

    def __init__(self, path: Path, clock: Callable[[], int], reading: bool = False) -> None:
        super().__init__()
        self._path, self._clock = path, clock
        self._begin = "BEGIN" if reading else "BEGIN IMMEDIATE"
        try:
            if not reading:
                path.parent.mkdir(parents=True, exist_ok=True)
            name = f"file:{quote(str(path))}" + ("?mode=ro" if reading else "")
            self._db = sqlite3.connect(name, timeout=30, isolation_level=None, check_same_thread=False, uri=True)
            if not reading:
                self._make()
        except (OSError, sqlite3.Error) as error:
            raise self._unavailable(error) from error

    def _make(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)
        with self.transaction() as db:
            known = {row[1] for row in db.execute("PRAGMA table_info(calls)").fetchall()}
            for column in ADDED_SINCE:
                if column.split()[0] not in known:
                    db.execute(f"ALTER TABLE calls ADD COLUMN {column}")

    def now(self, db: Transaction) -> int:  # noqa: ARG002  # the interface
        """The machine's time: all who share the file are on it."""
        return self._clock()

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `SqlStore`. The file is locked from the beginning, so that what is read holds until it is written."""
        with self._guard:
            try:
                self._db.execute(self._begin)
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        remedy = "look whether the disk is full or the file is not writable; several machines need a PostgreSQL store"
        return StoreUnavailable("the Idempotency-Key store cannot be used", f"{self._path}: {error}", remedy)
