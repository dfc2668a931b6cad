"""A job of one's own in SQL: it goes on where it stopped, is not begun twice, and is not left to fail for ever."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from loopwright.edges.platform.flink_rest import JobInfo, JobState
from loopwright.edges.platform.jobs import Jobs
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.pipelines import Pipeline, passing
from loopwright.edges.platform.processes import Processes
from loopwright.errors import Conflict, NotFound, PlatformFailed

OLD, NEW = "b" * 32, "c" * 32
RUNNING = JobInfo(NEW, "x", "RUNNING", 2, 2, 1000, 0, None, None, False, None)


@dataclass
class Cluster:
    """A REST API that knows these jobs."""

    known: dict[str, JobInfo] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    def job(self, id_: str) -> JobInfo:
        if id_ not in self.known:
            raise NotFound("Flink does not know that")
        return self.known[id_]

    def states(self) -> dict[str, JobState]:
        return {id_: JobState(info.state, info.running) for id_, info in self.known.items()}

    def cancel(self, id_: str, _seconds: float) -> bool:
        self.cancelled.append(id_)
        self.known.pop(id_)
        return True

    def stop_with_savepoint(self, id_: str, folder: str, _seconds: float) -> str:
        self.known.pop(id_)
        return f"{folder}/savepoint-1"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def pipeline(tmp_path: Path, cluster: Cluster) -> Pipeline:
    layout = Layout.at(tmp_path)
    layout.make()
    jobs = Jobs(layout, cluster, Processes(layout.run), lambda *_: ([], {}), tmp_path)  # type: ignore[arg-type]
    return Pipeline.of("sink-x", jobs)


def checkpoint(pipeline: Pipeline, job: str, number: int) -> Path:
    point = pipeline.jobs.layout.checkpoints / job / f"chk-{number}"
    point.mkdir(parents=True)
    (point / "_metadata").write_text("m")
    return point


def test_what_it_keeps_lies_where_the_platforms_job_does_not_look(tmp_path: Path, pipeline: Pipeline) -> None:
    checkpoint(pipeline, OLD, 1)
    theirs = Layout.at(tmp_path)
    assert not list(theirs.checkpoints.rglob("_metadata"))
    for told in (pipeline.options(), passing(theirs)):
        assert told["execution.checkpointing.dir"] != theirs.checkpoints.as_uri()
        assert told["execution.checkpointing.savepoint-dir"] != theirs.savepoints.as_uri()


def test_the_first_run_begins_afresh_and_a_later_one_at_the_newest_point(pipeline: Pipeline) -> None:
    assert "execution.state-recovery.path" not in pipeline.options()
    checkpoint(pipeline, OLD, 1)
    newest = checkpoint(pipeline, OLD, 2)
    assert pipeline.options()["execution.state-recovery.path"] == newest.as_uri()
    assert "execution.state-recovery.path" not in pipeline.options(fresh=True)


def test_one_that_runs_is_not_begun_again(pipeline: Pipeline, cluster: Cluster) -> None:
    pipeline.refuse_second()
    cluster.known[NEW] = RUNNING
    assert pipeline.begun([NEW], 1) == NEW
    with pytest.raises(Conflict, match="sink-x runs already"):
        pipeline.refuse_second()
    cluster.known[NEW] = replace(RUNNING, state="FAILED")
    pipeline.refuse_second()


def test_once_it_runs_what_an_earlier_run_kept_is_gone_but_for_where_it_went_on(pipeline: Pipeline, cluster: Cluster) -> None:
    far, near = checkpoint(pipeline, "d" * 32, 1), checkpoint(pipeline, OLD, 2)
    cluster.known[NEW] = RUNNING
    pipeline.begun([NEW], 1)
    assert near.is_dir()
    assert not far.exists()


@pytest.mark.parametrize(
    "info",
    [
        replace(RUNNING, state="RESTARTING", tasks_running=0, exception="FATAL: password authentication failed"),
        replace(RUNNING, state="FAILED", tasks_running=0, exception="FATAL: password authentication failed"),
    ],
)
def test_one_that_fails_at_once_is_told_with_its_reason_and_ended(pipeline: Pipeline, cluster: Cluster, info: JobInfo) -> None:
    kept = checkpoint(pipeline, OLD, 1)
    pipeline.jobs.remember(OLD)
    cluster.known[NEW] = info
    with pytest.raises(PlatformFailed, match="password authentication failed"):
        pipeline.begun([NEW], 1)
    assert cluster.cancelled == ([NEW] if info.state == "RESTARTING" else [])
    assert pipeline.jobs.noted() == OLD
    assert kept.is_dir()


def test_one_that_does_not_come_to_run_is_ended(pipeline: Pipeline, cluster: Cluster) -> None:
    cluster.known[NEW] = replace(RUNNING, tasks_running=1)
    with pytest.raises(PlatformFailed, match="not all of it runs"):
        pipeline.begun([NEW], 0)
    assert cluster.cancelled == [NEW]


@pytest.mark.parametrize("count", [0, 2])
def test_a_script_that_is_not_one_job_is_refused_and_leaves_none(pipeline: Pipeline, cluster: Cluster, count: int) -> None:
    ids = [str(number) * 32 for number in range(count)]
    cluster.known.update(dict.fromkeys(ids, RUNNING))
    with pytest.raises(PlatformFailed, match=f"became {count} jobs"):
        pipeline.begun(ids, 1)
    assert cluster.cancelled == ids


def test_it_is_stopped_with_a_savepoint(pipeline: Pipeline, cluster: Cluster) -> None:
    with pytest.raises(NotFound, match="does not run"):
        pipeline.stop()
    cluster.known[NEW] = RUNNING
    pipeline.begun([NEW], 1)
    assert pipeline.stop() == pipeline.jobs.layout.savepoints / "savepoint-1"
    assert pipeline.running() is None
