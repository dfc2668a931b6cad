"""A Flink cluster inside one JVM, and jobs on it that are fed with files and observed through a file."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from pyflink.common import Configuration, Row
from pyflink.common.watermark_strategy import WatermarkStrategy
from pyflink.datastream import DataStream, MapFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat
from pyflink.java_gateway import get_gateway

from loopwright.step import Performer, Record
from tests.flink.counting import CountingDecider
from udfs.keyed_loop import DEFINITIONS, KeyedLoop, run_keyed
from udfs.rows import DEFINITION, KEYED, OUTPUT
from udfs.uids import named

DEADLINE_S = 120


def until(what: str, holds: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Wait until `holds()` is true, and return it; fails when the deadline passes."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"after {deadline_s} s: {what}")


class MiniCluster:
    """Flink's own MiniCluster, in the JVM that PyFlink talks to."""

    def __init__(self) -> None:
        self._jvm = get_gateway().jvm
        conf = Configuration()
        conf.set_string("rest.bind-port", "0")
        conf.set_string("metrics.fetcher.update-interval", "100 ms")
        conf.set_string("taskmanager.memory.managed.size", "256m")
        build = self._jvm.org.apache.flink.runtime.minicluster.MiniClusterConfiguration.Builder()
        self._cluster = self._jvm.org.apache.flink.runtime.minicluster.MiniCluster(
            build.setConfiguration(conf._j_configuration).setNumTaskManagers(1).setNumSlotsPerTaskManager(8).build()
        )
        self._cluster.start()

    def submit(self, env: StreamExecutionEnvironment, savepoint: str = "", jars: Sequence[Path] = ()) -> Any:
        """Run the job, from a savepoint where one is given. Returns its id."""
        graph = env._generate_stream_graph(clear_transformations=True).getJobGraph()
        for jar in jars:
            graph.addJar(self._jvm.org.apache.flink.core.fs.Path(jar.as_uri()))
        if savepoint:
            settings = self._jvm.org.apache.flink.runtime.jobgraph.SavepointRestoreSettings.forPath(savepoint)
            graph.setSavepointRestoreSettings(settings)
        self._cluster.submitJob(graph).get()
        return graph.getJobID()

    def status(self, job: Any) -> str:
        return str(self._cluster.getJobStatus(job).get().name())

    def restarts(self, job: Any) -> int:
        """How often the job was restarted; 0 while the cluster is too busy to tell."""
        address = f"{self._cluster.getRestAddress().get()}/jobs/{job}/metrics"
        try:
            said = requests.get(address, {"get": "numRestarts"}, timeout=10).json()
        except requests.RequestException:
            return 0
        return int(float(said[0]["value"])) if said else 0

    def checkpoint(self, job: Any) -> None:
        full = self._jvm.org.apache.flink.core.execution.CheckpointType.FULL
        self._cluster.triggerCheckpoint(job, full).get()

    def counters(self, job: Any, name: str) -> dict[str, int]:
        """The `loopwright` counters of the operator `name`, summed over its subtasks."""
        api = f"{self._cluster.getRestAddress().get()}/jobs/{job}/vertices"
        found: dict[str, int] = {}
        for vertex in requests.get(api.removesuffix("/vertices"), timeout=5).json()["vertices"]:
            metrics = f"{api}/{vertex['id']}/subtasks/metrics"
            ids = [m["id"] for m in requests.get(metrics, timeout=5).json() if m["id"].startswith(f"{name}.loopwright.")]
            for m in requests.get(metrics, {"get": ",".join(ids)}, timeout=5).json() if ids else []:
                found[m["id"].rpartition(".")[2]] = int(m["sum"])
        return found

    def savepoint(self, job: Any, folder: Path) -> str:
        """Of a job that goes on; its path."""
        return self._savepoint(job, folder, cancel=False)

    def stop(self, job: Any, folder: Path) -> str:
        """End the job with a savepoint; its path."""
        savepoint = self._savepoint(job, folder, cancel=True)
        until("the job ended", lambda: self.status(job) == "CANCELED")
        return savepoint

    def _savepoint(self, job: Any, folder: Path, cancel: bool) -> str:
        canonical = self._jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
        return str(self._cluster.triggerSavepoint(job, folder.as_uri(), cancel, canonical).get())

    def cancel(self, job: Any) -> None:
        if self.status(job) not in {"CANCELED", "FAILED", "FINISHED"}:
            self._cluster.cancelJob(job).get()
            until("the job is cancelled", lambda: self.status(job) == "CANCELED")

    def failure(self, job: Any) -> str:
        cause = self._cluster.getArchivedExecutionGraph(job).get().getFailureInfo()
        return str(cause.getExceptionAsString())

    def close(self) -> None:
        self._cluster.close()


