"""Jobs on the local cluster: submitted, stopped with a savepoint, and resumed from where they stopped.

`run/job.note` keeps the id of the job, which is chosen here, before it is submitted: so a job that runs is always found again.
"""

import re
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

from loopwright.edges.platform.flink_rest import FINAL, FlinkRest, JobInfo
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.waiting import failed, wait_for
from loopwright.errors import LoopwrightError, NotFound, PlatformFailed

CLIENT = "client"
_CANCEL_S = 20.0
CLIENT_MAIN = "org.apache.flink.client.cli.CliFrontend"
_ABORTED = "org.apache.flink.client.program.ProgramAbortException"
_NOISE = re.compile(r"^(\s+at |WARNING: |SLF4J|\s*\.\.\. \d+ more|-{20,}$)")


@dataclass(frozen=True, slots=True)
class Job:
    """A job to run: the script, its arguments, files for `-pyfs`, and variables for the submitting process."""

    script: Path
    arguments: Sequence[str] = ()
    python_files: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Jobs:
    """The jobs of the cluster at `rest`. `client` makes command line and environment of a client JVM from main class and arguments."""

    layout: Layout
    rest: FlinkRest
    processes: Processes
    client: Callable[..., tuple[list[str], dict[str, str]]]
    folder: Path

    def submit(self, job: Job, from_point: str = "", seconds: float = 120) -> str:
        """Submit a job and return its id as soon as the JobManager has it. The client waits for a cluster that is still starting.

        `from_point` is the URI of a savepoint or checkpoint, as the cluster's machines know it; empty: afresh.

        Raises PlatformFailed with the client's last lines when it fails or takes longer than `seconds`.
        """
        out = self._client_out
        out.unlink(missing_ok=True)
        id_, before = uuid.uuid4().hex, self.noted()
        self.remember(id_)  # before: a command that is killed while it submits leaves no job that nobody knows
        args, environment = self.client(CLIENT_MAIN, *_run_arguments(job, id_, from_point))
        self.processes.start(Command(CLIENT, args, environment | dict(job.environment), self.folder, out))
        ended = wait_for(lambda: self.processes.running(CLIENT) is None, seconds)
        code = self.processes.exit_code(CLIENT)
        self.processes.stop(CLIENT, 1)
        if code != 0:
            self.remember(before)
        if ended is None:
            raise failed(f"{job.script.name} was not submitted", f"the client took longer than {seconds:.0f} s", out)
        if code != 0:
            raise PlatformFailed(f"{job.script.name} was not submitted", client_failure(self.client_said()), f"read {out}")
        self.retire(before)  # one whose submission was cut short, and which came about after all
        return id_

    def wait_running(self, job: str, seconds: float) -> JobInfo:
        """Return when every task of the job runs; raise PlatformFailed with the cause when it ends or does not get there in time."""
        info: JobInfo | None = None

        def probe() -> JobInfo | None:
            nonlocal info
            info = self.rest.job(job)
            return info if info.running or info.state in FINAL else None

        done = wait_for(probe, seconds)
        if done is not None and done.running:
            return done
        state = f"it is {info.state}, {info.tasks_running} of {info.tasks} tasks run" if info else "its state is unknown"
        why = f"{state}\n{info.exception}" if info and info.exception else state
        log = self.layout.log("taskmanager-1")
        raise PlatformFailed("the job does not run", why, f"read {log} and {self.layout.log('jobmanager')}")

    def current(self, seconds: float = 15) -> JobInfo | None:
        """The job that was submitted last; None where the cluster does not know it.

        Not to know is not to be sure: a cluster that gives no clear answer is asked again for `seconds`, and then its error is raised.
        """
        noted, last = self.noted(), LoopwrightError("Flink gave no answer")

        def attempt() -> list[JobInfo | None] | None:
            nonlocal last
            try:
                return [self.rest.job(noted)]
            except NotFound:
                return [None]
            except LoopwrightError as error:
                last = error
                return None

        found = wait_for(attempt, seconds) if noted else [None]
        if found is None:
            raise last
        return found[0]

    def running(self) -> bool:
        """Whether every task of the current job runs."""
        info = self.current()
        return info is not None and info.running

    def stop_with_savepoint(self, job: str, seconds: float = 60) -> Path:
        """Stop a job so that the next start resumes exactly there; returns the savepoint. Raises PlatformFailed."""
        return Path(unquote(urlparse(self.rest.stop_with_savepoint(job, self.layout.savepoints.as_uri(), seconds)).path))

    def stop(self, seconds: float = 60) -> Path | None:
        """Stop the current job with a savepoint if it runs; cancel it when that fails (its checkpoints stay). Returns the savepoint."""
        try:
            info = self.current()
        except LoopwrightError:
            return None  # it is stopped with its cluster, and resumes from its newest checkpoint
        if info is None or info.state in FINAL:
            return None
        if info.running:
            try:
                return self.stop_with_savepoint(info.id, seconds)
            except LoopwrightError:
                pass  # its newest checkpoint serves instead
        self.retire(info.id)
        return None

    def resume_point(self) -> Path | None:
        """Where the next submission should resume: the newest of `resume_points`; None where there is none."""
        return next(iter(self.resume_points()), None)

    def resume_points(self) -> list[Path]:
        """Complete savepoints and checkpoints on disk, newest first. After a clean stop the first is its savepoint."""
        found = [*self.layout.checkpoints.glob("*/chk-*/_metadata"), *self.layout.savepoints.glob("*/_metadata")]
        return [file.parent for file in sorted(found, key=_written_ns, reverse=True)]

    def prune(self, kept: Sequence[Path]) -> None:
        """Remove what earlier jobs left, but for the points `kept` and what lies beside them, and for the present job's folder."""
        for folder in (*self.layout.checkpoints.glob("*"), *self.layout.savepoints.glob("*")):
            if folder.name != self.noted() and not any(folder == point or folder in point.parents for point in kept):
                shutil.rmtree(folder, ignore_errors=True)

    def retire(self, id_: str) -> None:
        """Cancel a job if it has not ended. A cluster that does not answer has none."""
        try:
            state = self.rest.states().get(id_)
            if state is not None and state.name not in FINAL:
                self.rest.cancel(id_, _CANCEL_S)
        except LoopwrightError:
            return

    def client_said(self) -> str:
        """All that the client of the last submission said."""
        try:
            return self._client_out.read_text(errors="replace")
        except OSError:
            return ""

    @property
    def _client_out(self) -> Path:
        return self.layout.logs / f"{CLIENT}.out"

    @property
    def _note(self) -> Path:
        return self.layout.run / "job.note"

    def noted(self) -> str:
        """The id of the job that was submitted last; empty where there is none."""
        return self._note.read_text().strip() if self._note.is_file() else ""

    def remember(self, job: str) -> None:
        """Note the id of the job that was submitted last; an empty one for none."""
        self._note.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._note.with_suffix(".new")
        fresh.write_text(job + "\n")
        fresh.replace(self._note)


def _written_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0  # removed meanwhile


def _run_arguments(job: Job, id_: str, from_point: str) -> list[str]:
    resume = ["-s", from_point] if from_point else []
    files = ["-pyfs", ",".join(map(str, job.python_files))] if job.python_files else []
    return ["run", "-d", f"-D$internal.pipeline.job-id={id_}", *resume, *files, "-py", str(job.script), *job.arguments]


def client_failure(said: str, lines: int = 12) -> str:
    """What a client that failed had to say: the innermost Java cause where there is one, else its last lines (a Python traceback)."""
    for part in said.replace("\0", "").split(_ABORTED):  # Python's own words come before; where it never began, Java's come after
        kept = [line for line in part.splitlines() if line.strip() and not _NOISE.match(line)]
        causes = [number for number, line in enumerate(kept) if line.startswith("Caused by:")]
        if kept:
            return "\n".join(kept[causes[-1] :] if causes else kept[-lines:])
    return "the client ended without a word"
