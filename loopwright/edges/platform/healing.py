"""What the supervisor does about what it sees. Pure: what is seen and what is remembered in, what to do and what to remember out.

The rules. A part that died is started again at once, and later and later when it dies young again and again. A dead JobManager takes its
TaskManagers with it: they are started anew with the new one, and the job is submitted anew. A job that failed or that the JobManager does
not know is submitted anew, a bounded number of times in a row. A job that a person ended stays ended; a part that lives is left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from loopwright.edges.platform.flink import JOB_MANAGER, TASK_MANAGER

YOUNG_S = 10.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
JOB_TRIES = 10
LONG_AGO, NEVER = float("-inf"), float("inf")

JobSeen = Literal["none", "unclear", "busy", "starting", "well", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a submission ended; `final`: there is no point in another one."""

    ok: bool
    why: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One look, at `now` seconds: the parts whose process is dead, each with what is known of it, and the job.

    The job is `busy` while a submission is under way, `well` when all its tasks run, `starting` when Flink is at it, `lost` when it failed
    or the JobManager does not know it, `ended` when somebody ended it, `unclear` when the JobManager does not answer, `none` when there is
    none to run. `outcome` is how a submission ended since the look before.
    """

    now: float
    dead: Mapping[str, str]
    job: JobSeen = "none"
    job_why: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a part or the job: how often it was started again, the last reason, how many times in a row it failed,
    when it was started last or has been well since, and when it is due."""

    restarts: int = 0
    why: str = ""
    in_a_row: int = 0
    since: float = LONG_AGO
    due: float | None = None
    given_up: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered from one look to the next."""

    parts: Mapping[str, Record] = field(default_factory=dict)
    job: Record = field(default_factory=lambda: Record(since=NEVER))


@dataclass(frozen=True, slots=True)
class Start:
    """End what is left of this part, and start it."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Submit the job from its newest usable checkpoint."""

    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Say that the job is left alone from now on."""

    why: str


Action = Start | Submit | GiveUp


def delay_s(in_a_row: int) -> float:
    """Seconds before the next start of what failed `in_a_row` times young: 0, 0.5, 1, 2, 4, ... 30."""
    return 0.0 if in_a_row == 0 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(in_a_row - 1, 10))


def decide(names: Sequence[str], seen: Seen, memory: Memory) -> tuple[list[Action], Memory]:
    """What to do now about the parts `names` and the job, and what to remember."""
    parts = {name: _part(memory.parts.get(name, Record()), seen, seen.dead.get(name)) for name in names}
    due = [name for name in names if _is_due(parts[name], seen.now)]
    new_manager = JOB_MANAGER in due
    if new_manager:
        due = [name for name in names if name in due or name.startswith(TASK_MANAGER)]
    elif JOB_MANAGER in seen.dead:
        due = [name for name in due if not name.startswith(TASK_MANAGER)]
    actions: list[Action] = []
    for name in due:
        why = seen.dead.get(name, "its JobManager is a new one")
        actions.append(Start(name, why))
        parts[name] = replace(parts[name], restarts=parts[name].restarts + 1, why=why, since=seen.now, due=None)
    todo, job = _job(memory.job, seen, new_manager)
    return actions + todo, Memory(parts, job)


def _part(record: Record, seen: Seen, why: str | None) -> Record:
    """The record with the time at which a dead part is due."""
    if why is None:
        return replace(record, due=None)
    if record.due is not None:
        return record
    in_a_row = record.in_a_row + 1 if seen.now - record.since < YOUNG_S else 0
    return replace(record, in_a_row=in_a_row, due=seen.now + delay_s(in_a_row))


def _is_due(record: Record, now: float) -> bool:
    return record.due is not None and now >= record.due


def _job(record: Record, seen: Seen, new_manager: bool) -> tuple[list[Action], Record]:
    if seen.job == "none":
        return [], record
    before, record = record, _learned(record, seen)
    if record.given_up:
        return [] if before.given_up else [GiveUp(record.given_up)], record
    lost = seen.job == "lost" or (new_manager and seen.job != "busy")
    if record.ended or not lost:
        return [], record
    why = "its JobManager is a new one" if new_manager else seen.job_why
    if record.in_a_row >= JOB_TRIES:
        said = f"it was submitted {JOB_TRIES} times in a row and never ran for {YOUNG_S:.0f} s; last: {record.why}"
        return [GiveUp(said)], replace(record, given_up=said)
    if not new_manager and record.due is not None and seen.now < record.due:
        return [], record
    in_a_row = record.in_a_row if new_manager else record.in_a_row + 1
    due = seen.now + delay_s(in_a_row)
    return [Submit(why)], replace(record, restarts=record.restarts + 1, why=why, in_a_row=in_a_row, due=due)


def _learned(record: Record, seen: Seen) -> Record:
    """The record after what this look says of the job and of the last submission."""
    if seen.outcome is not None and not seen.outcome.ok:
        given_up = seen.outcome.why if seen.outcome.final else ""
        record = replace(record, why=seen.outcome.why, given_up=given_up, due=seen.now + delay_s(record.in_a_row))
    if seen.job == "well":
        since = min(record.since, seen.now)
        settled = seen.now - since >= YOUNG_S
        in_a_row, due = (0, None) if settled else (record.in_a_row, record.due)
        return replace(record, since=since, in_a_row=in_a_row, due=due, given_up="", ended=False)
    ended = seen.job == "ended" or (record.ended and seen.job != "starting")
    return replace(record, since=NEVER, ended=ended)
