"""A circuit breaker as a state machine: whether a call to something that keeps failing is made at all. Pure; time is handed in.

    closed ──failures in a row, or one that says how long──> open ──its pause is over──> half-open ──enough successes──> closed
                                                              ^──────── a failure ──────────┘

Closed, every call is made. Open, none is. Half-open, a few at a time are made as probes. Pauses grow from one opening to the next, with
jitter, up to a bound, and start anew once the circuit has closed. A call is made on a `Ticket`; tickets from before the latest opening or
closing say nothing about now, and change nothing (but for the pause that they may ask for).

Source: M. Nygard, Release It!, "Circuit Breaker". `loopwright.edges.circuits` holds circuits for performers.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from loopwright.retry import LONGEST_RETRY_AFTER_MS, backoff_ms


class Phase(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Policy:
    """`failures` in a row open it, for `pause_ms` at first and `longest_pause_ms` at most; `successes` of probes close it, of which at most
    `probes` run at once."""

    failures: int = 5
    pause_ms: int = 1000
    longest_pause_ms: int = 60_000
    probes: int = 2
    successes: int = 2


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call. To be given back, once, with how it went."""

    period: int
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """No leave: come back after `wait_ms` (at least 1). `why` is what opened the circuit; `final`: it says not to come back at all."""

    wait_ms: int
    why: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure that counts. `hold_ms` is the shortest pause it asks for; `at_once` opens the circuit whatever went before; `final`: calls
    that are refused meanwhile need not be tried again."""

    why: str
    hold_ms: int = 0
    at_once: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Circuit:
    """One circuit. `streak` counts failures in a row while closed, `openings` those since it was last closed, `period` every change between
    closed and open; `probing` and `healed` are the probes under way and those that went well. Times in ms, of one clock."""

    name: str
    policy: Policy = Policy()
    phase: Phase = Phase.CLOSED
    streak: int = 0
    openings: int = 0
    period: int = 0
    until_ms: int = 0
    paused_ms: int = 0
    probing: int = 0
    healed: int = 0
    why: str = ""
    final: bool = False

    def wait_ms(self, now_ms: int) -> int:
        """How long until a call may be made: 0 for now. While probes are under way it is a guess: a share of the last pause."""
        if self.phase is Phase.OPEN and now_ms < self.until_ms:
            return self.until_ms - now_ms
        if self.phase is Phase.HALF_OPEN and self.probing >= self.policy.probes:
            return max(1, self.policy.pause_ms, min(self.paused_ms, self.policy.longest_pause_ms) // 4)
        return 0

    def admit(self, now_ms: int) -> "tuple[Circuit, Ticket | Refused]":
        """Ask for leave to make a call."""
        if self.phase is Phase.CLOSED:
            return self, Ticket(self.period)
        wait_ms = self.wait_ms(now_ms)
        if wait_ms:
            return self, Refused(wait_ms, self.why, self.final)
        half_open = self if self.phase is Phase.HALF_OPEN else replace(self, phase=Phase.HALF_OPEN, probing=0, healed=0, final=False)
        return replace(half_open, probing=half_open.probing + 1), Ticket(self.period, probe=True)

    def succeeded(self, ticket: Ticket) -> "Circuit":
        """The call went well: whatever it calls is alive."""
        if ticket.period != self.period:
            return self
        if self.phase is Phase.CLOSED:
            return replace(self, streak=0)
        healed = self.healed + 1
        if healed >= self.policy.successes:
            return Circuit(self.name, self.policy, period=self.period + 1)
        return replace(self, probing=self.probing - 1, healed=healed)

    def failed(self, ticket: Ticket, fault: Fault, now_ms: int) -> "Circuit":
        """The call went wrong in a way that counts."""
        hold_ms = min(fault.hold_ms, LONGEST_RETRY_AFTER_MS)
        if ticket.period != self.period:
            later = self.phase is Phase.OPEN and fault.at_once and now_ms + hold_ms > self.until_ms
            return replace(self, until_ms=now_ms + hold_ms, why=fault.why, final=fault.final or self.final) if later else self
        if self.phase is Phase.CLOSED and self.streak + 1 < self.policy.failures and not fault.at_once:
            return replace(self, streak=self.streak + 1)
        return self._opened(fault, hold_ms, now_ms)

    def dropped(self, ticket: Ticket) -> "Circuit":
        """The call was given up from our side, and says nothing: a probe's place is free again."""
        if ticket.period != self.period or not ticket.probe:
            return self
        return replace(self, probing=self.probing - 1)

    def _opened(self, fault: Fault, hold_ms: int, now_ms: int) -> "Circuit":
        openings, policy = self.openings + 1, self.policy
        pause_ms = backoff_ms(
            openings,
            f"{self.name}/{self.period}",
            initial_ms=policy.pause_ms,
            max_ms=max(policy.pause_ms, policy.longest_pause_ms),
            retry_after_ms=hold_ms,
        )
        return Circuit(
            self.name,
            policy,
            Phase.OPEN,
            openings=openings,
            period=self.period + 1,
            until_ms=now_ms + max(1, pause_ms),
            paused_ms=pause_ms,
            why=fault.why,
            final=fault.final,
        )
