"""The Idempotency-Key store: which calls are running and how they ended. It survives the process, and is the witness for effects.

A call is run once and its answer kept; a repeat gets that answer. Who runs a call holds a lease and renews it; when the lease of a process
that died is over, a repeat takes the call over. Deferred calls (`reply: callback`) carry their request, so that another process can finish
them. SQLite and PostgreSQL keep the same contract (`loopwright.agent.idempotency.sql`).
Source: IETF draft "The Idempotency-Key HTTP Header Field".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from loopwright.errors import Retryable

KEEP_MS = 7 * 24 * 3_600_000  # an answer is kept at least so long


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
class Cause:
    """Whose call it is, as the caller says; empty where it says nothing."""

    workflow: str = ""
    hop: int = 0
    branch: str = ""


UNSAID = Cause()


@dataclass(frozen=True, slots=True)
class Deferred:
    """A deferred call that nobody works on: its request, its answer where the work is done, and when it was accepted (ms)."""

    agent: str
    key: str
    request: bytes
    kept: Kept | None
    made_ms: int


@dataclass(frozen=True, slots=True)
class Execution:
    """A call as the store remembers it; `made_ms` is when it was begun first, `kept` its answer (None: it runs, or its process died)."""

    agent: str
    key: str
    cause: Cause
    made_ms: int
    kept: Kept | None


class StoreUnavailable(Retryable):
    """The store does not answer, or cannot be read or written."""

    exit_code = 3


class IdempotencyStore(Protocol):
    """Safe to use from several threads and processes. Every method raises StoreUnavailable where the database fails."""

    def begin(
        self, agent: str, key: str, fingerprint: str, lease_ms: int, request: bytes | None = None, cause: Cause = UNSAID
    ) -> Kept | Standing | Running:
        """Ask to run a call: MINE means run it, then `finish` or `release` it.

        A `request` makes the call a deferred one; that of a repeat replaces it, since the reply goes to where it was asked for last.
        """

    def renew(self, agent: str, key: str, lease_ms: int) -> None:
        """Hold on to a call that is being worked on."""

    def hold(self, agent: str, key: str, lease_ms: int) -> None:
        """Hold on to a finished call whose reply is being delivered."""

    def finish(self, agent: str, key: str, kept: Kept, *, delivering: bool = False) -> bool:
        """Keep the answer. False where another process has taken the call over in the meantime: its answer counts.

        `delivering` says that the reply is on its way next, so that the call stays this process's until `delivered`.
        """

    def release(self, agent: str, key: str) -> None:
        """Forget a call that came to nothing, so that a repeat runs it."""

    def request(self, agent: str, key: str) -> bytes | None:
        """The request of a deferred call as it was made last; None where it is no deferred call."""

    def delivered(self, agent: str, key: str, *, forget: bool = False) -> None:
        """Note that the reply of a deferred call has arrived (or was given up); `forget` makes a repeat run the work anew."""

    def undelivered(self, agent: str, key: str, lease_ms: int) -> Deferred | None:
        """A finished deferred call, claimed so that its reply is sent once more; None where it is no such call, or is being sent."""

    def abandoned(self, agent: str, lease_ms: int) -> list[Deferred]:
        """Claim the deferred calls of an agent that nobody works on: their process died, or their reply could not be delivered."""

    def purge(self, older_than_ms: int) -> int:
        """Forget the answers of calls that began more than `older_than_ms` ago, and say how many there were."""

    def executions(self) -> Iterator[Execution]:
        """Every call that the store remembers, in no order: a few at a time, so that a large store is no burden."""

    def close(self) -> None:
        """Close the connection."""
