"""Which process listens: ours, or one that was quicker; and what is left of a process that died."""

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import psutil

from loopwright.edges.platform.ports import Ports
from loopwright.edges.platform.processes import Command, Processes, Started
from loopwright.edges.platform.waiting import wait_for


def test_a_port_that_another_process_holds_is_not_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        here = Started("x", os.getpid(), psutil.Process().create_time(), (), "", {}, "")
        parent = psutil.Process(os.getppid())
        other = Started("y", parent.pid, parent.create_time(), (), "", {}, "")
        assert here.listens(port)
        assert not other.listens(port)
        assert not here.listens(port + 1 if port < 65535 else port - 1)


def test_a_port_that_another_command_replaced_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    mine, other = Ports(file), Ports(file)
    first = mine.settle("rest", False)
    with socket.create_server(("127.0.0.1", first)):
        second = other.settle("rest", False)
    assert second != first
    assert mine.known()["rest"] == second == mine.settle("rest", False)


def session(folder: Path) -> tuple[Processes, int]:
    """A process with a child that outlives it, and the child's pid."""
    processes, log = Processes(folder / "run"), folder / "log"
    processes.start(Command("part", ["sh", "-c", "sleep 600 & echo $!; wait"], {"PATH": os.defpath}, folder, log))
    assert wait_for(lambda: log.read_text().endswith("\n"), 30)
    return processes, int(log.read_text())


def test_what_is_left_of_a_process_that_died_is_ended(tmp_path: Path) -> None:
    processes, child = session(tmp_path)
    found = processes.find("part")
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    assert wait_for(lambda: processes.running("part") is None, 30)
    assert psutil.pid_exists(child)
    processes.end_remains("part")
    assert wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 30)


HEAVY = """
import threading, time
held = bytearray(256 << 20)
held[::4096] = b"x" * len(held[::4096])
for _ in range(50):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("ready", flush=True)
time.sleep(600)  # it is killed
"""


def test_a_killed_process_runs_no_more_and_is_waited_for_while_it_still_holds_what_it_had(tmp_path: Path) -> None:
    starting, other = Processes(tmp_path / "run"), Processes(tmp_path / "run")
    ending = 0
    for _ in range(20):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        started = starting.start(Command("part", [sys.executable, "-c", HEAVY], dict(os.environ), tmp_path, log))
        assert wait_for(lambda log=log: log.read_text() == "ready\n", 30)
        assert (started.alive(), started.ending()) == (True, False)
        os.kill(started.pid, signal.SIGKILL)
        assert other.running("part") is None
        ending += started.ending()
        assert other.wait_ended(30)
        assert not started.ending()
        assert psutil.Process(started.pid).num_threads() == 1  # a zombie: nobody has waited for it yet
        starting.stop("part", 1)
    assert ending > 0


def test_what_is_started_works_in_batches_and_whoever_starts_it_does_not(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "run")
    before = os.sched_getscheduler(0)
    started = processes.start(
        Command("part", [sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ), tmp_path, tmp_path / "log")
    )  # it is stopped below
    try:
        assert os.sched_getscheduler(started.pid) == os.SCHED_BATCH
        assert os.sched_getscheduler(0) == before == os.SCHED_OTHER
    finally:
        processes.stop("part", 1)


def test_nothing_is_ended_where_the_pid_of_the_dead_process_is_in_use_again(tmp_path: Path) -> None:
    processes, child = session(tmp_path)
    found = processes.find("part")
    assert found is not None
    try:
        processes._write(replace(found, created=found.created - 3600))
        processes.end_remains("part")
        assert psutil.Process(child).status() != psutil.STATUS_ZOMBIE
    finally:
        processes._write(found)
        processes.stop("part", 1)
    assert wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 30)


def test_a_process_that_is_stopped_alone_leaves_its_children(tmp_path: Path) -> None:
    processes, child = session(tmp_path)
    processes.stop("part", 5, alone=True)
    assert psutil.Process(child).status() != psutil.STATUS_ZOMBIE
    os.kill(child, signal.SIGKILL)
