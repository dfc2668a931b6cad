"""What both databases have in common: one table, and what is done in it. How to connect, to lock and to tell the time is each one's own."""

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from loopwright.agent.idempotency import UNSAID, Cause, Deferred, Execution, Kept, Running, Standing

COLUMNS = ("agent", "key", "fingerprint", "owner", "lease_until", "made", "request", "delivered", "workflow", "hop", "branch")
BATCH = 1000


class Rows(Protocol):
    """What a statement gives: the part of a DB-API cursor that is used here."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> Sequence[Any]:
        """All rows."""


class Transaction(Protocol):
    """An open transaction. A parameter stands in a statement as `?`."""

    def execute(self, statement: str, values: Sequence[object] = ()) -> Rows:
        """Run a statement."""


class SqlStore(ABC):
    """Implements `IdempotencyStore`. `table` names the table; `lock` and `lock_free` end a SELECT whose rows are to be changed."""

    table = "calls"
    lock = ""
    lock_free = ""

    def __init__(self) -> None:
        self._owner = uuid.uuid4().hex
        self._active: set[tuple[str, str]] = set()  # what this process works on, however late it renews its leases
        self._guard = threading.Lock()

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that is committed at the end, or rolled back where something is raised; one at a time. Raises StoreUnavailable."""

    @abstractmethod
    def now(self, db: Transaction) -> int:
        """The time that leases are measured in, in ms since the epoch."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def begin(
        self, agent: str, key: str, fingerprint: str, lease_ms: int, request: bytes | None = None, cause: Cause = UNSAID
    ) -> Kept | Standing | Running:
        """See `IdempotencyStore`."""
        with self._working_on(agent, key), self.transaction() as db:
            now = self.now(db)
            row = self._added(db, (agent, key, fingerprint, self._owner, now + lease_ms, now, request, int(request is None)), cause)
            if row is not None:
                known, owner, lease_until, status, headers, body, made = row
                if known != fingerprint:
                    return Standing.MISMATCH
                if request is not None:
                    self._change(db, "request = ?", (request,), agent, key)
                if status is not None:
                    return Kept(status, headers, bytes(body))
                if (agent, key) in self._active or (lease_until > now and owner != self._owner):
                    return Running(max(0, now - made))
                self._take(db, agent, key, now + lease_ms)
            self._active.add((agent, key))
            return Standing.MINE

    @contextmanager
    def _working_on(self, agent: str, key: str) -> Iterator[None]:
        """A call is this process's only where that could be written."""
        was = (agent, key) in self._active
        try:
            yield
        except BaseException:
            if not was:
                self._active.discard((agent, key))
            raise

    def _added(self, db: Transaction, values: tuple[object, ...], cause: Cause) -> Any:
        """Add a call. None where it is new; otherwise what is known of it, locked until the transaction ends."""
        marks = ", ".join("?" * len(COLUMNS))
        add = f"INSERT INTO {self.table} ({', '.join(COLUMNS)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        find = (
            f"SELECT fingerprint, owner, lease_until, status, headers, body, made FROM {self.table} WHERE agent = ? AND key = ?{self.lock}"
        )
        while True:  # a call that another process forgets between the two statements is added after all
            if db.execute(add, (*values, cause.workflow, cause.hop, cause.branch)).rowcount == 1:
                return None
            row = db.execute(find, values[:2]).fetchone()
            if row is not None:
                return row

    def renew(self, agent: str, key: str, lease_ms: int) -> None:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            self._change(db, "lease_until = ?", (self.now(db) + lease_ms,), agent, key, " AND owner = ? AND status IS NULL", (self._owner,))

    def hold(self, agent: str, key: str, lease_ms: int) -> None:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            self._take(db, agent, key, self.now(db) + lease_ms)

    def finish(self, agent: str, key: str, kept: Kept, *, delivering: bool = False) -> bool:
        """See `IdempotencyStore`."""
        values = (kept.status, kept.headers, kept.body)
        with self.transaction() as db:
            still = " AND owner = ? AND status IS NULL"
            mine = self._change(db, "status = ?, headers = ?, body = ?", values, agent, key, still, (self._owner,)) == 1
        if not (mine and delivering):
            self._active.discard((agent, key))
        return mine

    def release(self, agent: str, key: str) -> None:
        """See `IdempotencyStore`."""
        try:
            with self.transaction() as db:
                self._delete(db, "agent = ? AND key = ? AND owner = ? AND status IS NULL", (agent, key, self._owner))
                self._active.discard((agent, key))
        finally:
            self._active.discard((agent, key))

    def request(self, agent: str, key: str) -> bytes | None:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            row = db.execute(f"SELECT request FROM {self.table} WHERE agent = ? AND key = ?", (agent, key)).fetchone()
        return bytes(row[0]) if row is not None and row[0] is not None else None

    def delivered(self, agent: str, key: str, *, forget: bool = False) -> None:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            if forget:
                self._delete(db, "agent = ? AND key = ? AND owner = ?", (agent, key, self._owner))
            else:
                self._change(db, "delivered = 1", (), agent, key)
            self._active.discard((agent, key))

    def undelivered(self, agent: str, key: str, lease_ms: int) -> Deferred | None:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            claimed = self._claim(db, "status IS NOT NULL AND agent = ? AND key = ?", (agent, key), lease_ms)
        return next(iter(claimed), None)

    def abandoned(self, agent: str, lease_ms: int) -> list[Deferred]:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            return self._claim(db, "delivered = 0 AND agent = ? AND lease_until <= ?", (agent, self.now(db)), lease_ms)

    def purge(self, older_than_ms: int) -> int:
        """See `IdempotencyStore`."""
        with self.transaction() as db:
            now = self.now(db)
            return self._delete(db, "made < ? AND delivered = 1 AND lease_until < ?", (now - older_than_ms, now))

    def executions(self) -> Iterator[Execution]:
        """See `IdempotencyStore`."""
        page = (
            f"SELECT agent, key, workflow, hop, branch, made, status, headers, body FROM {self.table} "
            f"WHERE agent > ? OR (agent = ? AND key > ?) ORDER BY agent, key LIMIT {BATCH}"
        )
        agent = key = ""
        while True:
            with self.transaction() as db:
                rows = db.execute(page, (agent, agent, key)).fetchall()
            for agent, key, workflow, hop, branch, made, status, headers, body in rows:  # the next page begins after the last
                kept = None if status is None else Kept(status, headers, bytes(body))
                yield Execution(agent, key, Cause(workflow, hop, branch), made, kept)
            if len(rows) < BATCH:
                return

    def _claim(self, db: Transaction, where: str, values: tuple[object, ...], lease_ms: int) -> list[Deferred]:
        find = f"SELECT agent, key, request, status, headers, body, made FROM {self.table} WHERE request IS NOT NULL AND {where}"
        claimed = []
        for agent, key, request, status, headers, body, made in db.execute(find + self.lock_free, values).fetchall():
            if (agent, key) in self._active:
                continue
            self._change(db, "delivered = 0", (), agent, key)
            self._take(db, agent, key, self.now(db) + lease_ms)
            self._active.add((agent, key))
            kept = None if status is None else Kept(status, headers, bytes(body))
            claimed.append(Deferred(agent, key, bytes(request), kept, made))
        return claimed

    def _take(self, db: Transaction, agent: str, key: str, lease_until: int) -> None:
        self._change(db, "owner = ?, lease_until = ?", (self._owner, lease_until), agent, key)

    def _change(
        self, db: Transaction, change: str, to: tuple[object, ...], agent: str, key: str, where: str = "", values: tuple[object, ...] = ()
    ) -> int:
        statement = f"UPDATE {self.table} SET {change} WHERE agent = ? AND key = ?{where}"
        return db.execute(statement, (*to, agent, key, *values)).rowcount

    def _delete(self, db: Transaction, where: str, values: tuple[object, ...]) -> int:
        return db.execute(f"DELETE FROM {self.table} WHERE {where}", values).rowcount
