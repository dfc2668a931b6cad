"""One step of a workflow's story: what a record said, in a sentence and in parts. Pure, and content with whatever a record holds."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from loopwright import schemas
from loopwright.history.reading import Entry, Position, number, source_of, text, whole
from loopwright.message import Message, shown_time


class Kind(StrEnum):
    """What sort of step it is."""

    STARTED = "started"
    DECISION = "decision"
    REPLY = "reply"
    FAILURE = "failure"
    WAITING = "waiting"
    CALLBACK = "callback"
    SETTLED = "settled"
    SIGNAL = "signal"
    PROGRESS = "progress"
    RESULT = "result"
    DEAD_LETTER = "dead-letter"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Step:
    """A step. `summary` is a sentence, `detail` its parts as JSON; `ignored` says why it had no effect, and is empty where it had one.

    `at` is None for a step that no record tells of: a call that has not been answered yet. `time_ms` is when Kafka took the record.
    """

    kind: Kind
    hop: int
    branch: str
    time_ms: int
    at: Position | None
    summary: str
    detail: dict[str, Any] = field(default_factory=dict)
    ignored: str = ""
    id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The step as `loopwright trace --json` shows it."""
        where = self.at and {"topic": self.at.topic, "partition": self.at.partition, "offset": self.at.offset}
        return {
            "kind": self.kind.value,
            "hop": self.hop,
            "branch": self.branch,
            "time": shown_time(self.time_ms),
            "id": self.id,
            "position": where,
            "summary": self.summary,
            "ignored": self.ignored or None,
            "detail": self.detail,
        }


def with_ignored(step: Step, why: str) -> Step:
    """The step, marked as having had no effect."""
    return replace(step, ignored=why)


def step_of(entry: Entry, results: str, dead_letters: str) -> Step:
    """The step that `entry` tells of. `results` and `dead_letters` are those topics' names."""
    message = entry.message
    if message is None:
        detail = {"cause": entry.cause, "why": entry.why, "remedy": entry.remedy}
        return Step(Kind.REJECTED, 0, "", entry.logged_ms, entry.at, f"cannot be read: {entry.cause}: {entry.why}", detail)
    if message.type == schemas.LETTER_SETTLED:
        teller: Teller = _letter_settled
    elif entry.at.topic == dead_letters:
        teller = _dead_letter
    elif entry.at.topic == results:
        teller = _result
    else:
        teller = TELLERS.get(message.type, _other)
    kind, summary, detail = teller(message)
    return Step(kind, message.hop, message.branch, entry.logged_ms, entry.at, summary, {"type": message.type, **detail}, "", message.id)


Told = tuple[Kind, str, dict[str, Any]]
Teller = Callable[[Message], Told]


def _started(message: Message) -> Told:
    data = message.data
    options: dict[str, Any] = {name: data[name] for name in ("team", "tenant", "budget", "deadline_ms", "hop_limit") if name in data}
    team = text(data.get("team"))
    fields = data.get("document")
    count = len(fields) if isinstance(fields, dict) else 0
    summary = f"started with a document of {count} field{'' if count == 1 else 's'}" + (f", team {team}" if team else "")
    return Kind.STARTED, summary, {"source": message.source, "document": fields, **options}


def decision_detail(data: dict[str, Any]) -> dict[str, Any]:
    """What a decision says, with every part in a fixed place."""
    targets = [target for target in listed(data.get("targets")) if isinstance(target, dict)]
    return {
        "outcome": text(data.get("outcome")),
        "strategy": text(data.get("strategy")),
        "targets": [{name: target.get(name) for name in ("branch", "agent", "version", "input")} for target in targets],
        "candidates": [str(name) for name in listed(data.get("candidates"))],
        "rejected": [_refusal(item) for item in listed(data.get("rejected"))],
        "reason": text(data.get("reason")),
        "confidence": data.get("confidence"),
        "model": data.get("model"),
        "calls": whole(data.get("calls")),
        "tokens": data.get("tokens") or {},
        "cost": number(data.get("cost")),
        "duration_ms": whole(data.get("duration_ms")),
        "pins": data.get("pins") or {},
    }


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is an object; an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """`value` where it is a list; nothing otherwise."""
    return value if isinstance(value, list) else []


def _refusal(item: Any) -> dict[str, str]:
    if isinstance(item, dict):
        return {"agent": text(item.get("agent")), "why": text(item.get("why"))}
    return {"agent": str(item), "why": ""}


def _decided(message: Message) -> Told:
    detail = decision_detail(message.data)
    agents = ", ".join(f"{target['agent']}@{target['version']}" for target in detail["targets"])
    what = f"call {agents}" if detail["outcome"] == "dispatch" else detail["outcome"]
    return Kind.DECISION, f"{what}, by {detail['strategy']}: {detail['reason']}", detail


