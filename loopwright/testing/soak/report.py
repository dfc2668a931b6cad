"""What a soak showed. Pure; how it looks is in `show`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loopwright.history.invariants import Report
from loopwright.testing.chaos.effects import Effects
from loopwright.testing.chaos.load import Tally
from loopwright.testing.chaos.report import Check, standing
from loopwright.testing.soak.course import Course
from loopwright.testing.soak.trend import Bound, Trend, trend

BOUNDS = (
    Bound("resident", "MiB", 3.0),  # a minute, in which the job is restarted once
    Bound("threads", "", 0.5),
    Bound("heap", "MiB", 2.0),
    Bound("metaspace", "MiB", 1.0),
)
WARM_UP = 0.4


@dataclass(frozen=True, slots=True)
class SoakReport:
    """A whole soak. `trends` are those after the warm-up."""

    minutes: float
    done: dict[str, Any]
    workflows: dict[str, int]
    effects: Effects
    verified: Report
    trends: tuple[Trend, ...]
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether everything does."""
        return all(check.holds for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON shows it."""
        return {
            "holds": self.holds,
            "minutes": self.minutes,
            "done": self.done,
            "workflows": self.workflows,
            "effects": asdict(self.effects),
            "verify": self.verified.as_dict(),
            "trends": [asdict(found) for found in self.trends],
            "checks": [asdict(check) for check in self.checks],
        }


def report_of(minutes: float, course: Course, crashed: Sequence[str], tally: Tally, effects: Effects, verified: Report) -> SoakReport:
    """The report on what was done and seen."""
    trends = tuple(_trend(bound, course, minutes * 60 * WARM_UP) for bound in BOUNDS)
    lost = tally.left()
    checks = (
        *(Check(f"{found.bound.figure} stays flat", found.flat, _said(found)) for found in trends),
        Check(
            "no JVM crashed", not crashed and not course.died, ", ".join(crashed) or ("the TaskManager died" if course.died else "none did")
        ),
        Check("the job was restarted", course.restarts > 0, f"{course.restarts} times"),
        Check("nothing is lost", not lost, f"{len(lost)} of {len(tally.sent)} workflows have no end and no reason to wait"),
        Check("nothing is done twice", not effects.wrong, "; ".join(effects.wrong[:3]) or f"{effects.mails} mails, each once"),
        Check("the log accounts for everything", verified.holds, f"{len(verified.findings)} findings"),
    )
    done = {"collections": course.collections, "dumps": course.dumps, "restarts": course.restarts, "restarted_s": course.restarted_s}
    return SoakReport(minutes, done, standing(tally), effects, verified, trends, checks)


def _trend(bound: Bound, course: Course, warm_up_s: float) -> Trend:
    points = [(one.at_s, one.figures[bound.figure]) for one in course.samples if bound.figure in one.figures]
    return trend(bound, points, warm_up_s)


def _said(found: Trend) -> str:
    unit = f" {found.bound.unit}".rstrip()
    went = f"{found.first:.0f} to {found.last:.0f}{unit} after the warm-up, at most {found.most:.0f}"
    return f"{went}; {found.per_minute:+.2f}{unit} a minute, {found.bound.per_minute:g} at most"
