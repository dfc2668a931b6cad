"""The job on a Flink cluster that runs elsewhere: submitted, stopped with a savepoint, upgraded, each through the client on this machine.

`clusters/<name>` in the state folder holds what is known of a cluster: the client's configuration and logs, and the releases.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from loopwright.edges.platform.code import JOB_NAME
from loopwright.edges.platform.flink_config import write_configuration
from loopwright.edges.platform.flink_programs import FlinkPrograms
from loopwright.edges.platform.flink_rest import FINAL, FlinkRest
from loopwright.edges.platform.jobs import Jobs
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Processes
from loopwright.edges.platform.releases import Release, Releases
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import Conflict, InvalidSettings, LoopwrightError, NotFound, PlatformFailed

FLINK = "2.3"
SAVEPOINT_S, SUBMIT_S, CANCEL_S = 300.0, 300.0, 60.0
_CHECKPOINT_FOLDERS = ("execution.checkpointing.dir", "state.checkpoints.dir")
_LOGS = "read the logs of the JobManager and the TaskManagers; `loopwright doctor` checks this machine"

Tell = Callable[[str], None]
Client = Callable[[Layout, Path], FlinkPrograms]


def url_of(target: str) -> str:
    """The URL of the REST API at `target`, host:port or a URL. Raises InvalidSettings."""
    url = target if "://" in target else f"http://{target}"
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port or "://" in target)
    except ValueError:
        fine = None
    if not fine:
        raise InvalidSettings("the target cannot be used", f"{target!r} is no host:port", "give the JobManager's REST address: host:8081")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Fitness:
    """What matters of a cluster: Flink's version, whether flink-python and the Kafka connector are on its class path, and whether it has a
    folder for checkpoints."""

    version: str
    has_python: bool
    has_kafka: bool
    has_checkpoints: bool


@dataclass(frozen=True)
class Remote:
    """The cluster whose REST API is at `url`. `programs` makes Flink's programs for a layout and a folder of code; `tell` is told how it
    gets on."""

    url: str
    home: Path
    programs: Client
    tell: Tell = field(default=lambda _: None)

    @property
    def layout(self) -> Layout:
        """Where what is known of it lies."""
        return Layout.at(self.home / "clusters" / re.sub(r"[^\w.-]+", "-", self.url.partition("://")[2]))

    @property
    def rest(self) -> FlinkRest:
        """Its REST API."""
        return FlinkRest(self.url)

    @property
    def releases(self) -> Releases:
        """What was submitted to it from here."""
        return Releases(self.layout.home / "releases")

    def fitness(self) -> Fitness:
        """What matters of it. Raises Unreachable."""
        jars, configured = [Path(jar).name for jar in self.rest.classpath()], self.rest.configuration()
        return Fitness(
            self.rest.version(),
            any(jar.startswith("flink-python") for jar in jars),
            any(jar.startswith("flink-sql-connector-kafka") for jar in jars),
            any(configured.get(name) for name in _CHECKPOINT_FOLDERS),
        )

    def running(self, wanted: str = "") -> str:
        """The id of the job that runs there: the one `wanted`, else the only one of its name. Raises NotFound, Conflict."""
        found = self.rest.named(JOB_NAME)
        if wanted and wanted not in found:
            raise NotFound("that job does not run there", f"{self.url} runs {_listed(found)}", "name one of these")
        if not found:
            raise NotFound("the job does not run there", f"{self.url} has no job {JOB_NAME!r} that has not ended", "`loopwright submit`")
        if len(found) > 1 and not wanted:
            raise Conflict("there are several", f"{self.url} runs {_listed(found)}", "name one with --job")
        return wanted or found[0]

    def submit(self, release: Release, from_point: str = "") -> str:
        """Submit a release and return the job's id once all its tasks run. Raises PlatformFailed, and then it runs no more."""
        self.layout.make()
        write_configuration(self.layout.conf, {**self._address(), **release.options})
        programs = self.programs(self.layout, release.code)
        jobs = Jobs(self.layout, self.rest, Processes(self.layout.run), programs.client, self.layout.home)
        self.tell(f"submitting {release.digest}" + (f" from {from_point}" if from_point else ""))
        id_ = jobs.submit(release.job(), from_point, SUBMIT_S)
        try:
            self.tell("waiting until its tasks run")
            jobs.wait_running(id_, SUBMIT_S)
        except PlatformFailed as error:
            jobs.retire(id_)
            raise PlatformFailed(error.what, error.why, _LOGS) from error
        self.releases.take(release)
        return id_

    def verify(self, job: str, seconds: float) -> None:
        """Return when the job has completed a checkpoint and has not been restarted. Raises PlatformFailed."""
        self.tell("waiting for its first checkpoint")

        def probe() -> str | None:
            info = self.rest.job(job)
            if info.state in FINAL or info.restarts or info.exception:
                return info.exception or f"it is {info.state} after {info.restarts} restarts"
            return "" if info.checkpoint and info.running else None

        found = wait_for(lambda: None if (said := probe()) is None else (said,), seconds)
        if found is None or found[0]:
            why = found[0] if found else f"no checkpoint was completed within {seconds:.0f} s"
            raise PlatformFailed("the job does not run well", why, _LOGS)

    def stop(self, job: str, target: str = "") -> str:
        """Stop a job with a savepoint in the folder `target` (empty: the cluster's own); returns the savepoint. Raises PlatformFailed."""
        self.tell("taking a savepoint")
        return self.rest.stop_with_savepoint(job, target, SAVEPOINT_S)

    def cancel(self, job: str) -> None:
        """End a job without a savepoint; its checkpoints stay. Raises PlatformFailed."""
        if not self.rest.cancel(job, CANCEL_S):
            raise PlatformFailed("the job was not cancelled", f"it has not ended within {CANCEL_S:.0f} s", _LOGS)

    def upgrade(self, release: Release, job: str, target: str, seconds: float) -> tuple[str, str]:
        """Put `release` in the place of the job that runs, and return the new job's id and the savepoint between them.

        Where the new one does not come to run well, the one before it is set going again from the same savepoint. Raises NotFound where it
        is not known what runs, before anything is stopped, and PlatformFailed where the upgrade was rolled back.
        """
        before = self.releases.current()
        if before is None:
            remedy = "`loopwright stop`, then `loopwright submit --from-savepoint`; from then on it is known"
            raise NotFound("there is nothing to go back to", f"the job at {self.url} was not submitted from {self.home}", remedy)
        savepoint = self.stop(job, target)
        id_ = ""
        try:
            id_ = self.submit(release, savepoint)
            self.verify(id_, seconds)
        except LoopwrightError as error:
            raise self._rolled_back(before, id_, savepoint, error) from error
        return id_, savepoint

    def _rolled_back(self, before: Release, failed: str, savepoint: str, error: LoopwrightError) -> PlatformFailed:
        """The error of an upgrade that failed, once the release before it runs again."""
        self.tell(f"it failed ({error.what}); going back to {before.digest}")
        why = f"{error.what}: {error.why}"
        try:
            if failed:
                self.cancel(failed)
            id_ = self.submit(before, savepoint)
        except LoopwrightError as second:
            remedy = f"`loopwright submit --from-savepoint {savepoint}` with the release before it; nothing is lost"
            return PlatformFailed("the upgrade failed, and so did the way back: no job runs", f"{why}\n{second.what}: {second.why}", remedy)
        remedy = f"job {id_} runs the release before it; mend the new one, then upgrade again"
        return PlatformFailed("the upgrade was rolled back", why, remedy)

    def _address(self) -> Mapping[str, str]:
        parts = urlsplit(self.url)
        tls = parts.scheme == "https"
        return {
            "rest.address": parts.hostname or "",
            "rest.port": str(parts.port or (443 if tls else 80)),
            "rest.path": parts.path,
            "security.ssl.rest.enabled": str(tls).lower(),
            "client.timeout": "120 s",
        }


def _listed(jobs: list[str]) -> str:
    return ", ".join(jobs) or "none"
