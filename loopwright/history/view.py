"""One workflow as a person asks about it: where it stands, which way it took, what it cost, why it ended. Pure.

The router's own fold says where the workflow stands, so what is shown here cannot differ from what the job did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from loopwright import schemas
from loopwright.history.order import in_order
from loopwright.history.reading import Entry, filed_again, number, settles_letter, text, tokens_in, whole
from loopwright.history.replay import ended_at_once
from loopwright.history.steps import Kind, Step, decision_detail, step_of, with_ignored
from loopwright.message import Message, shown_time
from loopwright.settings import Limits, Topics
from loopwright.workflow.fold import Contradiction, Ignored, fold
from loopwright.workflow.state import WorkflowState
from loopwright.workflow.transitions import Phase


class Status(StrEnum):
    """Where a workflow stands, in words."""

    NEW = "waiting for its first decision"
    ROUTING = "routing"
    CALLING = "calling"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.REJECTED})
RESTING = ENDED | {Status.PARKED}
_BY_RESULT = {
    schemas.WORKFLOW_COMPLETED: Status.COMPLETED,
    schemas.WORKFLOW_FAILED: Status.FAILED,
    schemas.CANCELLED: Status.CANCELLED,
}
_BY_PHASE = {
    Phase.PARKED: Status.PARKED,
    Phase.COMPLETED: Status.COMPLETED,
    Phase.FAILED: Status.FAILED,
    Phase.CANCELLED: Status.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """A workflow. Times in ms since the epoch (Kafka's), durations in ms, cost in the unit of the price settings.

    `model_calls` and `tokens` are those of the routing decisions; `agent_calls` and `agent_tokens` what agents said they used themselves.
    `strategies` holds (hop, strategy) of the decisions that count.
    """

    workflow: str
    status: Status
    team: str = ""
    hop: int = 0
    agent: str = ""
    path: tuple[str, ...] = ()
    strategies: tuple[tuple[int, str], ...] = ()
    model_calls: int = 0
    tokens: int = 0
    agent_calls: int = 0
    agent_tokens: int = 0
    cost: float = 0.0
    started_ms: int = 0
    updated_ms: int = 0
    ended: bool = False
    score: float | None = None
    reason: str = ""
    dead_letters: int = 0
    ignored: int = 0
    document: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @property
    def open(self) -> bool:
        """Whether something is still to happen by itself: not ended and not parked."""
        return self.status not in RESTING

    @property
    def duration_ms(self) -> int:
        """From the first record to the last one."""
        return max(self.updated_ms - self.started_ms, 0)

    def age_ms(self, now_ms: int) -> int:
        """How long it has been going on; how long it took, once it has ended."""
        return self.duration_ms if self.ended else max(now_ms - self.started_ms, 0)

    @property
    def activity(self) -> str:
        """The status in words: with the agent that is being called; refused where it failed before any agent ran."""
        if self.status is Status.FAILED and self.strategies and not self.path and not self.dead_letters:
            return "refused"
        return f"calling {self.agent}" if self.status is Status.CALLING else self.status.value

    def as_dict(self, steps: bool = False) -> dict[str, Any]:
        """The view as JSON shows it; with the document and every step where `steps` is set."""
        body: dict[str, Any] = {
            "workflow": self.workflow,
            "status": self.status.value,
            "team": self.team,
            "hop": self.hop,
            "agent": self.agent or None,
            "path": list(self.path),
            "strategies": [{"hop": hop, "strategy": strategy} for hop, strategy in self.strategies],
            "model_calls": self.model_calls,
            "tokens": self.tokens,
            "agent_calls": self.agent_calls,
            "agent_tokens": self.agent_tokens,
            "cost": self.cost,
            "started": shown_time(self.started_ms),
            "updated": shown_time(self.updated_ms),
            "duration_ms": self.duration_ms,
            "score": self.score,
            "reason": self.reason or None,
            "dead_letters": self.dead_letters,
            "ignored": self.ignored,
        }
        return body | {"document": self.document, "steps": [step.as_dict() for step in self.steps]} if steps else body


@dataclass(slots=True)
class _Story:
    """What has been gathered so far while the entries of one workflow are walked in order."""

    state: WorkflowState | None = None
    steps: list[Step] = field(default_factory=list)
    decisions: dict[int, Message] = field(default_factory=dict)
    answers: dict[tuple[int, str], Message] = field(default_factory=dict)
    result: Message | None = None
    refusal: str = ""
    dead_letters: int = 0


def view_of(workflow: str, entries: Sequence[Entry], topics: Topics, limits: Limits, default_team: str) -> WorkflowView:
    """The view of one workflow from everything that the logs hold about it, in any order. Never raises."""
    ordered, astray = in_order(entries), filed_again(entries)
    story = _Story()
    for entry in ordered:
        step = step_of(entry, topics.results, topics.dead_letters)
        ignored = IGNORED["astray"] if entry.at in astray else _take(story, entry, topics, limits, default_team)
        story.steps.append(with_ignored(step, ignored) if ignored else step)
    story.steps.extend(_unanswered(story))
    return _summed_up(workflow, story, ordered)


def _take(story: _Story, entry: Entry, topics: Topics, limits: Limits, default_team: str) -> str:
    """Take `entry` into the story; why it has no effect, or nothing."""
    message = entry.message
    if settles_letter(entry):
        return ""
    if entry.at.topic == topics.dead_letters:
        story.dead_letters += 1
    if message is None or entry.at.topic == topics.dead_letters:
        story.refusal = story.refusal or (_said(message) if message else f"{entry.cause}: {entry.why}")
        return ""
    if entry.at.topic == topics.decisions:
        return _decision(story, message)
    if entry.at.topic == topics.results:
        if story.state is not None and message.hop < story.state.resumed_hop:
            return ""
        first = story.result is None
        story.result = story.result or message
        return "" if first else "a duplicate: the result was already logged"
    return _folded(story, message, limits, default_team) if entry.at.topic == topics.messages else ""


def _said(letter: Message) -> str:
    data = letter.data
    return ": ".join(part for part in (text(data.get("cause")), text(data.get("why"))) if part) or "dead-lettered"


def _decision(story: _Story, message: Message) -> str:
    if message.hop in story.decisions:
        return "a decision for this hop was already logged"
    story.decisions[message.hop] = message
    return ""


IGNORED = {
    "astray": "it stood under another key, and was written once more under its own",
    "duplicate_start": "a duplicate: the workflow was already started with this content",
    "duplicate_reply": "a duplicate: this hop was already answered",
    "after_end": "too late: the workflow had ended",
    "out_of_order": "it answers a hop that has not been reached",
    "while_parked": "too late: the workflow was parked",
    "not_parked": "the workflow was not parked",
    "not_at_rest": "the workflow was still running",
    "gone_on": "the workflow had gone on since",
    "earlier_run": "it speaks of an earlier run of the workflow",
}


def _folded(story: _Story, message: Message, limits: Limits, default_team: str) -> str:
    if message.type in (schemas.REPLIED, schemas.FAILED):
        answered = (message.hop, message.branch) in story.answers
        story.answers.setdefault((message.hop, message.branch), message)
        if answered:
            return IGNORED["duplicate_reply"]
    try:
        result = fold(story.state, message, limits, default_team)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        return f"it cannot be applied: {type(error).__name__}: {error}"
    if isinstance(result, Ignored):
        return IGNORED.get(result.count, result.count.replace("_", " "))
    if isinstance(result, Contradiction):
        story.refusal = story.refusal or f"{result.cause}: {result.why}"
        return f"{result.cause}: {result.why}"
    if result.state.resumed_hop > (story.state.resumed_hop if story.state else 0):
        story.result = None
    story.state = ended_at_once(result.state, message, limits, default_team)
    return ""


def _pending(story: _Story) -> list[tuple[Message, dict[str, Any]]]:
    """Decision and target of each call that has no answer yet."""
    hops = sorted(hop for hop in story.decisions if story.state is None or hop >= story.state.resumed_hop)
    if not hops or story.result is not None:
        return []
    decision = story.decisions[hops[-1]]
    detail = decision_detail(decision.data)
    here = {branch for hop, branch in story.answers if hop == decision.hop}
    targets = detail["targets"] if detail["outcome"] == "dispatch" else []
    return [(decision, target) for target in targets if text(target.get("branch")) not in here]


def _unanswered(story: _Story) -> list[Step]:
    steps = []
    if story.state is None or story.state.phase in (Phase.ROUTING, Phase.WAITING):
        for decision, target in _pending(story):
            agent = f"{target['agent']}@{target['version']}"
            detail = {"agent": target["agent"], "version": target["version"]}
            branch = text(target.get("branch"))
            steps.append(Step(Kind.WAITING, decision.hop, branch, decision.logged_ms, None, f"{agent} has not answered yet", detail))
    return steps


def _status(story: _Story, waiting: bool) -> Status:
    if story.result is not None and story.result.type in _BY_RESULT:
        return _BY_RESULT[story.result.type]
    if story.state is not None and story.state.phase in _BY_PHASE:
        return _BY_PHASE[story.state.phase]
    if waiting:
        return Status.CALLING
    if story.state is None and not story.decisions and story.refusal:
        return Status.REJECTED
    return Status.NEW if story.state is not None and not story.decisions and not story.answers else Status.ROUTING


def _summed_up(workflow: str, story: _Story, ordered: list[Entry]) -> WorkflowView:
    calling = [step for step in story.steps if step.kind is Kind.WAITING]
    status = _status(story, bool(calling))
    decided = [(hop, decision_detail(story.decisions[hop].data)) for hop in sorted(story.decisions)]
    usages = [answer.data.get("usage") for answer in story.answers.values()]
    used = [usage for usage in usages if isinstance(usage, dict)]
    document = _document(story)
    times = [entry.logged_ms for entry in ordered if not settles_letter(entry)]
    return WorkflowView(
        workflow,
        status,
        team=story.state.team if story.state else "",
        hop=max([hop for hop, _ in decided] + [hop for hop, _ in story.answers], default=0),
        agent=", ".join(str(step.detail["agent"]) for step in calling),
        path=_path(story),
        strategies=tuple((hop, detail["strategy"]) for hop, detail in decided),
        model_calls=sum(detail["calls"] for _, detail in decided),
        tokens=sum(tokens_in(detail["tokens"]) for _, detail in decided),
        agent_calls=sum(whole(usage.get("calls")) for usage in used),
        agent_tokens=sum(whole(usage.get("prompt_tokens")) + whole(usage.get("completion_tokens")) for usage in used),
        cost=sum(detail["cost"] for _, detail in decided) + sum(number(usage.get("cost")) for usage in used),
        started_ms=min(times, default=0),
        updated_ms=story.result.logged_ms if story.result else max(times, default=0),  # progress may be told after the end
        ended=status in ENDED,
        score=_score(document),
        reason=_reason(story, status),
        dead_letters=story.dead_letters,
        ignored=sum(1 for step in story.steps if step.ignored),
        document=document,
        steps=tuple(story.steps),
    )


def _path(story: _Story) -> tuple[str, ...]:
    if story.state is not None:
        return tuple(story.state.path)
    answers = [story.answers[place] for place in sorted(story.answers)]
    return tuple(text(answer.data.get("agent")) for answer in answers if answer.type == schemas.REPLIED)


def _document(story: _Story) -> dict[str, Any]:
    final = story.result.data.get("document") if story.result else None
    if isinstance(final, dict):
        return final
    return story.state.document if story.state else {}


def _score(document: dict[str, Any]) -> float | None:
    """The document's `score`, or `lead_score`, where it has one."""
    for name in ("score", "lead_score"):
        value = document.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _reason(story: _Story, status: Status) -> str:
    if status is Status.REJECTED:
        return story.refusal
    said = text(story.result.data.get("reason")) if story.result else ""
    return said or (story.state.reason if story.state else "")
