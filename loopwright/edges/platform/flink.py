"""The standalone Flink cluster: a JobManager and TaskManagers, each a JVM that is started here directly."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.platform.flink_config import JOB_MANAGER_FLAGS, FlinkConfig, Memory, options, write_configuration
from loopwright.edges.platform.flink_home import FlinkHome
from loopwright.edges.platform.flink_programs import Archive, FlinkPrograms, no_archive
from loopwright.edges.platform.flink_rest import FlinkRest
from loopwright.edges.platform.java import Java
from loopwright.edges.platform.jvm import Jvm, tuning
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST, Ports
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.waiting import failed, wait_for

JOB_MANAGER = "jobmanager"
TASK_MANAGER = "taskmanager-"
REST_PORT, RPC_PORT = "flink", "flink-rpc"
_STOP_DEADLINE_S = 15


def task_manager(number: int) -> str:
    """The name of a TaskManager, counted from 1."""
    return f"{TASK_MANAGER}{number}"


def rest_url(ports: Ports) -> str:
    """Where the cluster's REST API and user interface are."""
    return f"http://{HOST}:{ports.known().get(REST_PORT, 0)}"


def stop_cluster(processes: Processes) -> None:
    """Stop the JobManager and every TaskManager that runs, together."""
    processes.stop_all([name for name in processes.names() if name == JOB_MANAGER or name.startswith(TASK_MANAGER)], _STOP_DEADLINE_S)


def registered(processes: Processes, rest: FlinkRest) -> set[str]:
    """Names of the TaskManagers whose present process is the one that the JobManager at `rest` knows."""
    known = rest.task_managers().items()
    return {name for name, port in known if (running := processes.running(name)) is not None and running.listens(port)}


@dataclass(frozen=True)
class FlinkCluster:
    """The cluster of one state folder. `python_paths` are what the jobs import from, `folder` is where the
    processes work; `archive` gives JVM flags for a service's name."""

    layout: Layout
    java: Java
    home: FlinkHome
    processes: Processes
    ports: Ports
    environment: Mapping[str, str]
    config: FlinkConfig = field(default_factory=FlinkConfig)
    python_paths: Sequence[Path] = ()
    folder: Path = Path()
    archive: Archive = field(default=no_archive)
    quick: bool = True

    @property
    def rest(self) -> FlinkRest:
        """Its REST API."""
        return FlinkRest(rest_url(self.ports))

    def names(self) -> list[str]:
        """Its processes, in the order of their start."""
        return [JOB_MANAGER, *(task_manager(n) for n in range(1, self.config.task_managers + 1))]

    def start(self) -> list[str]:
        """Start what does not run; return the names of what was started, at once. On a new JobManager no job runs."""
        missing = [name for name in self.names() if self.processes.running(name) is None]
        fresh = JOB_MANAGER in missing
        rest = self.ports.settle(REST_PORT, not fresh)
        rpc = self.ports.settle(RPC_PORT, not fresh)
        write_configuration(self.layout.conf, options(self.config, self.layout, rest, rpc, Path(sys.executable)))
        if fresh:
            self._stop_task_managers()
        for command in self.commands():
            if self.processes.running(command.name) is None:
                self.processes.start(command)
        return self.names() if fresh else missing

    def commands(self) -> list[Command]:
        """How its processes are started, with the ports that are known and the configuration that was written."""
        known = self.ports.known()
        ports = {name: known.get(name, 0) for name in (REST_PORT, RPC_PORT)}
        managers = [self._command(self._task_manager(n), {}, "") for n in range(1, self.config.task_managers + 1)]
        return [self._command(self._job_manager(), ports, rest_url(self.ports)), *managers]

    def wait_ready(self, seconds: float) -> None:
        """Return when every TaskManager is registered; raise PlatformFailed with the end of a log otherwise."""
        done = wait_for(lambda: self._dead() or (self.registered() >= set(self.names()[1:]) or None), seconds)
        if done is True:
            return
        name = done if isinstance(done, str) else JOB_MANAGER
        why = "the process ended" if isinstance(done, str) else f"{len(self.registered())} TaskManagers after {seconds:.0f} s"
        log = self.layout.log(name) if self.layout.log(name).exists() else self.layout.logs / f"{name}.out"
        raise failed(f"Flink's {name} did not start", why, log)

    def registered(self) -> set[str]:
        """Names of the TaskManagers that run and are known to the JobManager; one that died is still known to it for some seconds."""
        return registered(self.processes, self.rest)

    def renew(self, name: str) -> None:
        """Replace the process of one TaskManager by a new one."""
        self.processes.stop(name, 0)
        self.processes.start(next(command for command in self.commands() if command.name == name))

    def stop(self) -> None:
        """Stop all its processes."""
        stop_cluster(self.processes)

    @property
    def programs(self) -> FlinkPrograms:
        """Its programs, the clients among them."""
        return FlinkPrograms(self.layout, self.java, self.home, self.environment, self.python_paths, self.archive)

    def _job_manager(self) -> Jvm:
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        flags = [*JOB_MANAGER_FLAGS, *tuning(True), *self.programs.logging(JOB_MANAGER)]
        return self.programs.jvm(JOB_MANAGER, main, flags, self._arguments())

    def _task_manager(self, number: int) -> Jvm:
        """It keeps its resource id when it is started again, so its predecessor is forgotten at once."""
        name = task_manager(number)
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        flags = [*Memory().flags(), *tuning(self.quick), *self.programs.logging(name), *self.config.flags]
        return self.programs.jvm(name, main, flags, [*self._arguments(), "-D", f"taskmanager.resource-id={name}"])

    def _arguments(self) -> list[str]:
        return ["--configDir", str(self.layout.conf)]

    def _command(self, jvm: Jvm, ports: dict[str, int], url: str) -> Command:
        out = self.layout.logs / f"{jvm.name}.out"
        return Command(jvm.name, jvm.args(self.java, self.layout), self.programs.environment(), self.folder, out, ports, url)

    def _stop_task_managers(self) -> None:
        """Those of a JobManager that is gone would never find the new one."""
        self.processes.stop_all([name for name in self.processes.names() if name.startswith(TASK_MANAGER)], _STOP_DEADLINE_S)

    def _dead(self) -> str | None:
        return next((name for name in self.names() if self.processes.running(name) is None), None)