def _call_detail(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "agent": text(data.get("agent")),
        "version": data.get("version"),
        "attempts": whole(data.get("attempts")),
        "status": data.get("status"),
        "duration_ms": whole(data.get("duration_ms")),
    }


def _attempts(detail: dict[str, Any]) -> str:
    count = detail["attempts"]
    status = "" if detail["status"] is None else f", HTTP {detail['status']}"
    return f"{count} attempt{'' if count == 1 else 's'}{status}"


def _replied(message: Message) -> Told:
    data, detail = message.data, _call_detail(message.data)
    output = data.get("output")
    names = ", ".join(output) if isinstance(output, dict) else ""
    end = " and ended the workflow" if data.get("next") == "complete" else ""
    summary = f"{detail['agent']}@{detail['version']} gave {names or 'nothing'}{end} ({_attempts(detail)})"
    return Kind.REPLY, summary, {**detail, "output": output, "next": data.get("next"), "usage": mapping(data.get("usage"))}


def _failed(message: Message) -> Told:
    detail = _call_detail(message.data)
    error = message.data.get("error")
    said = f"{text(error.get('class'))}: {text(error.get('message'))}" if isinstance(error, dict) else "no reason given"
    return Kind.FAILURE, f"{detail['agent']}@{detail['version']} failed: {said} ({_attempts(detail)})", {**detail, "error": error}


def _settled(message: Message) -> Told:
    outcome, reason = text(message.data.get("outcome")), text(message.data.get("reason"))
    return Kind.SETTLED, f"{SETTLED_WORDS.get(outcome, outcome)}: {reason}", {"outcome": outcome, "reason": reason}


SETTLED_WORDS = {"complete": "completed", "park": "parked", "unroutable": "unroutable"}


def _result(message: Message) -> Told:
    word, data = message.type.rpartition(".")[2], message.data
    hops, reason = whole(data.get("hops")), text(data.get("reason"))
    names = ("hops", "path", "duration_ms", "spend", "reason", "document")
    summary = f"{word} after {hops} hop{'' if hops == 1 else 's'}" + (f": {reason}" if reason else "")
    return Kind.RESULT, summary, {name: data.get(name) for name in names}


def _dead_letter(message: Message) -> Told:
    data, source = message.data, source_of(message)
    error = data.get("error")
    cause = text(data.get("cause")) or (text(error.get("class")) if isinstance(error, dict) else "")
    why = text(data.get("why")) or text(data.get("reason")) or (text(error.get("message")) if isinstance(error, dict) else "")
    where = f"{source} " if source else ""
    detail = {
        "cause": cause,
        "why": why,
        "remedy": text(data.get("remedy")),
        "stage": text(data.get("stage")),
        "of": source and {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "original": data.get("original"),
    }
    return Kind.DEAD_LETTER, f"{where}{': '.join(part for part in (cause, why) if part) or 'no reason given'}", detail


def _letter_settled(message: Message) -> Told:
    data = message.data
    by, reason = (text(data.get(name)) for name in ("by", "reason"))
    summary = f"dead letter {text(data.get('position'))} {text(data.get('action'))}"
    return Kind.SIGNAL, summary + (f" by {by}" if by else "") + (f": {reason}" if reason else ""), {"data": data}


def _progress(message: Message) -> Told:
    data = message.data
    step, of = whole(data.get("step")), whole(data.get("of"))
    count = f" {step}/{of}" if of else ""
    return (
        Kind.PROGRESS,
        f"{text(data.get('agent'))}{count}: {text(data.get('text'))}",
        {"agent": text(data.get("agent")), "step": step, "of": of},
    )


def _called_back(message: Message) -> Told:
    error = message.data.get("error")
    said = "an error" if isinstance(error, dict) else "its output"
    return Kind.CALLBACK, f"{text(message.data.get('agent')) or 'the agent'} called back with {said}", {"data": message.data}


def _signal(message: Message) -> Told:
    data = message.data
    word = " ".join(message.type.split(".")[1:])
    said = ", ".join(text(data.get(name)) for name in ("verdict", "reason") if data.get(name))
    word += f" from hop {whole(data['from_hop'])}" if data.get("from_hop") else ""
    by = f" by {text(data.get('by'))}" if data.get("by") else ""
    return Kind.SIGNAL, f"{word}{by}" + (f": {said}" if said else ""), {"data": data}


def _other(message: Message) -> Told:
    return Kind.SIGNAL, message.type, {"data": message.data}


TELLERS: dict[str, Teller] = {
    schemas.STARTED: _started,
    schemas.DECIDED: _decided,
    schemas.REPLIED: _replied,
    schemas.FAILED: _failed,
    schemas.SETTLED: _settled,
    schemas.CANCELLED: _signal,
    schemas.RESUMED: _signal,
    schemas.HUMAN_DECIDED: _signal,
    schemas.DEADLINE_PASSED: _signal,
    schemas.CALLED_BACK: _called_back,
    schemas.PROGRESS: _progress,
}
