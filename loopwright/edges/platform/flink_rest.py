"""Flink's REST API, as much of it as the platform needs."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import requests

from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError, NotFound, PlatformFailed, Unreachable

FINAL = ("FAILED", "CANCELED", "FINISHED", "SUSPENDED")
_TIMEOUT_S = 10.0
_FIRST_LINES = 6
_ENDING_S = 20.0


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as Flink sees it. `tasks_running` of `tasks` run; `checkpoint` is the last completed one's path, `checkpoint_ms` its
    time; `checkpoint_failing` says that a later one failed."""

    id: str
    name: str
    state: str
    tasks: int
    tasks_running: int
    uptime_ms: int
    restarts: int
    checkpoint: str | None
    checkpoint_ms: int | None
    checkpoint_failing: bool
    exception: str | None

    @property
    def running(self) -> bool:
        """Whether every task of it runs."""
        return self.state == "RUNNING" and self.tasks > 0 and self.tasks_running == self.tasks


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that Flink remembers: the stack trace, when it was in ms since the epoch, and the name of the TaskManager, if in one."""

    trace: str
    at_ms: int = 0
    task_manager: str = ""


@dataclass(frozen=True, slots=True)
class JobState:
    """Flink's name for a job's state, and whether every task of it runs."""

    name: str
    running: bool


class FlinkRest:
    """The REST API at `url`. Every call has a time limit; Unreachable is raised when nobody answers, NotFound for an unknown job."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s

    def overview(self) -> dict[str, Any]:
        """The cluster: taskmanagers, slots-total, slots-available, jobs-running, ..."""
        return self._call("GET", "/overview")

    def version(self) -> str:
        """Flink's version there, as in 2.3.0."""
        return str(self._call("GET", "/config")["flink-version"])

    def configuration(self) -> dict[str, str]:
        """What the cluster is configured with; secrets are hidden by Flink."""
        return {one["key"]: one["value"] for one in self._get_list("/jobmanager/config")}

    def classpath(self) -> list[str]:
        """The jars of the JobManager; those of the TaskManagers are told by nobody, and are the same in a cluster that is well."""
        return list(self._call("GET", "/jobmanager/environment").get("classpath", []))

    def named(self, name: str) -> list[str]:
        """The ids of the jobs of this name that have not ended."""
        found = self._call("GET", "/jobs/overview")["jobs"]
        return [job["jid"] for job in found if job["name"] == name and job["state"] not in FINAL]

    def task_managers(self) -> dict[str, int]:
        """The registered TaskManagers: RPC port by resource id. Empty while the JobManager does not answer."""
        try:
            found = self._call("GET", "/taskmanagers")["taskmanagers"]
            return {manager["id"]: urlparse(manager["path"]).port or 0 for manager in found}
        except (LoopwrightError, KeyError, ValueError):
            return {}

    def jobs(self) -> dict[str, str]:
        """State by job id."""
        return {job["id"]: job["status"] for job in self._call("GET", "/jobs")["jobs"]}

    def states(self) -> dict[str, JobState]:
        """How every job gets on, by id, in one call."""
        found = self._call("GET", "/jobs/overview")["jobs"]
        return {job["jid"]: JobState(job["state"], _all_run(job)) for job in found}

    def job(self, job: str) -> JobInfo:
        """All about one job."""
        said = self._call("GET", f"/jobs/{job}")
        points = self._detail(f"/jobs/{job}/checkpoints")
        last = (points.get("latest") or {}).get("completed") or {}
        failed = (points.get("latest") or {}).get("failed") or {}
        vertices = said.get("vertices", [])
        return JobInfo(
            id=job,
            name=said["name"],
            state=said["state"],
            tasks=len(vertices),
            tasks_running=sum(vertex["status"] == "RUNNING" for vertex in vertices),
            uptime_ms=int(said.get("duration", 0)),
            restarts=self._restarts(job),
            checkpoint=last.get("external_path"),
            checkpoint_ms=last.get("latest_ack_timestamp") or last.get("trigger_timestamp"),
            checkpoint_failing=failed.get("trigger_timestamp", 0) > last.get("trigger_timestamp", 0),
            exception=self.exception(job),
        )

    def exception(self, job: str) -> str | None:
        """The first lines of the newest failure's root cause; None where there was none."""
        failures = self.failures(job)
        return (root_cause(failures[0][0].trace) or None) if failures else None

    def failures(self, job: str) -> list[list[Failure]]:
        """Its failures, the newest first, each with those of the tasks that failed together with it."""
        entries = self._detail(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return [[_failure(one) for one in (entry, *entry.get("concurrentExceptions", ()))] for entry in entries]

    def cancel(self, job: str, seconds: float) -> bool:
        """Cancel a job; whether it ended in time. Its checkpoints stay."""
        self._call("PATCH", f"/jobs/{job}?mode=cancel")
        ended = wait_for(lambda: self.jobs().get(job, "CANCELED") in FINAL, seconds) is not None
        if ended:
            self._until_told(job)
        return ended

    def stop_with_savepoint(self, job: str, target: str, seconds: float) -> str:
        """Stop a job with a savepoint below the folder `target`, and return its URI. Raises PlatformFailed when it fails or takes too long.

        `target` is a URI as the cluster's machines know it; empty: the folder that the cluster is configured with.
        """
        body = {"drain": False, **({"targetDirectory": target} if target else {})}
        trigger = self._call("POST", f"/jobs/{job}/stop", body)["request-id"]
        done = wait_for(lambda: self._savepoint(job, trigger), seconds)
        if done is None:
            raise PlatformFailed("the job did not stop in time", f"no savepoint within {seconds:.0f} s", "look at the job's log")
        if "failure-cause" in done:
            cause = root_cause(done["failure-cause"].get("stack-trace", ""))
            raise PlatformFailed("the savepoint failed", cause, "the job resumes from its newest checkpoint instead")
        self._until_told(job)
        return str(done["location"])

    def _until_told(self, job: str) -> None:
        """Wait until Flink tells of a job that it has ended: what it says of one may be 3 s old, and would be taken for one that runs."""
        wait_for(lambda: self.job(job).state in FINAL, _ENDING_S)

    def _savepoint(self, job: str, trigger: str) -> dict[str, Any] | None:
        said = self._call("GET", f"/jobs/{job}/savepoints/{trigger}")
        return dict(said.get("operation") or {}) if said["status"]["id"] == "COMPLETED" else None

    def _restarts(self, job: str) -> int:
        said = self._get_list(f"/jobs/{job}/metrics?get=numRestarts")
        return int(float(said[0]["value"])) if said else 0

    def _detail(self, path: str) -> dict[str, Any]:
        """What a job says of itself beyond its state; empty where it has nothing to say yet, which is no sign that the job is unknown."""
        try:
            return self._call("GET", path)
        except NotFound:
            return {}

    def _get_list(self, path: str) -> list[dict[str, Any]]:
        try:
            return list(requests.get(self.url + path, timeout=self._timeout_s).json())
        except (requests.RequestException, ValueError):
            return []

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = requests.request(method, self.url + path, json=body, timeout=self._timeout_s)
            said = reply.json() if reply.content else {}
        except (requests.RequestException, ValueError) as error:
            raise Unreachable(
                "Flink does not answer", f"{self.url}: {type(error).__name__}", "`loopwright status` says what runs"
            ) from error
        if reply.status_code == 404:
            raise NotFound("Flink does not know that", f"{path}: {_errors(said)}", "`loopwright status` says what runs")
        if reply.status_code >= 400:
            raise PlatformFailed("Flink refused", f"{path}: {reply.status_code} {_errors(said)}", "read the JobManager's log")
        return dict(said)


def _failure(said: dict[str, Any]) -> Failure:
    return Failure(str(said.get("stacktrace", "")), int(said.get("timestamp") or 0), str(said.get("taskManagerId") or ""))


def _all_run(job: dict[str, Any]) -> bool:
    tasks = job["tasks"]
    return bool(job["state"] == "RUNNING" and tasks["total"] > 0 and tasks["running"] == tasks["total"])


def _errors(said: dict[str, Any]) -> str:
    return root_cause("\n".join(map(str, said.get("errors", []))))


def root_cause(trace: str) -> str:
    """The innermost cause of a Java stack trace: its message, and the Python lines that led to it."""
    lines = [line.rstrip() for line in trace.replace("\r", "").splitlines() if line.strip()]
    starts = [n for n, line in enumerate(lines) if line.startswith("Caused by:")]
    kept = lines[starts[-1] :] if starts else lines
    said = [line for line in kept if ".py:" in line or not line.lstrip().startswith(("at ", "... "))]
    return "\n".join(said if len(said) <= _FIRST_LINES else [said[0], *said[1 - _FIRST_LINES :]])
