"""What must hold of any log that the job wrote, checked workflow by workflow. Pure: the same records give the same report.

What should have happened is made with the functions that the job runs (see `loopwright.history.replay`), so a finding means that something
happened which the log does not account for.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from loopwright import schemas
from loopwright.history.findings import Clock, Finding, Invariant
from loopwright.history.reading import Entry, Position, in_log_order, read_entry, text
from loopwright.history.replay import Life, lives_of
from loopwright.history.witness import Kept, Witness
from loopwright.message import Message, read
from loopwright.settings import Limits, Topics
from loopwright.step import Record
from loopwright.workflow.result import result_of
from loopwright.workflow.transitions import ENDED, OPEN, Phase

Told = tuple[Entry, Message]


COUNTED = ("workflows", "completed", "failed", "refused", "cancelled", "parked", "open")
ALSO_COUNTED = ("duplicates_fenced", "later_decisions_ignored", "too_fresh", "not_kept")
NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Report:
    """What is broken, and how many of everything there are.

    `counts` has workflows by how they stand, duplicates that changed nothing, later decisions that were ignored, what is too fresh to
    judge, and workflows of which the logs have dropped a part (they are not judged). `dead_letters` are counted by cause, `witness` counts
    the executions in the agents' stores; it is empty where none were asked.
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    dead_letters: dict[str, int] = field(default_factory=dict)
    witness: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing is broken."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON shows it."""
        broken = [finding.as_dict() for finding in self.findings]
        body = {"holds": self.holds, "broken": broken, "counts": self.counts, "dead_letters": self.dead_letters}
        return body | ({"witness": self.witness} if self.witness else {})


@dataclass(frozen=True, slots=True)
class _Filed:
    """A record as it is kept until its workflow is judged: its bytes, a fourth of what it takes as a message."""

    entry: Entry
    record: Record | None

    def read(self) -> Entry:
        """The entry with its message."""
        return replace(self.entry, message=read(self.record)) if self.record else self.entry


class Evidence:
    """The records of all topics, taken in one at a time in any order; the report comes out."""

    def __init__(self, topics: Topics, limits: Limits, default_team: str) -> None:
        self._topics, self._limits, self._default_team = topics, limits, default_team
        self._filed: dict[str, dict[Position, _Filed]] = {}
        self._lowest: dict[tuple[str, int], tuple[int, int]] = {}
        self._first_ms = NEVER_MS

    def extend(self, records: Iterable[Record]) -> None:
        """Take in records. Never raises for what is in them."""
        wanted = (self._topics.messages, self._topics.decisions, self._topics.results, self._topics.dead_letters)
        for record in records:
            if record.topic not in wanted:
                continue
            place, first = (record.topic, record.partition), (record.offset, record.timestamp_ms)
            self._lowest[place] = min(self._lowest.get(place, first), first)
            self._first_ms = min(self._first_ms, record.timestamp_ms)
            entry = read_entry(record, self._topics, self._limits)
            if entry is not None:
                filed = _Filed(replace(entry, message=None), record) if entry.message else _Filed(entry, None)
                self._filed.setdefault(entry.workflow, {})[entry.at] = filed

    def report(self, clock: Clock, since_ms: int = 0, witness: Witness | None = None) -> Report:
        """The report on the workflows of which a record was logged at `since_ms` (since the epoch) or later, with the agents' stores as
        `witness` where they were asked."""
        counts: Counter[str] = Counter(dict.fromkeys(COUNTED + ALSO_COUNTED, 0))
        letters: dict[str, str] = {}
        findings: list[Finding] = []
        kept_from_ms = self._kept_from_ms()
        for workflow in sorted(self._filed):
            entries = in_log_order([filed.read() for filed in self._filed[workflow].values()])
            if max((entry.logged_ms for entry in entries), default=0) < since_ms:
                if witness:
                    witness.skip(workflow)
                continue
            letters |= {letter.id: text(letter.data.get("cause")) for _, letter in _told(entries, self._topics.dead_letters)}
            lives = self._lives(workflow, entries)
            for life in lives:
                counts.update(_counts(life))
                if life.began_ms <= kept_from_ms:
                    counts["not_kept"] += bool(life.state or life.answers or life.decisions or life.results)
                else:
                    findings += _broken(life, clock)
            if witness and any(life.began_ms <= kept_from_ms for life in lives):
                witness.skip(workflow)
            elif witness:
                findings += witness.examine(workflow, lives, clock)
        told: dict[str, int] = {}
        if witness:
            unheard, told = witness.rest(Kept(self._first_ms, kept_from_ms), clock, since_ms)
            findings += unheard
        counts["too_fresh"] = sum(finding.sure_ms > clock.now_ms for finding in findings)
        sure = tuple(finding for finding in findings if finding.sure_ms <= clock.now_ms)
        return Report(sure, dict(counts), dict(sorted(Counter(letters.values()).items())), told)

    def _lives(self, workflow: str, entries: Sequence[Entry]) -> list[Life]:
        messages = [entry for entry in entries if entry.at.topic == self._topics.messages]
        decisions, results = _told(entries, self._topics.decisions), _told(entries, self._topics.results)
        return lives_of(workflow, messages, decisions, results, self._limits, self._default_team)

    def _kept_from_ms(self) -> int:
        """The time up to which a topic has dropped records (retention); -1 where all of them are there."""
        return max((logged_ms for offset, logged_ms in self._lowest.values() if offset > 0), default=-1)


