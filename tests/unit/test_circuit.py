"""The circuit breaker: what holds whatever happens, in any order."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from loopwright.circuit import Circuit, Fault, Phase, Policy, Refused, Ticket

POLICY = Policy(failures=3, pause_ms=100, longest_pause_ms=1000, probes=2, successes=2)
BROKEN = Fault("Unavailable: refused")


def opened(now_ms: int = 0, fault: Fault = BROKEN, policy: Policy = POLICY) -> Circuit:
    """A circuit that was opened by failures in a row."""
    circuit = Circuit("it", policy)
    while circuit.phase is Phase.CLOSED:
        circuit, ticket = circuit.admit(now_ms)
        assert isinstance(ticket, Ticket)
        circuit = circuit.failed(ticket, fault, now_ms)
    return circuit


def probe(circuit: Circuit, now_ms: int) -> tuple[Circuit, Ticket]:
    circuit, ticket = circuit.admit(now_ms)
    assert isinstance(ticket, Ticket)
    return circuit, ticket


def test_failures_in_a_row_open_it_and_a_success_between_them_starts_the_count_anew() -> None:
    circuit = Circuit("it", POLICY)
    for fault in (BROKEN, BROKEN, None, BROKEN, BROKEN):
        circuit, ticket = probe(circuit, 0)
        circuit = circuit.failed(ticket, fault, 0) if fault else circuit.succeeded(ticket)
    assert circuit.phase is Phase.CLOSED
    circuit, ticket = probe(circuit, 0)
    assert circuit.failed(ticket, BROKEN, 0).phase is Phase.OPEN


def test_while_it_is_open_no_call_is_made_and_it_says_when_to_come_back() -> None:
    circuit = opened(now_ms=1000)
    _, refused = circuit.admit(1001)
    assert isinstance(refused, Refused)
    assert refused.why == "Unavailable: refused"
    assert 1001 + refused.wait_ms == circuit.until_ms


def test_probes_that_go_well_close_it_and_one_that_fails_opens_it_for_longer() -> None:
    circuit = opened()
    circuit, first = probe(circuit, circuit.until_ms)
    circuit, second = probe(circuit, circuit.until_ms)
    closed = circuit.succeeded(first).succeeded(second)
    assert (closed.phase, closed.streak, closed.openings) == (Phase.CLOSED, 0, 0)
    again = circuit.failed(first, BROKEN, circuit.until_ms)
    assert (again.phase, again.openings) == (Phase.OPEN, 2)


def test_a_retry_after_is_the_shortest_pause_and_opens_it_at_once() -> None:
    circuit = Circuit("it", POLICY)
    circuit, ticket = probe(circuit, 50)
    circuit = circuit.failed(ticket, Fault("RateLimited", hold_ms=30_000, at_once=True), 50)
    assert (circuit.phase, circuit.until_ms) == (Phase.OPEN, 30_050)


def test_a_late_failure_may_make_the_pause_longer_and_changes_nothing_else() -> None:
    circuit, old = probe(Circuit("it", POLICY), 0)
    for _ in range(POLICY.failures):
        circuit, ticket = probe(circuit, 0)
        circuit = circuit.failed(ticket, BROKEN, 0)
    assert circuit.failed(old, BROKEN, 10) == circuit
    assert circuit.succeeded(old) == circuit
    assert circuit.failed(old, Fault("RateLimited", 60_000, at_once=True), 10).until_ms == 60_010


@given(st.integers(1, 60), st.integers(0, 10**7))
@settings(deadline=None)
def test_pauses_grow_to_a_bound_and_never_beyond_it(times: int, hold_ms: int) -> None:
    now, circuit = 0, opened(policy=Policy(failures=1, pause_ms=100, longest_pause_ms=1000))
    pauses = []
    for _ in range(times):
        pauses.append(circuit.until_ms - now)
        now = circuit.until_ms
        circuit, ticket = probe(circuit, now)
        circuit = circuit.failed(ticket, Fault("x"), now)
    assert all(50 <= pause <= 1000 for pause in pauses)
    assert all(pause >= 500 for pause in pauses[5:])
    held = circuit.failed(Ticket(circuit.period - 1), Fault("x", hold_ms, at_once=True), now)
    assert held.until_ms - now <= max(1000, 3_600_000)


@dataclass
class Calls:
    """The calls that are under way."""

    tickets: list[Ticket] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """Any order of questions, successes, failures, calls given up, and time."""

    @initialize(
        failures=st.integers(1, 4), pause=st.integers(1, 500), longest=st.integers(1, 5000), probes=st.integers(1, 3), ok=st.integers(1, 3)
    )
    def begin(self, failures: int, pause: int, longest: int, probes: int, ok: int) -> None:
        self.now, self.calls = 0, Calls()
        self.circuit = Circuit("it", Policy(failures, pause, longest, probes, ok))

    @rule(by=st.integers(0, 2000))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule()
    def a_call_is_wanted(self) -> None:
        was_open = self.circuit.phase is Phase.OPEN and self.now < self.circuit.until_ms
        self.circuit, answer = self.circuit.admit(self.now)
        assert isinstance(answer, Refused) or not was_open, "a call was made while the circuit was open"
        if isinstance(answer, Ticket):
            self.calls.tickets.append(answer)
        else:
            assert answer.wait_ms >= 1

    @precondition(lambda self: self.calls.tickets)
    @rule(which=st.integers(0, 99))
    def a_call_goes_well(self, which: int) -> None:
        self.circuit = self.circuit.succeeded(self._one(which))

    @precondition(lambda self: self.calls.tickets)
    @rule(which=st.integers(0, 99), hold=st.integers(0, 3000), at_once=st.booleans(), final=st.booleans())
    def a_call_fails(self, which: int, hold: int, at_once: bool, final: bool) -> None:
        self.circuit = self.circuit.failed(self._one(which), Fault("x", hold, at_once, final), self.now)

    @precondition(lambda self: self.calls.tickets)
    @rule(which=st.integers(0, 99))
    def a_call_is_given_up(self, which: int) -> None:
        self.circuit = self.circuit.dropped(self._one(which))

    def _one(self, which: int) -> Ticket:
        return self.calls.tickets.pop(which % len(self.calls.tickets))

    @invariant()
    def never_more_probes_at_once_than_allowed(self) -> None:
        if not hasattr(self, "circuit"):
            return
        under_way = sum(t.probe and t.period == self.circuit.period for t in self.calls.tickets)
        assert under_way <= self.circuit.policy.probes
        if self.circuit.phase is Phase.HALF_OPEN:
            assert under_way == self.circuit.probing

    @invariant()
    def with_nothing_under_way_whoever_comes_back_when_told_gets_leave(self) -> None:
        if not hasattr(self, "circuit"):
            return
        circuit = self.circuit
        for ticket in self.calls.tickets:
            circuit = circuit.dropped(ticket)
        _, answer = circuit.admit(self.now)
        if isinstance(answer, Refused):
            _, answer = circuit.admit(self.now + answer.wait_ms)
        assert isinstance(answer, Ticket), "a wake-up was lost"

    @invariant()
    def enough_successes_always_close_it(self) -> None:
        if not hasattr(self, "circuit"):
            return
        circuit, now = self.circuit, self.now
        for ticket in self.calls.tickets:
            circuit = circuit.dropped(ticket)
        for _ in range(self.circuit.policy.successes):
            now += circuit.wait_ms(now)
            circuit, ticket = probe(circuit, now)
            circuit = circuit.succeeded(ticket)
        assert circuit.phase is Phase.CLOSED


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMachine = pytest.mark.timeout(120)(Machine.TestCase)
