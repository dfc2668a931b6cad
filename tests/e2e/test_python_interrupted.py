"""A TaskManager whose Python is interrupted while it starts can never start it again: `up` and the supervisor replace its process.

Python is made slow to start, so that the interruption comes in time; all else is real.
"""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from loopwright.edges.kafka import TopicSpec
from loopwright.edges.platform.config import Progress, StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.restoring import DIED, SPOILED
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import status
from loopwright.edges.platform.waiting import wait_for
from loopwright.settings import read_settings
from tests.e2e.test_platform import Counting, bare_environment

HERE = Path(__file__).parent
SLOW = """
import os, pathlib, sys, time
slow, pid = pathlib.Path(__file__).with_name("slow"), str(os.getpid())
if slow.exists() and not sys.orig_argv[1:]:  # in a JVM
    slow.with_name(f"starts-in-{pid}").touch()
    while slow.exists() and slow.read_text() in ("", pid):
        time.sleep(0.05)  # it starts for as long as the test wants it to
    slow.with_name(f"started-in-{pid}").touch()
"""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[StackConfig]:
    home, python = tmp_path / "home", tmp_path / "python"
    for folder in (home, python):
        folder.mkdir()
    (python / "sitecustomize.py").write_text(SLOW)
    broker = f"127.0.0.1:{Ports(home / 'run' / 'ports.json').settle('kafka', False)}"
    config = StackConfig(
        home=home,
        cache=read_settings().cache_dir(),
        environment=bare_environment(tmp_path),
        topics=(TopicSpec("in"), TopicSpec("out")),
        job=Job(HERE / "one_python_task_job.py", [broker]),
        python_paths=(HERE, python),
        folder=home,
        supervisor=False,
    )
    yield config
    Stack(config).down(wipe=True)


def slow(config: StackConfig) -> Path:
    return config.python_paths[1] / "slow"


def python(stack: Stack, name: str, how: Literal["starts", "started"]) -> bool:
    """Whether Python is about to start in this TaskManager, or has started."""
    return (slow(stack.config).with_name(f"{how}-in-{pid(stack, name)}")).exists()


def pid(stack: Stack, name: str) -> int:
    found = stack.processes.running(name)
    return found.pid if found is not None else 0


def counted(stack: Stack) -> None:
    counting = Counting(stack.endpoints, "afterwards")
    counting.send(1, 20)
    assert counting.reaches(20) == {f"afterwards:{n}": {1} for n in range(1, 21)}


@pytest.mark.parametrize(("over", "why"), [(True, SPOILED), (False, DIED)])
def test_up_replaces_a_taskmanager_whose_python_was_interrupted_while_it_started(config: StackConfig, over: bool, why: str) -> None:
    """A second start of Python while the interrupted one is still under way ends the process, a later one fails for ever."""
    stack = Stack(replace(config, job=None))
    stack.up()
    before = pid(stack, "taskmanager-1")
    slow(config).write_text(str(before))
    job = stack.jobs.submit(config.job)
    assert wait_for(lambda: python(stack, "taskmanager-1", "starts"), 60)
    assert stack.rest.cancel(job, 60)
    if over:
        slow(config).unlink()
        assert wait_for(lambda: python(stack, "taskmanager-1", "started"), 60)
    told: list[Progress] = []
    Stack(config, told.append).up()
    assert any(why in progress.detail for progress in told)
    assert pid(stack, "taskmanager-1") != before
    counted(stack)


def test_the_supervisor_replaces_a_taskmanager_whose_python_was_interrupted_while_it_started(config: StackConfig) -> None:
    config = replace(config, supervisor=True, flink=FlinkConfig(task_managers=2, slots=1, parallelism=2))
    stack = Stack(config)
    stack.up()
    slow(config).touch()
    for name in ("taskmanager-1", "taskmanager-2"):
        os.kill(pid(stack, name), signal.SIGKILL)
    assert wait_for(lambda: python(stack, "taskmanager-1", "starts"), 60)
    before = interruptions(stack, "taskmanager-1")
    os.kill(pid(stack, "taskmanager-2"), signal.SIGKILL)
    assert wait_for(lambda: interruptions(stack, "taskmanager-1") > before, 60)
    slow(config).unlink()
    assert wait_for(lambda: SPOILED in healed(config, "taskmanager-1"), 60)
    assert wait_for(stack.jobs.running, 60)
    counted(stack)


def interruptions(stack: Stack, name: str) -> int:
    """How often a task was cancelled in this TaskManager."""
    return stack.layout.log(name).read_text().count("Triggering cancellation of task code")


def healed(config: StackConfig, name: str) -> str:
    """Why the supervisor started this part last."""
    return next(one.healed_why for one in status(config).services if one.name == name)
