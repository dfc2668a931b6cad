"""The state folder: who may start it, what is ours, what a wipe leaves."""

import os
from pathlib import Path

import psutil
import pytest

from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.doctor import examine
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.locking import locked
from loopwright.edges.platform.processes import Processes, Started
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import status
from loopwright.edges.platform.waiting import log_tail, wait_for
from loopwright.errors import Conflict


@pytest.fixture
def config(tmp_path: Path) -> StackConfig:
    return StackConfig(home=tmp_path / "home", cache=tmp_path / "cache", environment={})


def note(layout: Layout, name: str, pid: int, created: float) -> None:
    Processes(layout.run)._write(Started(name, pid, created, ("x",), "log", {}, ""))


def test_a_reused_pid_is_neither_ours_nor_killed(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.make()
    here = psutil.Process()
    note(layout, "kafka", here.pid, here.create_time() - 3600)
    processes = Processes(layout.run)
    assert processes.find("kafka") is not None
    assert processes.running("kafka") is None
    assert processes.stop("kafka", 0)
    assert os.getpid() == here.pid
    assert processes.names() == []


def test_a_process_is_known_again_by_another_command(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.make()
    note(layout, "kafka", os.getpid(), psutil.Process().create_time())
    found = Processes(layout.run).running("kafka")
    assert found is not None
    assert found.pid == os.getpid()


def test_a_damaged_process_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "kafka.json").write_text('{"process": {"name": "kafka"}}')
    assert Processes(tmp_path).find("kafka") is None
    assert Processes(tmp_path).names() == []


def test_two_commands_at_once_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", 0), pytest.raises(Conflict), locked(tmp_path / "lock", 0):
        pass
    with locked(tmp_path / "lock", 0):
        pass


def test_a_folder_that_was_never_a_platform_is_not_wiped(config: StackConfig) -> None:
    config.home.mkdir()
    (config.home / "letters").mkdir()
    assert Stack(config).down(wipe=True) is None
    assert (config.home / "letters").is_dir()


def test_a_wipe_leaves_the_ports_and_nothing_else_of_the_data(config: StackConfig) -> None:
    stack = Stack(config)
    stack.layout.make()
    port = stack.ports.settle("kafka", False)
    (stack.layout.kafka_data / "agent-messages-0").mkdir()
    (stack.layout.home / "outbox").mkdir()
    stack.down(wipe=True)
    assert not stack.layout.kafka_data.exists()
    assert not (stack.layout.home / "outbox").exists()
    assert Stack(config).ports.known() == {"kafka": port}


def test_a_platform_that_is_down_says_so_without_starting_anything(config: StackConfig) -> None:
    now = status(config)
    assert {s.name: s.state for s in now.services} == dict.fromkeys(["kafka", "jobmanager", "taskmanager-1"], "stopped")
    assert not now.well
    assert not config.home.exists()


def test_the_doctor_changes_nothing_and_gives_a_remedy_for_all_that_is_amiss(config: StackConfig) -> None:
    findings = examine(Stack(config))
    assert not config.home.exists()
    assert {"python", "java", "jars", "disk", "memory", "ports", "clock", "state folder", "platform"} <= {f.name for f in findings}
    assert all(f.remedy for f in findings if f.level != "ok")
    jars = next(f for f in findings if f.name == "jars")
    assert jars.level == "warning"


def test_waiting_ends_at_its_deadline_and_asks_at_least_once() -> None:
    asked: list[int] = []
    assert wait_for(lambda: asked.append(1), 0) is None
    assert asked == [1]
    assert wait_for(lambda: len(asked), 0) == 1


def test_the_end_of_a_log_is_its_last_lines_that_say_something(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"one\n\ntwo\xff\n\nthree\n")
    assert log_tail(log, 2) == "two\ufffd\nthree"
    assert log_tail(tmp_path / "none") == ""
