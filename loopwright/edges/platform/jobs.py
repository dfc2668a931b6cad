"""Jobs on the local cluster: submitted, stopped with a savepoint, and resumed from where they stopped.

`run/job.note` keeps what the next start has to know: the job's id, and the savepoint of a clean stop. After a stop that was not clean the
newest complete checkpoint on disk is taken.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.platform.flink_rest import FINAL, FlinkRest, JobInfo
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.waiting import failed, wait_for
from loopwright.errors import LoopwrightError, PlatformFailed

CLIENT = "client"
_CLIENT_MAIN = "org.apache.flink.client.cli.CliFrontend"
_SUBMITTED = re.compile(r"JobID ([0-9a-f]{32})")
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

    def submit(self, job: Job, from_savepoint: Path | None = None, seconds: float = 120) -> str:
        """Submit a job and return its id as soon as the JobManager has it. The client waits for a cluster that is still starting.

        Raises PlatformFailed with the client's last lines when it fails or takes longer than `seconds`.
        """
        out = self.layout.logs / f"{CLIENT}.out"
        out.unlink(missing_ok=True)
        args, environment = self.client(_CLIENT_MAIN, *_run_arguments(job, from_savepoint))
        self.processes.start(Command(CLIENT, args, environment | dict(job.environment), self.folder, out))
        ended = wait_for(lambda: self.processes.running(CLIENT) is None, seconds)
        code = self.processes.exit_code(CLIENT)
        self.processes.stop(CLIENT, 1)
        if ended is None:
            raise failed(f"{job.script.name} was not submitted", f"the client took longer than {seconds:.0f} s", out)
        said = out.read_text(errors="replace")
        found = _SUBMITTED.search(said)
        if code != 0 or found is None:
            raise PlatformFailed(f"{job.script.name} was not submitted", client_failure(said), f"read {out}")
        self._remember(found.group(1), None)
        return found.group(1)

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

    def current(self) -> JobInfo | None:
        """The job that was submitted last, if the cluster still knows it."""
        noted = self._noted().get("job")
        try:
            return self.rest.job(noted) if noted else None
        except LoopwrightError:
            return None

    def stop_with_savepoint(self, job: str, seconds: float = 60) -> Path:
        """Stop a job so that the next start resumes exactly there; returns the savepoint. Raises PlatformFailed."""
        path = self.rest.stop_with_savepoint(job, self.layout.savepoints, seconds)
        self._remember(job, path)
        return path

    def stop(self, seconds: float = 60) -> Path | None:
        """Stop the current job with a savepoint if it runs; cancel it when that fails (its checkpoints stay). Returns the savepoint."""
        info = self.current()
        if info is None or info.state in FINAL:
            return None
        if info.running:
            try:
                return self.stop_with_savepoint(info.id, seconds)
            except LoopwrightError:
                pass  # its newest checkpoint serves instead
        self._cancel(info.id)
        return None

    def resume_point(self) -> Path | None:
        """Where the next submission should resume: the savepoint of the last clean stop, else the newest complete checkpoint."""
        noted = self._noted().get("savepoint")
        savepoint = Path(noted) if noted else None
        return savepoint if savepoint is not None and _complete(savepoint) else self.latest_checkpoint()

    def latest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint or savepoint on disk; None where there is none."""
        found = [*self.layout.checkpoints.glob("*/chk-*/_metadata"), *self.layout.savepoints.glob("*/_metadata")]
        return max(found, key=lambda file: file.stat().st_mtime_ns).parent if found else None

    def prune(self, keep: Path | None) -> None:
        """Remove what earlier jobs left, but for the point that is resumed from. Only while no job runs."""
        for folder in (*self.layout.checkpoints.iterdir(), *self.layout.savepoints.iterdir()):
            if keep is None or (folder != keep and folder not in keep.parents):
                shutil.rmtree(folder, ignore_errors=True)

    def _cancel(self, job: str) -> None:
        try:
            self.rest.cancel(job, 20)
        except LoopwrightError:
            return

    @property
    def _note(self) -> Path:
        return self.layout.run / "job.note"

    def _noted(self) -> dict[str, str | None]:
        try:
            return dict(json.loads(self._note.read_text()))
        except (OSError, ValueError):
            return {}

    def _remember(self, job: str, savepoint: Path | None) -> None:
        fresh = self._note.with_suffix(".new")
        fresh.write_text(json.dumps({"job": job, "savepoint": str(savepoint) if savepoint else None}) + "\n")
        fresh.replace(self._note)


def _run_arguments(job: Job, from_savepoint: Path | None) -> list[str]:
    resume = ["-s", from_savepoint.as_uri()] if from_savepoint is not None else []
    files = ["-pyfs", ",".join(map(str, job.python_files))] if job.python_files else []
    return ["run", "-d", *resume, *files, "-py", str(job.script), *job.arguments]


def client_failure(said: str, lines: int = 20) -> str:
    """What a client that failed had to say, without the Java frames: its last lines."""
    kept = [line for line in said.replace("\0", "").splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(kept[-lines:]) or "the client ended without a word"


def _complete(point: Path) -> bool:
    return (point / "_metadata").is_file()
