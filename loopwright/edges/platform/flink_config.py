"""Flink's configuration: what the job wants of any cluster, and what the local one is beside that, with the reason for each value that is
not Flink's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FlinkConfig:
    """The size of the cluster and what a person may want to change. `settings` are Flink options that go on top of ours, `flags` go to
    the JVM of each TaskManager."""

    task_managers: int = 1
    slots: int = 2
    parallelism: int = 1
    execution_mode: Literal["thread", "process"] = "thread"
    checkpoint_interval_ms: int = 5000
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    settings: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a TaskManager in MiB. Given part by part, the processes can be started directly, without Flink's calculating scripts."""

    framework_heap: int = 128
    task_heap: int = 410
    framework_off_heap: int = 128
    network: int = 102
    managed: int = 256
    metaspace: int = 512
    overhead: int = 192

    def flags(self) -> tuple[str, ...]:
        """The JVM's flags for these sizes."""
        return (
            f"-Xmx{self.framework_heap + self.task_heap}m",
            f"-XX:MaxDirectMemorySize={self.framework_off_heap + self.network}m",
            f"-XX:MaxMetaspaceSize={self.metaspace}m",
        )

    def settings(self) -> dict[str, str]:
        """Flink's options for these sizes."""
        return {
            "taskmanager.memory.framework.heap.size": f"{self.framework_heap}m",
            "taskmanager.memory.task.heap.size": f"{self.task_heap}m",
            "taskmanager.memory.framework.off-heap.size": f"{self.framework_off_heap}m",
            "taskmanager.memory.task.off-heap.size": "0b",
            "taskmanager.memory.network.min": f"{self.network}m",
            "taskmanager.memory.network.max": f"{self.network}m",
            "taskmanager.memory.managed.size": f"{self.managed}m",
            "taskmanager.memory.jvm-metaspace.size": f"{self.metaspace}m",
            "taskmanager.memory.jvm-overhead.min": f"{self.overhead}m",
            "taskmanager.memory.jvm-overhead.max": f"{self.overhead}m",
            "taskmanager.cpu.cores": "2.0",
        }


JOB_MANAGER_FLAGS = ("-Xmx524m", "-XX:MaxMetaspaceSize=256m")


def options(config: FlinkConfig, layout: Layout, rest: int, rpc: int, python: Path) -> dict[str, str]:
    """All options of the cluster, as flat names. `rest` and `rpc` are the JobManager's ports, `python` the interpreter of the jobs."""
    return {
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": str(rpc),
        "jobmanager.bind-host": HOST,
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": str(rest),
        # the client is started with the cluster and asks until the cluster is there
        "rest.retry.max-attempts": "600",
        "rest.retry.delay": "200 ms",
        "client.timeout": "120 s",
        "web.timeout": "60 s",
        "pekko.ask.timeout": "60 s",
        "jobmanager.memory.heap.size": "524m",
        "jobmanager.memory.off-heap.size": "128m",
        "jobmanager.memory.jvm-metaspace.size": "256m",
        "jobmanager.memory.jvm-overhead.min": "192m",
        "jobmanager.memory.jvm-overhead.max": "192m",
        **Memory().settings(),
        "taskmanager.numberOfTaskSlots": str(config.slots),
        "parallelism.default": str(config.parallelism),
        **cluster_options(config, str(python), layout.checkpoints.as_uri(), layout.savepoints.as_uri()),
        "process.working-dir": str(layout.tmp),
        "io.tmp.dirs": str(layout.tmp),
        "web.tmpdir": str(layout.tmp),
        "env.pid.dir": str(layout.run),
        "env.log.dir": str(layout.logs),
        **config.settings,
    }


def cluster_options(config: FlinkConfig, python: str, checkpoints: str, savepoints: str) -> dict[str, str]:
    """What the job wants of any cluster that is there for it. `python` is the interpreter there, the other two are URIs of folders."""
    return {
        "taskmanager.jvm-exit-on-oom": "true",
        **_failures(),
        **job_options(config),
        **folders(checkpoints, savepoints),
        "python.executable": python,
        "python.client.executable": python,
        # while records are held back a checkpoint waits behind those that are buffered before the operator: let them be dozens, not
        # hundreds (it cannot overtake them: Flink has no unaligned checkpoints for an operator with a broadcast input)
        "taskmanager.memory.segment-size": "4 kb",
        "taskmanager.network.memory.buffers-per-channel": "2",
        "taskmanager.network.memory.floating-buffers-per-gate": "2",
        "taskmanager.network.memory.max-overdraft-buffers-per-gate": "0",
        # the native runtime of thread mode loads one library per process: no job may bring its own
        "classloader.parent-first-patterns.additional": "pemja",
    }


