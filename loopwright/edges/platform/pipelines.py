"""A job of one's own that a script of SQL becomes: found again by its name, stopped, and gone on from where it stopped.

The SQL client submits it and ends; it runs on in the cluster. Its checkpoints lie apart from those of the platform's job, which would take
any newer one for its own. A session cluster forgets its jobs when its JobManager ends: the script is run again then, and goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loopwright.edges.platform.flink_rest import FINAL, JobInfo
from loopwright.edges.platform.jobs import Jobs
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import Conflict, NotFound, PlatformFailed

RUNS_S = 90.0
NO_END = str(2**31 - 1)
STATEMENTS = "statements"


@dataclass(frozen=True)
class Pipeline:
    """The job `name`; `jobs` are its own, at a layout of its own."""

    name: str
    jobs: Jobs

    @classmethod
    def of(cls, name: str, jobs: Jobs) -> "Pipeline":
        """The pipeline `name` of the platform whose jobs these are."""
        return cls(name, replace(jobs, layout=jobs.layout.pipeline(name)))

    def running(self) -> JobInfo | None:
        """Its job, where one runs or is about to."""
        info = self.jobs.current()
        return info if info is not None and info.state not in FINAL else None

    def refuse_second(self) -> None:
        """Raises Conflict where it runs already: it would do everything twice."""
        info = self.running()
        if info is not None:
            why = f"its job {info.id} is {info.state.lower()}"
            raise Conflict(f"{self.name} runs already", why, "stop it first: the same command with --stop")

    def options(self, fresh: bool = False) -> dict[str, str]:
        """The session's options for it: it goes on from its newest savepoint or checkpoint, unless it is to begin afresh."""
        point = None if fresh else self.jobs.resume_point()
        return {
            **_places(self.jobs.layout),
            "pipeline.name": self.name,
            # what it writes to may be away for a night, and it goes on then
            "restart-strategy.exponential-delay.initial-backoff": "1 s",
            "restart-strategy.exponential-delay.max-backoff": "1 min",
            "restart-strategy.exponential-delay.attempts-before-reset-backoff": NO_END,
            **({"execution.state-recovery.path": point.as_uri()} if point else {}),
        }

    def begun(self, submitted: Sequence[str], seconds: float = RUNS_S) -> str:
        """The id of its job, once all of it runs. Raises PlatformFailed where it does not, with the reason; nothing of it runs then.

        A job that has just been submitted has no reason to fail: what it fails over first is told, and it is not left to try for ever.
        """
        if len(submitted) != 1:
            for id_ in submitted:
                self.jobs.retire(id_)
            remedy = "write one INSERT, or all of them within EXECUTE STATEMENT SET BEGIN ... END;"
            raise PlatformFailed(f"{self.name} is no pipeline", f"its statements became {len(submitted)} jobs", remedy)
        id_, before, points = submitted[0], self.jobs.noted(), self.jobs.resume_points()
        self.jobs.remember(id_)

        def settled() -> JobInfo | None:
            info = self.jobs.rest.job(id_)
            return info if info.running or info.exception or info.state in FINAL else None

        info = wait_for(settled, seconds)
        if info is not None and info.running:
            self.jobs.prune(points[:1])
            return id_
        self.jobs.retire(id_)
        self.jobs.remember(before)
        why = (info.exception or f"it is {info.state.lower()}") if info else f"not all of it runs after {seconds:.0f} s"
        remedy = "mend the cause, then run it again; after a change of the script what it kept may not fit: then add --fresh"
        raise PlatformFailed(f"{self.name} does not run", why, remedy)

    def stop(self) -> Path | None:
        """Stop it, with a savepoint where all of it runs; that is returned. Raises NotFound where none runs."""
        if self.running() is None:
            raise NotFound(f"{self.name} does not run", "the cluster knows no job of it", "run its script to start it")
        return self.jobs.stop()


def _places(layout: Layout) -> dict[str, str]:
    return {
        "execution.checkpointing.dir": layout.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": layout.savepoints.as_uri(),
    }


def passing(layout: Layout) -> dict[str, str]:
    """The session's options for whatever else is run: its checkpoints end with it."""
    kept = "execution.checkpointing.externalized-checkpoint-retention"
    return {**_places(layout.pipeline(STATEMENTS)), kept: "DELETE_ON_CANCELLATION"}
