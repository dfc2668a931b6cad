"""Flink's configuration, what is read out of its answers, and where a job resumes."""

import os
from pathlib import Path

import pytest
import yaml

from loopwright.edges.platform.archives import loadable
from loopwright.edges.platform.flink_config import FlinkConfig, Memory, options, write_configuration
from loopwright.edges.platform.flink_rest import Failure, FlinkRest, root_cause
from loopwright.edges.platform.jobs import Jobs, client_failure
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.processes import Processes


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "it's here")
    made.make()
    return made


def read(layout: Layout, config: FlinkConfig) -> dict[str, str]:
    write_configuration(layout.conf, options(config, layout, 1001, 1002, Path("/venv/bin/python")))
    return dict(yaml.safe_load((layout.conf / "config.yaml").read_text()))


def test_the_configuration_is_yaml_whatever_the_state_folder_is_called(layout: Layout) -> None:
    assert read(layout, FlinkConfig())["io.tmp.dirs"] == str(layout.tmp)


def test_state_survives_a_cancelled_job_and_a_full_disk_does_not_stop_it(layout: Layout) -> None:
    said = read(layout, FlinkConfig())
    assert said["execution.checkpointing.externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert said["execution.checkpointing.dir"] == layout.checkpoints.as_uri()
    assert int(said["execution.checkpointing.tolerable-failed-checkpoints"]) > 1000


def test_restarts_are_bounded(layout: Layout) -> None:
    assert int(read(layout, FlinkConfig())["restart-strategy.exponential-delay.attempts-before-reset-backoff"]) == 30


def test_what_a_person_sets_wins(layout: Layout) -> None:
    said = read(
        layout, FlinkConfig(slots=4, execution_mode="process", settings={"state.backend.type": "rocksdb", "parallelism.default": "3"})
    )
    assert said["taskmanager.numberOfTaskSlots"] == "4"
    assert said["python.execution-mode"] == "process"
    assert said["state.backend.type"] == "rocksdb"
    assert said["parallelism.default"] == "3"


@pytest.mark.parametrize(("backend", "incremental"), [("hashmap", "false"), ("rocksdb", "true")])
def test_the_state_backend_is_the_one_that_is_set_and_rocksdb_s_checkpoints_hold_what_is_new(
    layout: Layout, backend: str, incremental: str
) -> None:
    said = read(layout, FlinkConfig(state_backend=backend, checkpoint_interval_ms=500))
    assert (said["state.backend.type"], said["execution.checkpointing.incremental"]) == (backend, incremental)
    assert (said["execution.checkpointing.interval"], said["execution.checkpointing.min-pause"]) == ("500 ms", "500 ms")


def test_the_environment_of_python_workers_is_kept_out_of_the_logs(layout: Layout) -> None:
    read(layout, FlinkConfig())
    for file in ("log4j.properties", "log4j-cli.properties", "log4j-console.properties"):
        lines = (layout.conf / file).read_text().splitlines()
        assert "logger.beam.name = org.apache.beam.runners.fnexecution.control" in lines
        assert "logger.beam.level = WARN" in lines


def test_the_jvm_is_given_the_memory_that_flink_counts_on() -> None:
    memory = Memory()
    heap = memory.framework_heap + memory.task_heap
    assert f"-Xmx{heap}m" in memory.flags()
    assert memory.settings()["taskmanager.memory.task.heap.size"] == f"{memory.task_heap}m"


def test_the_root_cause_is_the_innermost_with_its_python_traceback() -> None:
    trace = """org.apache.flink.runtime.JobException: Recovery is suppressed
\tat org.apache.flink.Foo.bar(Foo.java:1)
Caused by: java.lang.RuntimeException: outer
\t... 5 more
Caused by: pemja.core.PythonException: <class 'KeyError'>: 'name'
\tat /app/udfs/loop.process(loop.py:12)
\tat pemja.core.PythonInterpreter.invoke(Native Method)
"""
    assert root_cause(trace).splitlines() == [
        "Caused by: pemja.core.PythonException: <class 'KeyError'>: 'name'",
        "\tat /app/udfs/loop.process(loop.py:12)",
    ]
    assert root_cause("") == ""


def test_a_failure_is_told_with_those_of_the_tasks_that_failed_together_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Flink tells it: the root of each failure, the newest first, may be a task that was interrupted by the one that broke."""
    restore = {"stacktrace": "Could not restore", "timestamp": 7, "taskManagerId": "taskmanager-1"}
    interrupted = {"stacktrace": "java.lang.InterruptedException", "concurrentExceptions": [restore]}
    history = {"exceptionHistory": {"entries": [interrupted, {"stacktrace": "java.io.IOException: older", "concurrentExceptions": []}]}}
    monkeypatch.setattr(FlinkRest, "_call", lambda *_: history)
    rest = FlinkRest("http://127.0.0.1:1")
    together = [Failure("java.lang.InterruptedException"), Failure("Could not restore", 7, "taskmanager-1")]
    assert rest.failures("a") == [together, [Failure("java.io.IOException: older")]]
    assert rest.exception("a") == "java.lang.InterruptedException"
    monkeypatch.setattr(FlinkRest, "_call", lambda *_: {})
    assert (rest.failures("a"), rest.exception("a")) == ([], None)


def test_a_client_that_failed_in_python_is_quoted_with_the_traceback() -> None:
    said = """WARNING: Unknown module
Traceback (most recent call last):
  File "/app/jobs/orchestrator.py", line 3, in <module>
    raise ValueError("boom")
ValueError: boom
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:134)
Caused by: java.lang.RuntimeException: Python process exits with code: 1
"""
    assert client_failure(said).splitlines()[-1] == "ValueError: boom"
    assert "ProgramAbort" not in client_failure(said)


def test_a_client_that_failed_in_java_is_quoted_with_the_innermost_cause() -> None:
    said = "py4j.protocol.Py4JJavaError: x\nCaused by: a.B: outer\n\tat c.D\nCaused by: java.io.FileNotFoundException: no savepoint\n"
    assert client_failure(said) == "Caused by: java.io.FileNotFoundException: no savepoint"
    assert client_failure("") == "the client ended without a word"


def jobs(layout: Layout) -> Jobs:
    return Jobs(layout, FlinkRest("http://127.0.0.1:1"), Processes(layout.run), lambda *_: ([], {}), layout.home)


def point(folder: Path, age_s: int, complete: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "data").touch()
    if complete:
        (folder / "_metadata").touch()
        now = folder.stat().st_mtime
        os.utime(folder / "_metadata", (now - age_s, now - age_s))
    return folder


def test_a_job_resumes_from_the_newest_complete_point(layout: Layout) -> None:
    assert jobs(layout).resume_point() is None
    point(layout.checkpoints / "a" / "chk-1", age_s=30)
    newest = point(layout.checkpoints / "a" / "chk-2", age_s=20)
    point(layout.checkpoints / "a" / "chk-3", age_s=0, complete=False)
    assert jobs(layout).resume_point() == newest
    savepoint = point(layout.savepoints / "savepoint-1", age_s=10)
    assert jobs(layout).resume_point() == savepoint


def test_points_that_are_kept_and_the_present_job_s_folder_stay_and_the_rest_is_removed(layout: Layout) -> None:
    stray = point(layout.checkpoints / "stray" / "chk-4", age_s=0, complete=False)
    old = point(layout.checkpoints / "old" / "chk-9", age_s=90)
    savepoint = point(layout.savepoints / "savepoint-1", age_s=50)
    kept = [point(layout.checkpoints / "new" / f"chk-{n}", age_s=n) for n in range(2)]
    present = point(layout.checkpoints / "present" / "chk-1", age_s=0, complete=False)
    (layout.run / "job.note").write_text("present\n")
    jobs(layout).prune([*kept, savepoint])
    assert present.is_dir()
    assert all(folder.is_dir() for folder in [*kept, savepoint])
    assert not old.exists()
    assert not stray.exists()


def test_a_class_list_loses_other_loaders_and_a_line_half_written() -> None:
    lines = ["java/lang/Object id: 0\n", "x/Y id: 1 super: 0 source: /tmp/a.jar\n", "@lambda-proxy a b\n", "java/lan"]
    assert loadable(lines) == ["java/lang/Object id: 0\n", "@lambda-proxy a b\n"]
