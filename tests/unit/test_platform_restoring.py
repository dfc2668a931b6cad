"""Which checkpoint a job resumes from: what is seen to be damaged, and which failures come from the restore."""

import os
import signal
from pathlib import Path

import pytest

from loopwright.edges.platform.flink_rest import Failure
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.plan import Client, Healed, Plan, Report
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.restoring import DIED, MAGIC, SPOILED, damage, restore_failure, unusable
from loopwright.edges.platform.waiting import wait_for


def test_a_damaged_or_missing_metadata_file_is_seen_before_anything_is_submitted(tmp_path: Path) -> None:
    assert "cannot be read" in damage(tmp_path)
    (tmp_path / "_metadata").write_bytes(b"")
    assert "damaged" in damage(tmp_path)
    (tmp_path / "_metadata").write_bytes(MAGIC + b"\x00\x00\x00\x06")
    assert damage(tmp_path) == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("java.lang.Exception: Exception while creating StreamOperatorStateContext.\n\tat org.apache.flink", True),
        ("Caused by: org.apache.flink.util.FlinkException: Could not restore keyed state backend for X from any of the 1 provided", True),
        ("Caused by: org.apache.flink.runtime.state.BackendBuildingException: Failed when trying to restore heap backend", True),
        ("\tat org.apache.flink.runtime.checkpoint.CheckpointCoordinator.restoreSavepoint(CheckpointCoordinator.java:1)", True),
        ("org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: describeTopics", False),
        ("pemja.core.PythonException: <class 'KeyError'>: 'name'", False),
        ("org.apache.flink.util.FlinkException: The TaskExecutor is shutting down.", False),
        ("", False),
    ],
)
def test_only_a_failure_of_the_restore_counts_against_a_checkpoint(said: str, expected: bool) -> None:
    assert restore_failure(said) is expected


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.make()
    part = Command("kafka", ["java", "-x"], {"KEY": "value"}, tmp_path, tmp_path / "log", {"kafka": 9092}, "127.0.0.1:9092")
    job = Job(Path("job.py"), ["a"], [Path("b.py")], {"C": "d"})
    plan = Plan(layout.home, (part,), "http://127.0.0.1:1", job, Client(("java",), {"E": "f"}, tmp_path), 7.0)
    assert Plan.read(plan.write()) == Plan(
        layout.home, (part,), plan.flink, Job(job.script, ["a"], (Path("b.py"),), {"C": "d"}), plan.client, 7.0
    )


def test_a_report_is_read_as_it_was_written_and_a_damaged_one_is_empty(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.make()
    report = Report({"kafka": Healed(2, "its process ended"), "job": Healed(1, "it failed", "no checkpoint")})
    report.write(layout)
    assert Report.read(layout) == report
    (layout.run / "supervisor.report").write_text('{"healed": {"kafka": 3}}')
    assert Report.read(layout) == Report()


INTERRUPTED = """java.lang.Error: java.lang.InterruptedException
\tat pemja.core.PythonInterpreter$MainInterpreter.initialize(PythonInterpreter.java:406)
\tat pemja.core.PythonInterpreter.initialize(PythonInterpreter.java:144)
"""


@pytest.mark.parametrize(
    ("trace", "after_ms", "manager", "expected"),
    [
        (INTERRUPTED, 2000, "taskmanager-1", {"taskmanager-1": SPOILED}),
        (INTERRUPTED, -2000, "taskmanager-1", {}),  # the process before the present one
        (INTERRUPTED, 2000, "taskmanager-2", {}),  # which is none of ours
        (INTERRUPTED, 2000, "", {}),
        ("java.lang.InterruptedException\n\tat java.base/java.lang.Object.wait(Native Method)", 2000, "taskmanager-1", {}),
    ],
)
def test_a_task_manager_is_unusable_where_python_was_interrupted_in_its_present_process_or_where_it_died(
    tmp_path: Path, trace: str, after_ms: int, manager: str, expected: dict[str, str]
) -> None:
    processes = Processes(tmp_path / "run")
    started = processes.start(Command("taskmanager-1", ["sleep", "600"], dict(os.environ), tmp_path, tmp_path / "log"))
    processes.start(Command("another", ["true"], dict(os.environ), tmp_path, tmp_path / "log"))
    failures = [[Failure("java.io.IOException")], [Failure("x"), Failure(trace, int(started.created * 1000) + after_ms, manager)]]
    try:
        assert unusable(failures, processes) == expected
    finally:
        os.kill(started.pid, signal.SIGKILL)
    assert wait_for(lambda: processes.running("taskmanager-1") is None, 30)
    assert unusable(failures, processes) == {"taskmanager-1": DIED}