def _told(entries: Iterable[Entry], topic: str) -> list[Told]:
    return [(entry, entry.message) for entry in entries if entry.at.topic == topic and entry.message is not None]


def _counts(life: Life) -> Counter[str]:
    counts: Counter[str] = Counter()
    counts["later_decisions_ignored"] = len(life.decisions) - len(life.taken_up())
    repeats = sum(len(group) - max(1, len(_outputs(group))) for group in _by_branch(life).values())
    counts["duplicates_fenced"] = life.repeated + repeats + len(life.results) - len(_unlike(life.results))
    if life.state is not None and not life.set_back:
        counts["workflows"] += 1
        counts[_standing(life)] += 1
    return counts


def _standing(life: Life) -> str:
    phase = life.state.phase if life.state else Phase.NONE
    called = any(answer.type in (schemas.REPLIED, schemas.FAILED) for _, answer in life.answers)
    if phase is Phase.FAILED and not called and life.moved_by_type == schemas.SETTLED:
        return "refused"
    return phase.value if phase in ENDED or phase is Phase.PARKED else "open"


def _broken(life: Life, clock: Clock) -> Iterator[Finding]:
    yield from _set_back_otherwise(life)
    yield from _overdue(life, clock)
    yield from _acted_on(life, clock)
    yield from _two_outputs(life)
    yield from _results(life, clock)


def _finding(life: Life, invariant: Invariant, what: str, entries: Iterable[Entry], sure_ms: int = 0) -> Finding:
    return Finding(life.workflow, invariant, what, tuple(dict.fromkeys(entry.at for entry in entries)), sure_ms)


def _set_back_otherwise(life: Life) -> Iterator[Finding]:
    """A workflow that goes on from a hop with something else than the log gave before that hop."""
    said = life.started.message.data if life.first_hop and life.started and life.started.message else {}
    before = life.earlier.get(said.get("from_hop", 0))
    if before is None or life.first is None or life.started is None:
        return
    unlike = [name for name in ("document", "visits", "team", "tenant") if getattr(before, name) != getattr(life.first, name)]
    if unlike:
        what = f"it was set back to hop {said['from_hop']} with another {', '.join(unlike)} than the log gives"
        yield _finding(life, Invariant.SET_BACK_OTHERWISE, what, (life.started,))


def _overdue(life: Life, clock: Clock) -> Iterator[Finding]:
    state = life.state
    if (
        state is not None
        and life.started
        and life.moved_by
        and state.phase in OPEN
        and not life.set_back
        and state.deadline_ms < clock.now_ms
    ):
        what = f"it has no end, {(clock.now_ms - state.deadline_ms) / 1000:.0f} s past its deadline: {state.phase.value} at hop {state.hop}"
        yield _finding(life, Invariant.OVERDUE, what, (life.started, life.moved_by), state.deadline_ms + clock.patience_ms)


def _by_branch(life: Life) -> dict[tuple[int, str], list[Told]]:
    groups: dict[tuple[int, str], list[Told]] = {}
    for entry, answer in life.answers:
        groups.setdefault((answer.hop, text(answer.data.get("branch"))), []).append((entry, answer))
    return groups


def _doer(answer: Message) -> str:
    """Who did what the answer tells of: agent and version, or the outcome of a decision that calls nobody."""
    data = answer.data
    return str(data["outcome"]) if answer.type == schemas.SETTLED else f"{data['agent']}@{data['version']}"


def _asked(decided: Message) -> dict[str, str]:
    """Whom a decision asks, by branch, as `_doer` names them. A decision that calls nobody asks for its outcome."""
    data = decided.data
    if data["outcome"] != "dispatch":
        return {"": data["outcome"]}
    return {target["branch"]: f"{target['agent']}@{target['version']}" for target in data["targets"]}


def _fits(decided: Message, answer: Message) -> bool:
    asked = _asked(decided).get(text(answer.data.get("branch")))
    return decided.hop == answer.hop and asked == _doer(answer) and answer.causation in ("", decided.id)


