"""What can be found broken in the logs, where, and from when on that is sure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from loopwright.history.reading import Position


class Invariant(StrEnum):
    """What was broken."""

    OVERDUE = "overdue"
    SECOND_DECISION = "second-decision-acted-on"
    NO_DECISION = "effect-without-decision"
    DIFFERENT_OUTPUTS = "different-outputs"
    DIFFERENT_RESULTS = "different-results"
    NOT_OF_THE_FOLD = "result-not-of-the-fold"
    NO_RESULT = "end-without-result"
    NO_START = "result-without-start"
    SET_BACK_OTHERWISE = "set-back-otherwise"
    EFFECT_TWICE = "effect-twice"
    OTHER_ANSWER = "answer-not-of-the-store"
    NO_EXECUTION = "reply-without-execution"


@dataclass(frozen=True, slots=True)
class Clock:
    """When the logs were read, and what is too fresh to judge. In ms.

    `skew_ms`: topics are not read at one instant, so what younger records rest on may not have been seen. `patience_ms`: how long the job
    may take over a deadline or a result, a restart included.
    """

    now_ms: int
    skew_ms: int = 0
    patience_ms: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that a workflow breaks, and the records that show it. It holds from `sure_ms` on; before, more may be to come."""

    workflow: str
    invariant: Invariant
    what: str
    at: tuple[Position, ...]
    sure_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON shows it; positions as topic-partition-offset."""
        return {
            "workflow": self.workflow,
            "invariant": self.invariant.value,
            "what": self.what,
            "records": [position.name for position in self.at],
        }
