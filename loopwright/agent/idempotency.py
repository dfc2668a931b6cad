"""The Idempotency-Key store: which calls are running and how they ended, in one SQLite table that survives the process.

A call is run once and its answer kept; a repeat gets that answer. Who runs a call holds a lease and renews it; when the lease of a process
that died is over, a repeat takes the call over. Deferred calls (`reply: callback`) carry their request, so that another process can finish
them. Source: IETF draft "The Idempotency-Key HTTP Header Field". Every commit survives the death of the process; SQLite's WAL with
synchronous=NORMAL may lose the last commits when the machine loses power, which gives a second run and never a lost one.
"""

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

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
FIND = "SELECT fingerprint, lease_until, status, headers, body, made FROM calls WHERE agent = ? AND key = ?"
ADD = """
INSERT INTO calls (agent, key, fingerprint, owner, lease_until, made, request, delivered) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
TAKE = "UPDATE calls SET owner = ?, lease_until = ? WHERE agent = ? AND key = ?"
DEFERRED = "SELECT agent, key, request, status, headers, body, made FROM calls WHERE request IS NOT NULL AND "


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it is stored: the HTTP status, the headers as JSON, the body."""

    status: int
    headers: str
    body: bytes


class Standing(Enum):
    """What becomes of a request that gets no stored answer."""

    MINE = "run it"
    MISMATCH = "the key was used with another payload"


@dataclass(frozen=True, slots=True)
class Running:
    """Another request runs the call, and has for so long, in ms."""

    for_ms: int


@dataclass(frozen=True, slots=True)
class Deferred:
    """A deferred call that nobody works on: its request, its answer where the work is done, and when it was accepted (ms)."""

    agent: str
    key: str
    request: bytes
    kept: Kept | None
    made_ms: int


class IdempotencyStore:
    """One SQLite file. Safe to use from several threads and processes. Times come from `clock`, in ms since the epoch."""

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self._guard = threading.Lock()
        self._active: set[tuple[str, str]] = set()  # what this process works on, however late it renews its leases
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            self._db.close()

    def begin(self, agent: str, key: str, fingerprint: str, lease_ms: int, request: bytes | None = None) -> Kept | Standing | Running:
        """Ask to run a call: MINE means run it, then `finish` or `release` it. A `request` makes the call a deferred one."""
        now = self._clock()
        with self._transaction() as db:
            row = db.execute(FIND, (agent, key)).fetchone()
            if row is not None:
                known, lease_until, status, headers, body, made = row
                if known != fingerprint:
                    return Standing.MISMATCH
                if status is not None:
                    return Kept(status, headers, body)
                if lease_until > now or (agent, key) in self._active:
                    return Running(max(0, now - made))
                db.execute(TAKE, (self._owner, now + lease_ms, agent, key))
            else:
                db.execute(ADD, (agent, key, fingerprint, self._owner, now + lease_ms, now, request, int(request is None)))
            self._active.add((agent, key))
            return Standing.MINE

    def renew(self, agent: str, key: str, lease_ms: int) -> None:
        """Hold on to a call that is being worked on."""
        self._mine("lease_until = ?", (self._clock() + lease_ms,), agent, key)

    def hold(self, agent: str, key: str, lease_ms: int) -> None:
        """Hold on to a finished call whose reply is being delivered."""
        with self._transaction() as db:
            db.execute(TAKE, (self._owner, self._clock() + lease_ms, agent, key))

    def finish(self, agent: str, key: str, kept: Kept, *, delivering: bool = False) -> bool:
        """Keep the answer. False where another process has taken the call over in the meantime: its answer counts.

        `delivering` says that the reply is on its way next, so that the call stays this process's until `delivered`.
        """
        mine = self._mine("status = ?, headers = ?, body = ?", (kept.status, kept.headers, kept.body), agent, key)
        if not (mine and delivering):
            self._active.discard((agent, key))
        return mine

    def release(self, agent: str, key: str) -> None:
        """Forget a call that came to nothing, so that a repeat runs it."""
        with self._transaction() as db:
            db.execute("DELETE FROM calls WHERE agent = ? AND key = ? AND owner = ? AND status IS NULL", (agent, key, self._owner))
            self._active.discard((agent, key))

    def delivered(self, agent: str, key: str, *, forget: bool = False) -> None:
        """Note that the reply of a deferred call has arrived (or was given up); `forget` makes a repeat run the work anew."""
        with self._transaction() as db:
            if forget:
                db.execute("DELETE FROM calls WHERE agent = ? AND key = ? AND owner = ?", (agent, key, self._owner))
            else:
                db.execute("UPDATE calls SET delivered = 1 WHERE agent = ? AND key = ?", (agent, key))
            self._active.discard((agent, key))

    def undelivered(self, agent: str, key: str, lease_ms: int) -> Deferred | None:
        """A finished deferred call, claimed so that its reply is sent once more; None where it is no such call, or is being sent."""
        return next(iter(self._claim("status IS NOT NULL AND agent = ? AND key = ?", (agent, key), lease_ms)), None)

    def abandoned(self, agent: str, lease_ms: int) -> list[Deferred]:
        """Claim the deferred calls of an agent that nobody works on: their process died, or their reply could not be delivered."""
        return self._claim("delivered = 0 AND agent = ? AND lease_until <= ?", (agent, self._clock()), lease_ms)

    def purge(self, older_than_ms: int) -> int:
        """Forget the answers of calls that began more than `older_than_ms` ago, and say how many there were."""
        with self._transaction() as db:
            before = self._clock() - older_than_ms
            return db.execute("DELETE FROM calls WHERE made < ? AND delivered = 1 AND lease_until < ?", (before, self._clock())).rowcount

    def _claim(self, where: str, values: tuple[object, ...], lease_ms: int) -> list[Deferred]:
        claimed = []
        with self._transaction() as db:
            for agent, key, request, status, headers, body, made in db.execute(DEFERRED + where, values).fetchall():
                if (agent, key) in self._active:
                    continue
                db.execute("UPDATE calls SET delivered = 0 WHERE agent = ? AND key = ?", (agent, key))
                db.execute(TAKE, (self._owner, self._clock() + lease_ms, agent, key))
                self._active.add((agent, key))
                claimed.append(Deferred(agent, key, request, None if status is None else Kept(status, headers, body), made))
        return claimed

    def _mine(self, change: str, values: tuple[object, ...], agent: str, key: str) -> bool:
        with self._transaction() as db:
            statement = f"UPDATE calls SET {change} WHERE agent = ? AND key = ? AND owner = ? AND status IS NULL"  # noqa: S608
            return db.execute(statement, (*values, agent, key, self._owner)).rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