def _acted_on(life: Life, clock: Clock) -> Iterator[Finding]:
    """Answers that no decision asked for, or a decision that was not the first."""
    taken = life.taken_up()
    for (hop, branch), group in _by_branch(life).items():
        doers = {_doer(answer): entry for entry, answer in reversed(group)}
        if len(doers) > 1:
            what = f"hop {hop}, branch {branch or '-'} was answered by {' and by '.join(sorted(doers))}"
            yield _finding(life, Invariant.SECOND_DECISION, what, reversed(doers.values()))
        for (doer, _), (entry, answer) in {(_doer(told[1]), told[1].causation): told for told in reversed(group)}.items():
            fitting = [at for at, decided in life.decisions if _fits(decided, answer)]
            if not fitting:
                what = f"{doer} answers hop {hop}, branch {branch or '-'}; no decision for this hop asks for it"
                yield _finding(life, Invariant.NO_DECISION, what, (entry,), entry.logged_ms + clock.skew_ms)
            elif len(doers) == 1 and (hop not in taken or not _fits(taken[hop][1], answer)):
                first = [taken[hop][0]] if hop in taken else []
                what = f"{doer} answers hop {hop}, branch {branch or '-'}, which a later decision asked for, not the first"
                yield _finding(life, Invariant.SECOND_DECISION, what, (*first, fitting[0], entry), entry.logged_ms + clock.skew_ms)


def _outputs(group: Iterable[Told]) -> dict[tuple[str, bytes], Entry]:
    """The first reply with each output, by who gave it."""
    found: dict[tuple[str, bytes], Entry] = {}
    for entry, answer in group:
        if answer.type == schemas.REPLIED:
            found.setdefault((_doer(answer), _canonical([answer.data["output"], answer.data["next"]])), entry)
    return found


def _two_outputs(life: Life) -> Iterator[Finding]:
    for (hop, branch), group in _by_branch(life).items():
        by_doer: dict[str, list[Entry]] = {}
        for (doer, _), entry in _outputs(group).items():
            by_doer.setdefault(doer, []).append(entry)
        for doer, entries in by_doer.items():
            if len(entries) > 1:
                what = f"{doer} gave {len(entries)} different outputs for hop {hop}, branch {branch}: it does not honour Idempotency-Key"
                yield _finding(life, Invariant.DIFFERENT_OUTPUTS, what, entries)


def _canonical(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than orjson goes: somebody else wrote it
        return repr(value).encode("utf-8", "replace")


def _end_of(result: Message) -> bytes:
    """What two results of one workflow must have in common: type, document and path."""
    return _canonical([result.type, result.data.get("document"), result.data.get("path")])


def _unlike(results: Iterable[Told]) -> dict[bytes, Told]:
    """The first of each sort of result."""
    found: dict[bytes, Told] = {}
    for entry, result in results:
        found.setdefault(_end_of(result), (entry, result))
    return found


def _results(life: Life, clock: Clock) -> Iterator[Finding]:
    state, unlike = life.state, _unlike(life.results)
    entries = [entry for entry, _ in unlike.values()]
    if len(unlike) > 1:
        kinds = ", ".join(sorted({result.type for _, result in unlike.values()}))
        yield _finding(life, Invariant.DIFFERENT_RESULTS, f"it has {len(unlike)} results that differ ({kinds})", entries)
    if state is None or life.moved_by is None:
        if entries:
            sure_ms = max(entry.logged_ms for entry in entries) + clock.skew_ms
            yield _finding(life, Invariant.NO_START, "it has a result, and no start", entries, sure_ms)
        return
    if state.phase in ENDED and not entries:
        what = f"it is {state.phase.value} ({state.reason}), and has no result"
        yield _finding(life, Invariant.NO_RESULT, what, (life.moved_by,), life.moved_by.logged_ms + clock.patience_ms)
    given = result_of(state, clock.now_ms) if state.phase in ENDED else None
    for entry, result in unlike.values():
        if given is None or _end_of(result) != _end_of(given):
            what = f"the log gives {_differs(given, result) if given else f'no end ({state.phase.value} at hop {state.hop})'}"
            yield _finding(life, Invariant.NOT_OF_THE_FOLD, what, (entry, life.moved_by), entry.logged_ms + clock.skew_ms)


def _differs(given: Message, result: Message) -> str:
    """What the fold gives where a result says something else."""
    if given.type != result.type:
        return f"{given.type}, the result says {result.type}"
    if given.data["path"] != result.data.get("path"):
        return f"the path {given.data['path']}, the result says {result.data.get('path')}"
    return "another document"
