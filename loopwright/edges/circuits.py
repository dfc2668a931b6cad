"""The circuit breakers of one performer, in memory: after a start of the process all are closed.

    with circuits.call("sdr/lead-scoring@1") as attempt:      # raises CircuitOpen where the call is not to be made
        outcome = ...
        attempt.fault = ...                                    # where it failed in a way that counts

One line is logged when a circuit opens and one when it closes again, not one per call.
"""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from loopwright import settings as options
from loopwright.circuit import Circuit, Fault, Phase, Policy, Refused, Ticket
from loopwright.clock import now_ms
from loopwright.edges.outcome import said
from loopwright.retry import retry_after_ms

log = logging.getLogger(__name__)
_LEAVE = Ticket(0)  # of a circuit as it began


class CircuitOpen(Exception):
    """The call is not made: come back after `refused.wait_ms`, or not at all."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why)
        self.refused = refused


class Attempt:
    """A call that is made: what `with` goes round. `fault` is for the caller to set; afterwards `opened` tells that it opened the circuit,
    and `wait_ms` how long no call will be made (0: the circuit lets calls through)."""

    __slots__ = ("_circuits", "_leave", "_name", "fault", "opened", "wait_ms")

    def __init__(self, circuits: "Circuits", name: str, leave: Ticket) -> None:
        self._circuits, self._name, self._leave = circuits, name, leave
        self.fault: Fault | None = None
        self.opened, self.wait_ms = False, 0

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._circuits.dropped(self._name, self._leave)
        else:
            self._circuits.made(self._name, self._leave, self)


def policy_of(circuit: options.Circuit, most_failures: int = 1_000_000) -> Policy:
    """The policy that the settings ask for; it opens after `most_failures` at the latest."""
    return Policy(min(circuit.failures, most_failures), circuit.pause_ms, circuit.longest_pause_ms)


class Circuits:
    """A circuit per name. To be used from one event loop."""

    def __init__(self, policy: Policy, clock_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._policy = policy
        self._clock_ms = clock_ms
        self._circuits: dict[str, Circuit] = {}

    def _get(self, name: str) -> Circuit:
        return self._circuits.get(name) or Circuit(name, self._policy)

    def check(self, name: str) -> None:
        """Raises CircuitOpen where a call would not be made now; takes no probe's place."""
        circuit = self._circuits.get(name)
        if circuit is not None and (wait_ms := circuit.wait_ms(self._clock_ms())):
            raise CircuitOpen(Refused(wait_ms, circuit.why, circuit.final))

    def call(self, name: str) -> Attempt:
        """Make a call, or raise CircuitOpen. A call that ends in an exception says nothing of the other side."""
        known = self._circuits.get(name)
        if known is None:
            return Attempt(self, name, _LEAVE)
        circuit, leave = known.admit(self._clock_ms())
        self._keep(circuit)
        if isinstance(leave, Refused):
            raise CircuitOpen(leave)
        return Attempt(self, name, leave)

    def dropped(self, name: str, leave: Ticket) -> None:
        """The call made by this leave was given up."""
        self._keep(self._get(name).dropped(leave))

    def made(self, name: str, leave: Ticket, attempt: Attempt) -> None:
        """The call made by this leave went as `attempt.fault` says; the rest of `attempt` is filled in."""
        known = self._circuits.get(name)
        if attempt.fault is None and (known is None or (known.phase is Phase.CLOSED and not known.streak)):
            return  # as nearly always: nothing is counted that a success would undo
        before = known or Circuit(name, self._policy)
        after = before.failed(leave, attempt.fault, self._clock_ms()) if attempt.fault else before.succeeded(leave)
        self._keep(after)
        attempt.wait_ms = after.wait_ms(self._clock_ms()) if attempt.fault else 0
        attempt.opened = before.phase is not Phase.OPEN and after.phase is Phase.OPEN
        if attempt.opened:
            log.warning("%s is not called for %.1f s (opening %d): %s", name, attempt.wait_ms / 1000, after.openings, after.why)
        elif before.phase is Phase.HALF_OPEN and after.phase is Phase.CLOSED:
            log.info("%s answers again, and is called as before", name)

    def _keep(self, circuit: Circuit) -> None:
        """Remember it; one that is as it began need not be."""
        if circuit.phase is Phase.CLOSED and not circuit.streak and not circuit.period:
            self._circuits.pop(circuit.name, None)
        else:
            self._circuits[circuit.name] = circuit


_TRIPPING = frozenset({"ConnectionRefused", "ConnectionReset", "ConnectionFailed", "DnsFailure", "Timeout"})


def agent_fault(outcome: dict[str, Any], settings: options.Circuit) -> Fault | None:
    """What the outcome of a POST to an agent says of the agent: None where it is alive, whatever it thinks of this call.

    No connection, no answer in time, a 5xx count. 429 with Retry-After holds all calls off until then. 410: the agent is gone for long.
    """
    error = outcome.get("error")
    if error is not None:
        return Fault(said(f"{error['class']}: {error['message']}")) if error["class"] in _TRIPPING else None
    status = int(outcome["status"])
    if status < 410:
        return None
    asked_ms = retry_after_ms(outcome.get("headers", {}), now_ms()) or 0
    if status == 410:
        return Fault("it answered 410 Gone", settings.gone_pause_ms, at_once=True, final=True)
    if status == 429 and asked_ms:
        return Fault(f"it answered 429 and asked for {asked_ms / 1000:g} s", asked_ms, at_once=True)
    return Fault(f"it answered {status}", asked_ms) if status >= 500 else None


def model_fault(kind: str, why: str, asked_ms: int | None, settings: options.Circuit) -> Fault | None:
    """What a failure of kind `kind` (see ModelFailed) says of the model's endpoint; None where it is alive.

    A refused key or an account without credit opens the circuit at once and for long: asking again would be a storm of refusals.
    """
    text = said(f"{kind}: {why}")
    if kind in {"Unauthorized", "QuotaExceeded"}:
        return Fault(text, settings.refused_pause_ms, at_once=True)
    if kind == "RateLimited":
        return Fault(text, asked_ms or 0, at_once=bool(asked_ms))
    return Fault(text, asked_ms or 0) if kind in {"Unavailable", "Timeout"} else None