class Append(MapFunction):  # type: ignore[misc]  # pyflink is untyped
    """Writes each row as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def map(self, value: Row) -> Row:
        line = json.dumps({"topic": value[0], "key": value[1].decode(), "headers": sorted(value[3]), **json.loads(value[2])})
        with self._path.open("a") as file:
            file.write(line + "\n")
        return value


class Stage:
    """One test's files, and the job that runs on them.

    A job in process mode has a cluster of its own, and another one once it was stopped: Beam may bring the TaskManager down with it.
    """

    def __init__(self, shared: MiniCluster, folder: Path, own: bool) -> None:
        self._own = own
        self.cluster, self.folder = MiniCluster() if own else shared, folder
        self.gate, self.diary, self._out = folder / "gate", folder / "diary", folder / "out"
        for name in ("records", "definitions", "savepoints"):
            (folder / name).mkdir()
        self._sent = 0
        self.job: Any = None

    def run(self, mode: str, wakeup: str, performer: Callable[[], Performer], **options: Any) -> None:
        """Start a job around a CountingDecider; `options` are those of KeyedLoop, and `savepoint`, `parallelism`, `conf`."""
        savepoint, parallelism = options.pop("savepoint", ""), options.pop("parallelism", 1)
        env = environment(mode, options.pop("conf", None))
        env.set_parallelism(parallelism)
        loop = KeyedLoop("counting", CountingDecider, performer, parse=_parsed, **{"wakeup": wakeup, "guard_ms": 200, **options})
        records = _lines(env, self.folder / "records", "records").map(_record, KEYED)
        definitions = _lines(env, self.folder / "definitions", "definitions").map(_definition, DEFINITION)
        out = run_keyed(records, definitions.broadcast(DEFINITIONS), loop, "loop")
        named(out.map(Append(self._out), OUTPUT), "append")
        self.job = self.cluster.submit(env, savepoint)

    def end(self) -> None:
        """Stop the job, and the cluster if it is the job's own."""
        if self.job is not None and self.cluster.status(self.job) == "RUNNING":
            self.cluster.stop(self.job, self.folder / "savepoints")
        elif self.job is not None:
            self.cluster.cancel(self.job)
        if self._own:
            self.cluster.close()

    def stop(self) -> str:
        """Stop the job with a savepoint; its path."""
        savepoint = self.cluster.stop(self.job, self.folder / "savepoints")
        if self._own:
            self.cluster.close()
            self.cluster = MiniCluster()
        return savepoint

    def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """Wait until `holds()` is true; what is there instead is told where it never is."""
        try:
            return until(what, holds)
        except AssertionError as error:
            status = self.cluster.status(self.job)
            why = self.cluster.failure(self.job) if status == "FAILED" else ""
            notes = self.diary.read_text() if self.diary.exists() else ""
            raise AssertionError(f"{error}\njob {status} {why}\nout {self.out()}\nperformer {notes}") from error

    def send(self, key: str, *asked: dict[str, Any]) -> None:
        """Records for one key, in this order."""
        self._write("records", "".join(json.dumps([key, one]) + "\n" for one in asked))

    def define(self, name: str, text: str | None) -> None:
        self._write("definitions", json.dumps([name, text]) + "\n")

    def out(self, key: str = "") -> list[dict[str, Any]]:
        """What was emitted so far, for one key or for all."""
        lines = self._out.read_text().splitlines() if self._out.exists() else []
        return [one for one in map(json.loads, lines) if not key or one["key"] == key]

    def forget_output(self) -> None:
        """Of a job that has ended."""
        self._out.unlink()

    def seen(self, key: str = "") -> list[str]:
        return [one["saw"] for one in self.out(key)]

    def noted(self, what: str) -> list[tuple[str, int]]:
        """The performer's notes of one kind: call ids, with how many calls were running."""
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        return [(call, int(running)) for kind, call, running in map(str.split, lines) if kind == what]

    def _write(self, folder: str, text: str) -> None:
        self._sent += 1
        draft = self.folder / f"draft-{self._sent}"
        draft.write_text(text)
        draft.rename(self.folder / folder / f"{self._sent:06}.txt")


def environment(mode: str, extra: Mapping[str, str] | None = None) -> StreamExecutionEnvironment:
    """An environment of one slot, whose first failure ends the job."""
    conf = Configuration()
    python = os.environ["LOOPWRIGHT_TEST_PYTHON"]
    for name, value in {
        "python.execution-mode": mode,
        "python.executable": python,
        "python.client.executable": python,
        "python.fn-execution.bundle.time": "1",
        "execution.buffer-timeout.interval": "0 ms",
        "pipeline.object-reuse": "true",
        "restart-strategy.type": "none",
        **(extra or {}),
    }.items():
        conf.set_string(name, value)
    env = StreamExecutionEnvironment.get_execution_environment(conf)
    env.set_parallelism(1)
    return env


def _lines(env: StreamExecutionEnvironment, folder: Path, uid: str) -> DataStream:
    every = get_gateway().jvm.java.time.Duration.ofMillis(50)
    builder = FileSource.for_record_stream_format(StreamFormat.text_line_format(), folder.as_uri())
    builder._j_file_source_builder.monitorContinuously(every)
    return env.from_source(builder.build(), WatermarkStrategy.no_watermarks(), uid).uid(uid)


def _record(line: str) -> Row:
    key, asked = json.loads(line)
    return Row(key, Row("records", 0, 0, 0, key.encode(), json.dumps(asked).encode()))


def _parsed(record: Record) -> tuple[str, bytes]:
    return (record.key or b"").decode(), record.value or b""


def _definition(line: str) -> Row:
    name, text = json.loads(line)
    return Row(name, text if text is None else text.encode())
