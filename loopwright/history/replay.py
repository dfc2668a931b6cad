"""One workflow made again from its log: the router's fold over its messages, and the decisions that the dispatcher may act on.

Both follow from the logs alone, so they say what the job must have done. Pure.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from loopwright import schemas
from loopwright.history.reading import Entry
from loopwright.message import Message
from loopwright.routing.request import RouteRequest
from loopwright.routing.steps import end
from loopwright.settings import Limits
from loopwright.workflow.fold import Applied, Contradiction, Ignored, fold
from loopwright.workflow.state import WorkflowState
from loopwright.workflow.transitions import ENDED, Phase

ANSWERS = frozenset({schemas.REPLIED, schemas.FAILED, schemas.SETTLED})


@dataclass(slots=True)
class Life:
    """One run of a workflow, its records in log order.

    There is more than one where it was started again under its id after it had been forgotten, or was set back to an earlier hop; then
    `first_hop` is the hop from which it goes on, `earlier` holds the states before the earlier hops, and the run before is `set_back`.
    `state` is what the fold gives (None: no start), `first` its first one, `before` that before each hop's decision; `moved_by` is the
    record that gave it its state, `repeated` counts the starts that were ignored as duplicates. `answers` are replies, failures and settled
    decisions; one that was refused (a dead letter) is none.
    """

    workflow: str
    state: WorkflowState | None = None
    started: Entry | None = None
    moved_by: Entry | None = None
    answers: list[tuple[Entry, Message]] = field(default_factory=list)
    decisions: list[tuple[Entry, Message]] = field(default_factory=list)
    results: list[tuple[Entry, Message]] = field(default_factory=list)
    repeated: int = 0
    first: WorkflowState | None = None
    before: dict[int, WorkflowState] = field(default_factory=dict)
    first_hop: int = 0
    earlier: dict[int, WorkflowState] = field(default_factory=dict)
    set_back: bool = False

    @property
    def began_ms(self) -> int:
        """When its start was logged, in ms since the epoch; 0 where it has none."""
        return self.started.logged_ms if self.started else 0

    @property
    def moved_by_type(self) -> str:
        """The type of the record that gave it its present state; empty where there is none."""
        return self.moved_by.message.type if self.moved_by and self.moved_by.message else ""

    def taken_up(self) -> dict[int, tuple[Entry, Message]]:
        """By hop, the decision that the dispatcher takes up: the first in the log, as long as none for a later hop came before it."""
        taken: dict[int, tuple[Entry, Message]] = {}
        reached = 0
        for entry, decided in self.decisions:
            empty = decided.data["outcome"] == "dispatch" and not decided.data["targets"]
            if decided.hop > reached and not empty:
                taken[decided.hop], reached = (entry, decided), decided.hop
        return taken


def lives_of(
    workflow: str,
    messages: Iterable[Entry],
    decisions: Iterable[tuple[Entry, Message]],
    results: Iterable[tuple[Entry, Message]],
    limits: Limits,
    team: str,
) -> list[Life]:
    """The runs of one workflow, oldest first. What is given is in log order."""
    lives = [Life(workflow)]
    for entry in messages:
        if entry.message is None:
            continue
        if _forgotten(lives[-1].state, entry.message, limits):
            lives.append(Life(workflow))
        _take(lives, entry, entry.message, limits, team)
    belongs = _Belonging(lives)
    for entry, decided in decisions:
        if decided.type == schemas.DECIDED:
            belongs.to(entry, decided).decisions.append((entry, decided))
    for entry, result in results:
        belongs.to(entry, result).results.append((entry, result))
    return _without_repeats(lives)


class _Belonging:
    """Which run a decision or a result belongs to: by time where it was started again, by hop where it was set back."""

    def __init__(self, lives: list[Life]) -> None:
        self._groups: list[list[Life]] = []
        for life in lives:
            if life.first_hop and self._groups:
                self._groups[-1].append(life)
            else:
                self._groups.append([life])
        self._begins = [group[0].began_ms for group in self._groups[1:]]

    def to(self, entry: Entry, message: Message) -> Life:
        """The run that `message` belongs to."""
        group = self._groups[bisect_right(self._begins, entry.logged_ms)]
        return next((life for life in reversed(group) if life.first_hop <= message.hop), group[0])


def _without_repeats(lives: list[Life]) -> list[Life]:
    """Without the runs that are none: the job remembers for longer than it must, and may have ignored the same start once more."""
    kept = lives[:1]
    for life in lives[1:]:
        before, is_bare = kept[-1], not (life.first_hop or life.decisions or life.answers or life.results)
        same = before.first is not None and life.first is not None and before.first.start_hash == life.first.start_hash
        if is_bare and same and life.moved_by is life.started:
            before.repeated += 1 + life.repeated
        else:
            kept.append(life)
    return kept


def _forgotten(state: WorkflowState | None, message: Message, limits: Limits) -> bool:
    """Whether `message` starts a workflow that ended so long ago that the router remembers nothing of it."""
    if state is None or state.phase not in ENDED or message.type != schemas.STARTED:
        return False
    return message.logged_ms >= state.ended_ms + limits.deduplication_ms


def _take(lives: list[Life], entry: Entry, message: Message, limits: Limits, team: str) -> None:
    life = lives[-1]
    folded = fold(life.state, message, limits, team)
    if message.type in ANSWERS and not isinstance(folded, Contradiction):
        answered = next(run for run in reversed(lives) if run.first_hop <= message.hop or not run.first_hop)
        answered.answers.append((entry, message))
    if isinstance(folded, Applied):
        if message.type == schemas.RESUMED and folded.state.hop == folded.state.resumed_hop:
            life.set_back = True
            life = Life(life.workflow, first_hop=folded.state.hop, earlier=life.earlier | life.before)
            lives.append(life)
        life.state, life.moved_by = ended_at_once(folded.state, message, limits, team), entry
        life.started, life.first = life.started or entry, life.first or folded.state
        if folded.state.phase is Phase.ROUTING:
            life.before[folded.state.hop] = folded.state
    elif isinstance(folded, Ignored) and folded.count == "duplicate_start":
        life.repeated += 1


def ended_at_once(state: WorkflowState, message: Message, limits: Limits, team: str) -> WorkflowState:
    """The state after the decision of strategy `end`, where one is due: it follows from the log, and the router applies it at once."""
    decision = end(RouteRequest(state, {}, limits=limits)) if state.phase is Phase.ROUTING else None
    if decision is None:
        return state
    data = {"outcome": decision.outcome, "reason": decision.reason}
    settled = replace(message, type=schemas.SETTLED, hop=state.hop, branch="", data=data)
    folded = fold(state, settled, limits, team)
    return folded.state if isinstance(folded, Applied) else state
