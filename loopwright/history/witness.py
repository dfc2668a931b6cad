"""What the agents' Idempotency-Key stores say, held against the logs. Pure.

A store remembers each call that was run, by the key that it came with, and the answer. A call that ran without a decision in the log that
gives its key, or an answer that is not the logged one, is an effect that the logs do not account for. A store proves the absence of a call
only for the time that it covers, and only for agents that are seen to keep their answers there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from loopwright import schemas
from loopwright.history.findings import Clock, Finding, Invariant
from loopwright.history.reading import Entry, text
from loopwright.history.replay import Life
from loopwright.message import Message
from loopwright.sealing import SEALED
from loopwright.workflow.calls import key_of

COUNTED = ("executions", "not_ours", "before_the_logs")
ENCRYPTED = f'"{SEALED}"'.encode()  # such a value says nothing to who has no key: it is not compared
Called = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Execution:
    """A call that an agent's store remembers: whose it is as the caller said, when it was begun (ms), its answer (None: there is none)."""

    store: str
    agent: str
    key: str
    workflow: str
    hop: int
    branch: str
    made_ms: int
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A call that the log asks for: the decision, and the target in it."""

    hop: int
    branch: str
    entry: Entry
    identity: tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Missing:
    identity: tuple[str, str, int]
    asked_ms: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class Kept:
    """What the logs hold: from when on (ms), and up to when records may have been dropped (-1: none were)."""

    first_ms: int
    dropped_ms: int


class Witness:
    """The executions of all stores that were given. `kept_ms` is how long an answer is kept at least."""

    def __init__(self, executions: Iterable[Execution], kept_ms: int) -> None:
        self._kept_ms = kept_ms
        self._by_call: dict[Called, list[Execution]] = {}
        self._by_workflow: dict[str, list[Execution]] = {}
        self._oldest_ms: dict[str, int] = {}
        self._unseen: dict[tuple[Called, int], Execution] = {}  # one database may be named twice
        for one in executions:
            if self._unseen.setdefault(((one.agent, one.key), one.made_ms), one) is one:
                self._by_call.setdefault((one.agent, one.key), []).append(one)
                self._by_workflow.setdefault(one.workflow, []).append(one)
                self._oldest_ms[one.agent] = min(self._oldest_ms.get(one.agent, one.made_ms), one.made_ms)
        self.executions = len(self._unseen)
        self._known: set[tuple[str, str, int]] = set()
        self._missing: list[_Missing] = []

    def skip(self, workflow: str) -> None:
        """Leave out a workflow that is not judged."""
        self._see(self._by_workflow.get(workflow, ()))

    def examine(self, workflow: str, lives: Sequence[Life], clock: Clock) -> Iterator[Finding]:
        """What the stores say of one workflow against its log. To be asked for each workflow once."""
        first, later = _given(lives)
        ran = [*self._by_workflow.get(workflow, ())] if workflow else []
        ran += [one for called in first for one in self._by_call.get(called, ()) if not one.workflow]
        self._see(ran)
        yield from self._unasked(workflow, ran, first, later, clock)
        for called, given in first.items():
            twice = [one for one in self._by_call.get(called, ()) if one.answer is not None]
            if len(twice) > 1:
                stores, sure_ms = " and in ".join(one.store for one in twice), max(one.made_ms for one in twice) + clock.skew_ms
                what = f"{called[0]} ran hop {given.hop}, branch {given.branch} {len(twice)} times: in {stores}"
                yield Finding(workflow, Invariant.EFFECT_TWICE, what, (given.entry.at,), sure_ms)
        for life in lives:
            yield from self._answers(life, clock)

    def rest(self, kept: Kept, clock: Clock, since_ms: int) -> tuple[list[Finding], dict[str, int]]:
        """What is left when every workflow was examined: executions of which no log tells, replies of which no store knows; and counts."""
        findings, counts = [], dict.fromkeys(COUNTED, 0) | {"executions": self.executions}
        for one in self._unseen.values():
            if not one.workflow:
                counts["not_ours"] += 1
            elif one.made_ms < max(kept.first_ms, kept.dropped_ms, since_ms):
                counts["before_the_logs"] += 1
            else:
                what = (
                    f"{one.agent} ran hop {one.hop}, branch {one.branch} of a workflow that the logs do not know; its store is {one.store}"
                )
                findings.append(Finding(one.workflow, Invariant.NO_DECISION, what, (), one.made_ms + clock.skew_ms))
        for missing in self._missing:
            agent = missing.identity[1]
            covered_ms = max(self._oldest_ms.get(agent, clock.now_ms), clock.now_ms - self._kept_ms) + clock.skew_ms
            if missing.identity in self._known and missing.asked_ms > covered_ms:
                findings.append(missing.finding)
        return findings, counts

    def _see(self, ran: Iterable[Execution]) -> None:
        for one in ran:
            self._unseen.pop(((one.agent, one.key), one.made_ms), None)

    def _unasked(
        self, workflow: str, ran: Iterable[Execution], first: Mapping[Called, Given], later: Mapping[Called, Given], clock: Clock
    ) -> Iterator[Finding]:
        done = {(agent, given.hop, given.branch): given for (agent, key), given in first.items() if (agent, key) in self._by_call}
        for one in ran:
            if (one.agent, one.key) in first:
                continue
            sure_ms = one.made_ms + clock.skew_ms
            what = f"{one.agent} ran hop {one.hop}, branch {one.branch}"
            twin, other = done.get((one.agent, one.hop, one.branch)), later.get((one.agent, one.key))
            if twin is not None:
                what += f" under the decision's key and under another one, {one.key[:64]}; the store is {one.store}"
                yield Finding(workflow, Invariant.EFFECT_TWICE, what, (twin.entry.at,), sure_ms)
            elif other is not None:
                what += f", which a later decision asked for, not the first; the store is {one.store}"
                yield Finding(workflow, Invariant.SECOND_DECISION, what, (other.entry.at,), sure_ms)
            else:
                what += f" with the key {one.key[:64]}, which no decision gives; the store is {one.store}"
                yield Finding(workflow, Invariant.NO_DECISION, what, (), sure_ms)

    def _answers(self, life: Life, clock: Clock) -> Iterator[Finding]:
        taken = life.taken_up()
        for entry, answer in life.answers:
            if answer.type != schemas.REPLIED or answer.hop not in taken:
                continue
            asked, decided = taken[answer.hop]
            branch, agent = text(answer.data.get("branch")), answer.data["agent"]
            target = next((t for t in decided.data["targets"] if (t["branch"], t["agent"]) == (branch, agent)), None)
            if target is None:
                continue
            identity = _identity(decided, target)
            stored = self._by_call.get((agent, key_of(life.workflow, answer.hop, target)), [])
            if not stored:
                what = f"{agent} replied to hop {answer.hop}, branch {branch}, and no store knows of it"
                at, sure_ms = (asked.at, entry.at), entry.logged_ms + clock.skew_ms
                self._missing.append(_Missing(identity, asked.logged_ms, Finding(life.workflow, Invariant.NO_EXECUTION, what, at, sure_ms)))
                continue
            self._known.add(identity)
            answers = [one for one in stored if one.answer is not None]
            if answers and not any(_same(answer.data["output"], one.answer or b"") for one in answers):
                what = f"{agent}'s reply to hop {answer.hop}, branch {branch} is not the answer in {answers[0].store}"
                yield Finding(life.workflow, Invariant.OTHER_ANSWER, what, (entry.at,), entry.logged_ms + clock.skew_ms)


def _identity(decided: Message, target: Mapping[str, Any]) -> tuple[str, str, int]:
    return text(decided.data.get("team")), target["agent"], target["version"]


def _given(lives: Sequence[Life]) -> tuple[dict[Called, Given], dict[Called, Given]]:
    """The calls that the decisions ask for, by agent and key: of those that are taken up, and of the later ones."""
    first: dict[Called, Given] = {}
    later: dict[Called, Given] = {}
    for life in lives:
        taken = life.taken_up()
        for entry, decided in life.decisions:
            calls = first if decided.hop in taken and taken[decided.hop][0] is entry else later
            for target in decided.data["targets"]:
                called = target["agent"], key_of(life.workflow, decided.hop, target)
                calls.setdefault(called, Given(decided.hop, target["branch"], entry, _identity(decided, target)))
    return first, later


def _same(output: Mapping[str, Any], answer: bytes) -> bool:
    """Whether a logged output is what the stored answer says: of that the log has the fields that the contract declares."""
    try:
        said = orjson.loads(answer)
    except ValueError:
        return False
    if not isinstance(said, dict):
        return False
    later = said.get("output")
    return _holds(said, output) or (isinstance(later, dict) and _holds(later, output))


def _holds(said: Mapping[str, Any], output: Mapping[str, Any]) -> bool:
    return all(name in said and (said[name] == value or ENCRYPTED in orjson.dumps(value)) for name, value in output.items())