def job_options(config: FlinkConfig) -> dict[str, str]:
    """The options that belong to the job, on whichever cluster it runs."""
    return {
        **_restarts(),
        **state_options(config.state_backend, config.checkpoint_interval_ms),
        "python.execution-mode": config.execution_mode,
        # in thread mode there are no bundles, and yet each operator looks for one to end so often
        "python.fn-execution.bundle.time": "1" if config.execution_mode == "process" else "60000",
        "execution.buffer-timeout.interval": "0 ms",
        "pipeline.object-reuse": "true",
    }


def _failures() -> dict[str, str]:
    """How soon a death is seen."""
    return {
        # a dead process is noticed at the second heartbeat that it refuses; one that hangs, after the time-out
        "heartbeat.interval": "500 ms",
        "heartbeat.timeout": "8 s",
        # a TaskManager that comes up before the JobManager asks again soon, not after ten seconds
        "cluster.registration.error-delay": "200 ms",
        "cluster.registration.initial-timeout": "200 ms",
        # wait for a lost TaskManager; else each missing slot fails at once and counts as a restart
        "resourcemanager.standalone.start-up-time": "10 min",
    }


def _restarts() -> dict[str, str]:
    """What happens to the job when a task of it fails."""
    return {
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "100 ms",
        "restart-strategy.exponential-delay.max-backoff": "2 s",
        # A job that has lived for half a minute can run: failures are counted anew. While Kafka is away each attempt lives a minute (so
        # long the sources wait for it): however long that lasts, the job is there when Kafka is back
        "restart-strategy.exponential-delay.reset-backoff-threshold": "30 s",
        # bounded: a job that can never run must fail visibly, not restart for ever
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": "30",
    }


def folders(checkpoints: str, savepoints: str) -> dict[str, str]:
    """Where the copies of the job's state lie: URIs, `file:` or `s3:`."""
    return {"execution.checkpointing.dir": checkpoints, "execution.checkpointing.savepoint-dir": savepoints}


def state_options(backend: str, interval_ms: int) -> dict[str, str]:
    """Where the job's state lives and how it is kept."""
    return {
        # small state is read from the heap without a detour; RocksDB's is on disk, and a checkpoint of it holds what is new
        "state.backend.type": backend,
        "execution.checkpointing.incremental": "true" if backend == "rocksdb" else "false",
        "execution.checkpointing.interval": f"{interval_ms} ms",
        "execution.checkpointing.min-pause": f"{min(1000, interval_ms)} ms",
        "execution.checkpointing.timeout": "2 min",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # a full disk must not stop the job: it runs on and says so
        "execution.checkpointing.tolerable-failed-checkpoints": "1000000",
    }


def write_configuration(folder: Path, values: Mapping[str, str]) -> None:
    """config.yaml and the logging configurations in `folder`: of the cluster, of a client, of a process in a container."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}: {_quoted(value)}" for name, value in values.items()]
    (folder / "config.yaml").write_text("\n".join(lines) + "\n")
    (folder / "log4j.properties").write_text(CLUSTER_LOGGING)
    (folder / "log4j-cli.properties").write_text(CLIENT_LOGGING)
    (folder / "log4j-console.properties").write_text(CONSOLE_LOGGING)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# The runner of Python workers writes their environment, keys included, to the log at INFO when a job is cancelled: WARN keeps it out.
# The committer of a sink names the same metric again at every checkpoint, and Flink warns of it each time.
_LEVELS = """\
monitorInterval = 30
rootLogger.level = INFO
logger.beam.name = org.apache.beam.runners.fnexecution.control
logger.beam.level = WARN
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
logger.config.name = org.apache.flink.configuration.GlobalConfiguration
logger.config.level = WARN
logger.metrics.name = org.apache.flink.metrics.MetricGroup
logger.metrics.level = ERROR
"""
_LINE = "layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n"
CLUSTER_LOGGING = f"""{_LEVELS}rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = RollingFile
appender.file.append = true
appender.file.fileName = ${{sys:log.file}}
appender.file.filePattern = ${{sys:log.file}}.%i
appender.file.layout.type = PatternLayout
appender.file.{_LINE}
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""
CLIENT_LOGGING = f"""{_LEVELS}rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = File
appender.file.append = false
appender.file.fileName = ${{sys:log.file}}
appender.file.layout.type = PatternLayout
appender.file.{_LINE}
"""
CONSOLE_LOGGING = f"""{_LEVELS}rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.{_LINE}
"""
