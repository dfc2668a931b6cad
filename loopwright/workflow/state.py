"""The state of one workflow, its schema version, and its migration."""

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from loopwright.alterable import Alterable
from loopwright.workflow.transitions import Phase

STATE_VERSION = 1


class Visit(NamedTuple):
    """An agent that has replied: its name and version, and the fingerprint of the input it was given."""

    agent: str
    version: int
    input_hash: str


@dataclass(frozen=True, slots=True)
class Spend:
    """What a workflow has used up: model calls, tokens (prompt and completion), cost in the unit of the price settings."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def plus(self, calls: int, tokens: int, cost: float) -> "Spend":
        """The sum."""
        return Spend(self.calls + calls, self.tokens + tokens, self.cost + cost)


@dataclass(frozen=True)
class WorkflowState(Alterable):
    """Everything that the log has said of one workflow. Times are milliseconds since the epoch.

    `hop` counts decisions: the one being made or acted on. `pins` are the agent versions the workflow began with. `failed` are agents that
    gave up on it. `ending` is set when a reply asked for the end; `reason` says why it is parked or ended. `keys` are the Idempotency-Keys
    of the calls that were answered, by `loopwright.workflow.calls.call_name`. `resumed_hop` is the hop from which it runs since it was set
    back to an earlier one; 0: it never was. `actions` are those that its agents may take, where its start says so (None: all).
    """

    workflow: str
    team: str
    phase: Phase = Phase.NONE
    hop: int = 1
    document: dict[str, Any] = field(default_factory=dict)
    visits: tuple[Visit, ...] = ()
    pins: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    spend: Spend = Spend()
    budget: dict[str, float] = field(default_factory=dict)
    hop_limit: int = 20
    started_ms: int = 0
    deadline_ms: int = 0
    ended_ms: int = 0
    start_hash: str = ""
    cause: str = ""
    traceparent: str = ""
    tenant: str = ""
    ending: str = ""
    reason: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    resumed_hop: int = 0
    actions: tuple[str, ...] | None = None

    @property
    def path(self) -> list[str]:
        """The agents that have replied, in order."""
        return [visit.agent for visit in self.visits]


_NAMES = frozenset(f.name for f in fields(WorkflowState))
_NEW = WorkflowState("", "")
_PHASES = {phase.value: phase for phase in Phase}  # Phase(value) takes ten times as long


def to_json(state: WorkflowState) -> dict[str, Any]:
    """The state as plain JSON values, with its version."""
    return {
        "v": STATE_VERSION,
        **state.__dict__,  # in the order of the fields
        "visits": [[*visit] for visit in state.visits],
        "spend": {"calls": state.spend.calls, "tokens": state.spend.tokens, "cost": state.spend.cost},
    }


_REMEMBERED = ("workflow", "team", "phase", "hop", "started_ms", "deadline_ms", "ended_ms", "start_hash")


def remembered(state: WorkflowState) -> dict[str, Any]:
    """What is kept of a workflow that has ended, as plain JSON values: all that the fold looks at when something comes late, comes again,
    or sets it back. The rest stands in the log."""
    return {"v": STATE_VERSION, **{name: getattr(state, name) for name in _REMEMBERED}}


def from_json(body: dict[str, Any]) -> WorkflowState:
    """The state in `body`, of this version or an older one. A field that an older version lacks gets its default."""
    values = {name: value for name, value in body.items() if name in _NAMES}
    values["phase"] = _PHASES[body["phase"]]
    values["visits"] = tuple([Visit(*visit) for visit in body.get("visits", ())])
    values["spend"] = Spend(**body.get("spend", {}))
    values["actions"] = None if body.get("actions") is None else tuple(body["actions"])
    return _NEW.altered(**values)
