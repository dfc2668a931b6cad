"""What held: the report of a run. Pure; see `show` for how it looks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loopwright import schemas
from loopwright.history.invariants import Report
from loopwright.testing.chaos.effects import Effects
from loopwright.testing.chaos.load import Tally
from loopwright.testing.chaos.recovery import Killed, Spread, by_part, recovery_s

ENDS = {schemas.WORKFLOW_COMPLETED: "completed", schemas.WORKFLOW_FAILED: "failed", schemas.CANCELLED: "cancelled"}
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, whether it does, and what shows it."""

    name: str
    holds: bool
    said: str


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """A whole run. `workflows` counts them by how they stand at the end, `lost` names those without an end or a reason to wait."""

    seed: int
    seconds: float
    kills: tuple[Killed, ...]
    skipped: int
    workflows: dict[str, int]
    lost: tuple[str, ...]
    effects: Effects
    verified: Report
    recovery: dict[str, Spread | None]
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether everything does."""
        return all(check.holds for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON shows it."""
        plain = {name: getattr(self, name) for name in ("seed", "seconds", "skipped", "workflows")}
        return {
            "holds": self.holds,
            **plain,
            "lost": list(self.lost[:SHOWN]),
            "kills": [asdict(kill) for kill in self.kills],
            "recovery_s": {part: asdict(found) if found else None for part, found in self.recovery.items()},
            "effects": asdict(self.effects),
            "verify": self.verified.as_dict(),
            "checks": [asdict(check) for check in self.checks],
        }


def standing(tally: Tally) -> dict[str, int]:
    """Workflows by how they stand: started, and of these completed, failed, cancelled, parked and lost."""
    counts = Counter(ENDS.get(end.type, end.type) for end in tally.ends.values())
    parked = len(tally.parked - tally.ends.keys())
    found = {name: counts.get(name, 0) for name in ENDS.values()}
    return {"started": len(tally.sent), **found, "parked": parked, "lost": len(tally.left())}


def report_of(
    seed: int, seconds: float, kills: Sequence[Killed], skipped: int, tally: Tally, effects: Effects, verified: Report
) -> ChaosReport:
    """The report on what was seen."""
    results = tally.told()
    lost, counts = tuple(tally.left()), standing(tally)
    silent = sum(recovery_s(kill, results) is None for kill in kills)
    known, unended = verified.counts["workflows"], verified.counts["open"]
    checks = (
        Check("nothing is lost", not lost, f"{len(lost)} of {len(tally.sent)} workflows have no end and no reason to wait"),
        Check("nothing is made up", known == len(tally.sent), f"the log tells of {known} workflows, {len(tally.sent)} were started"),
        Check("nothing is left open", not unended, f"{unended} are open by the log"),
        Check("nothing is done twice", not effects.wrong, "; ".join(effects.wrong[:3]) or f"{effects.mails} mails, each once"),
        Check("the log accounts for everything", verified.holds, _found(verified)),
        Check("every kill was got over", not silent, f"{silent} of {len(kills)} kills were followed by no new result"),
    )
    return ChaosReport(seed, seconds, tuple(kills), skipped, counts, lost, effects, verified, by_part(kills, results), checks)


def _found(verified: Report) -> str:
    said = [f"{finding.workflow}: {finding.what}" for finding in verified.findings[:3]]
    return "; ".join(said) or f"{verified.counts['duplicates_fenced']} duplicates changed nothing"
