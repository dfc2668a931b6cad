"""Which checkpoint a job resumes from: what is seen to be damaged, and which failures come from the restore."""

from pathlib import Path

import pytest

from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.plan import Client, Healed, Plan, Report
from loopwright.edges.platform.processes import Command
from loopwright.edges.platform.restoring import MAGIC, damage, restore_failure


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
