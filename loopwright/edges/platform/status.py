"""What runs: every part of a local platform, and the job. Nothing is started, and no Java is needed to ask."""

import time
from dataclasses import dataclass, replace
from typing import Literal

from loopwright.edges.platform import broker as kafka
from loopwright.edges.platform import flink
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_rest import JobInfo
from loopwright.edges.platform.jobs import CLIENT
from loopwright.edges.platform.plan import SUPERVISOR, Healed, Report
from loopwright.edges.platform.ports import answers
from loopwright.edges.platform.processes import Started
from loopwright.edges.platform.registry_server import HEALTH
from loopwright.edges.platform.registry_server import NAME as REGISTRY
from loopwright.edges.platform.services import healthy
from loopwright.edges.platform.stack import ARCHIVES, JOB, Stack
from loopwright.errors import LoopwrightError

State = Literal["running", "stopped", "broken"]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One part: `broken` is one whose process died, or lives and does not answer. `uptime_s` in seconds; `url` also `host:port`;
    `healed` is how often the supervisor started it again since the last `up`, and `healed_why` the last reason."""

    name: str
    state: State
    pid: int | None
    url: str
    uptime_s: float | None
    log: str
    detail: str = ""
    healed: int = 0
    healed_why: str = ""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The job: Flink's state for it (`none` where there is no job), its last completed checkpoint, whether a later one failed.

    `healed` is how often the supervisor submitted it again since the last `up`, `healed_why` the last reason, and `given_up` why it does so
    no more (empty: it would).
    """

    id: str | None
    state: str
    tasks: int
    tasks_running: int
    uptime_s: float | None
    restarts: int
    checkpoint: str | None
    checkpoint_age_s: float | None
    checkpoint_failing: bool
    exception: str | None
    healed: int = 0
    healed_why: str = ""
    given_up: str = ""


@dataclass(frozen=True, slots=True)
class StackStatus:
    """Every part, and the job (None where the platform has none)."""

    home: str
    services: tuple[ServiceStatus, ...]
    job: JobStatus | None

    @property
    def well(self) -> bool:
        """Whether everything runs."""
        return all(s.state == "running" for s in self.services) and (self.job is None or self.job.state == "RUNNING")


def status(config: StackConfig) -> StackStatus:
    """Look at every part. Takes a few seconds at most when something does not answer."""
    stack = Stack(config)
    expected = expected_names(config)
    further = [name for name in stack.processes.names() if name not in expected and name not in (CLIENT, ARCHIVES)]
    healed = Report.read(stack.layout).healed
    services = tuple(_with(_service(stack, name), healed.get(name)) for name in [*expected, *further])
    return StackStatus(str(stack.layout.home), services, _job_with(stack, healed.get(JOB)) if config.job is not None else None)


def _with(found: ServiceStatus, healed: Healed | None) -> ServiceStatus:
    return replace(found, healed=healed.restarts, healed_why=healed.why) if healed else found


def _job_with(stack: Stack, healed: Healed | None) -> JobStatus:
    found = job_status(stack)
    return replace(found, healed=healed.restarts, healed_why=healed.why, given_up=healed.given_up) if healed else found


def expected_names(config: StackConfig) -> list[str]:
    """The processes that run when everything does."""
    own = [*([] if config.kafka else [kafka.NAME]), *([REGISTRY] if config.registry else [])]
    managers = [flink.task_manager(n) for n in range(1, config.flink.task_managers + 1)] if config.flink else []
    return [*own, *([flink.JOB_MANAGER, *managers] if config.flink else []), *(s.name for s in config.services)]


def job_status(stack: Stack) -> JobStatus:
    """The job that was submitted last, as Flink sees it now."""
    info = _current(stack) if stack.processes.running(flink.JOB_MANAGER) is not None else None
    if info is None:
        point = stack.jobs.resume_point() if stack.layout.mark.exists() else None
        return JobStatus(None, "none", 0, 0, None, 0, str(point) if point else None, None, False, None)
    return _job(info)


def _current(stack: Stack) -> JobInfo | None:
    try:
        return stack.jobs.current(seconds=2)
    except LoopwrightError:
        return None  # what is wrong with the JobManager is said in its own line


def _job(info: JobInfo) -> JobStatus:
    state = info.state if info.state != "RUNNING" or info.running else "STARTING"
    age = time.time() - info.checkpoint_ms / 1000 if info.checkpoint_ms else None
    return JobStatus(
        info.id,
        state,
        info.tasks,
        info.tasks_running,
        info.uptime_ms / 1000,
        info.restarts,
        info.checkpoint,
        age,
        info.checkpoint_failing,
        info.exception,
    )


def _service(stack: Stack, name: str) -> ServiceStatus:
    found = stack.processes.find(name)
    log = str(stack.layout.log(name))
    if found is None:
        return ServiceStatus(name, "stopped", None, "", None, log)
    if not found.alive():
        healer = "the supervisor" if name != SUPERVISOR and stack.processes.running(SUPERVISOR) is not None else "`loopwright up`"
        return ServiceStatus(name, "broken", found.pid, found.url, None, log, f"the process ended; {healer} starts it again")
    why = _complaint(stack, found)
    return ServiceStatus(name, "broken" if why else "running", found.pid, found.url, found.uptime_s(), log, why)


def _complaint(stack: Stack, found: Started) -> str:
    """What is wrong with a live process; empty when it is well."""
    if found.name == SUPERVISOR:
        return ""
    if found.name == kafka.NAME:
        return "" if answers(found.ports[kafka.NAME]) else "it does not accept connections"
    if found.name == flink.JOB_MANAGER:
        return _answers(found.url + "/overview")
    if found.name.startswith(flink.TASK_MANAGER):
        return "" if found.name in flink.registered(stack.processes, stack.rest) else "the JobManager does not know it"
    checks = {REGISTRY: HEALTH, **{s.name: s.health for s in stack.config.services}}
    return "" if healthy(found.url + checks.get(found.name, "/health")) else "its health check fails"


def _answers(url: str) -> str:
    return "" if healthy(url) else "its REST API does not answer"
