"""Submitting a job from the newest point that can be restored: a checkpoint that is damaged is passed over for the one before it.

Whether a point can be restored, Flink says: by refusing the submission, or by failing in the tasks' first seconds. Only a failure that
comes from the restore itself makes the next point be tried; a job that fails for another reason keeps its point.

A TaskManager whose first task with Python is interrupted while Python starts, by another task that failed, never runs Python again
(PEMJA keeps that first error), and every later task with Python fails in it. Only a new process helps.
"""

import re
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from loopwright.edges.platform.flink import TASK_MANAGER
from loopwright.edges.platform.flink_rest import FINAL, Failure
from loopwright.edges.platform.jobs import Job, Jobs
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError, PlatformFailed

Renew = Callable[[str, str], None]
MAGIC = bytes.fromhex("4960672d")  # the first four bytes of every _metadata file: org.apache.flink...Checkpoints.HEADER_MAGIC_NUMBER
_RESTORE = re.compile(
    r"Could not restore|Failed when trying to restore|BackendBuildingException|creating StreamOperatorStateContext"
    r"|restoreSavepoint|restoreLatestCheckpointedState|Failed to rollback to checkpoint/savepoint"
)
_INTERRUPTED = re.compile(r"InterruptedException\b.*\bPythonInterpreter\$MainInterpreter\.initialize\b", re.DOTALL)
DIED = "its process ended"
SPOILED = "its Python was interrupted while it started, and never starts again in this process"
PERSISTS_S = 3.0
EARLIER_POINTS = 2


class Unrestorable(PlatformFailed):
    """There are checkpoints, and none of them can be restored."""


def restore_failure(said: str) -> bool:
    """Whether a stack trace, or the words of a client, come from restoring a checkpoint or savepoint."""
    return _RESTORE.search(said) is not None


def unusable(failures: Iterable[Iterable[Failure]], processes: Processes) -> dict[str, str]:
    """The TaskManagers that need a new process, each with the reason: it died, or it can start no Python any more, see above."""
    names = [name for name in processes.names() if name.startswith(TASK_MANAGER)]
    interrupted = [one for one in chain.from_iterable(failures) if _INTERRUPTED.search(one.trace)]
    found = {}
    for name in names:
        running = processes.running(name)
        if running is None:
            found[name] = DIED
        elif any(one.task_manager == name and one.at_ms > running.created * 1000 for one in interrupted):
            found[name] = SPOILED
    return found


def damage(point: Path) -> str:
    """What is seen to be wrong with a checkpoint without restoring it; empty where nothing is."""
    try:
        with (point / "_metadata").open("rb") as file:
            return "" if file.read(len(MAGIC)) == MAGIC else "its _metadata file is damaged"
    except OSError as error:
        return f"its _metadata file cannot be read: {error.strerror}"


def resubmit(jobs: Jobs, job: Job, seconds: float, tell: Callable[[str], None], renew: Renew) -> tuple[str, Path | None]:
    """Submit the job from the newest point that can be restored, and return its id and the point when all its tasks run.

    `tell` is told of each attempt; `renew` replaces the process of a TaskManager that is `unusable`, for a reason. Afresh only where there
    is no point at all. Raises Unrestorable where there are points and none can be restored, and PlatformFailed where the job does not run
    for another reason.
    """
    jobs.retire(jobs.noted())
    points = jobs.resume_points()
    if not points:
        tell("afresh: there is no checkpoint")
        id_ = _attempt(jobs, job, None, seconds, renew)
        jobs.prune([])
        return id_, None
    refused = []
    for number, point in enumerate(points, 1):
        why = damage(point)
        if not why:
            tell(f"from {point.name}")
            try:
                id_ = _attempt(jobs, job, point, seconds, renew)
                jobs.prune(points[: number + EARLIER_POINTS])  # only now: a damaged one may have to be passed over for any of them
                return id_, point
            except _NotRestored as error:
                why = error.why
        refused.append(f"{point}: {why}")
        tell(f"{point} cannot be restored ({why}); the one before it is tried")
    remedy = "bring back the state folder's data/checkpoints from a backup, then `loopwright up`; `loopwright down --wipe` begins anew"
    raise Unrestorable("the job was not started: none of its checkpoints can be restored", "\n".join(refused), remedy)


class _NotRestored(LoopwrightError):
    """This point cannot be restored."""


def _attempt(jobs: Jobs, job: Job, point: Path | None, seconds: float, renew: Renew) -> str:
    try:
        id_ = jobs.submit(job, point.as_uri() if point else "", seconds)
    except PlatformFailed as error:
        if point is not None and restore_failure(jobs.client_said()):
            raise _NotRestored(error.what, _first_line(error.why)) from error
        raise
    if (trace := _refused(jobs, id_, seconds, renew)) and point is not None:
        jobs.retire(id_)
        raise _NotRestored("the job was not restored", _first_line(trace))
    jobs.wait_running(id_, seconds)
    return id_


def _refused(jobs: Jobs, id_: str, seconds: float, renew: Renew) -> str:
    """The cause, when the job does not run because its state cannot be restored; for a while, so that it is no passing trouble."""
    since = float("inf")

    def probe() -> str | bool:
        nonlocal since
        state = jobs.rest.states().get(id_)
        if state is None or state.running:
            return True
        failures = jobs.rest.failures(id_)
        for name, unusable_because in unusable(failures, jobs.processes).items():
            renew(name, unusable_because)
        traces = (one.trace for one in chain.from_iterable(failures))
        trace = next(filter(restore_failure, traces), "")  # it interrupts others, which fail after it
        if not trace:
            return state.name in FINAL
        since = min(since, time.monotonic())
        return trace if state.name in FINAL or time.monotonic() - since > PERSISTS_S else False

    said = wait_for(probe, seconds)
    return said if isinstance(said, str) else ""


def _first_line(said: str) -> str:
    return next((line.strip() for line in said.splitlines() if line.strip()), said)
