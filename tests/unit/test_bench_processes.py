"""Processes of the benchmark: how one says that it is ready, and why it is not; whose descendants are whose."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from bench.processes import Child, NotReady, cpu_s, descendants, end, last_words, memory_mib, pinned, tree


def child(script: str, tmp_path: Path) -> Child:
    return Child(["sh", "-c", script], tmp_path / "log", None, dict(os.environ))


def test_a_process_is_ready_when_it_says_so(tmp_path: Path) -> None:
    one = child("echo warming up; echo ready; exec sleep 60", tmp_path)
    one.wait_ready(10)
    assert [process.pid for process in tree(one.pid)] == [one.pid]
    assert memory_mib(tree(one.pid)) > 0
    assert cpu_s(tree(one.pid)) >= 0
    assert one.stop(10)
    assert tree(one.pid) == []


def test_the_last_thing_that_it_said_tells_why_it_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no server here"):
        child("echo no server here; exit 1", tmp_path).wait_ready(10)
    with pytest.raises(NotReady, match="ended with code 3"):
        child("exit 3", tmp_path).wait_ready(10)


def test_a_process_that_says_nothing_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    one = child("exec sleep 60", tmp_path)
    with pytest.raises(NotReady, match="not ready within 0 s"):
        one.wait_ready(0.01)
    one.stop(10)


def test_descendants_are_told_apart_by_whose_they_are(tmp_path: Path) -> None:
    mine = child("sleep 60 & echo ready; wait", tmp_path)
    mine.wait_ready(10)
    with subprocess.Popen(["sleep", "60"]) as other:
        left = descendants([mine.pid])
        assert other.pid in {one.pid for one in left}
        assert mine.pid not in {one.pid for one in left}
        assert len(tree(mine.pid)) == 2
        sleeper = tree(mine.pid)[1:]
        assert end(lambda: [one for one in sleeper if one.is_running()]) >= 1
        other.kill()
    mine.stop(10)


def test_a_pin_is_taken_off_again() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with pinned(core):
        assert psutil.Process().cpu_affinity() == [core]
    assert os.sched_getaffinity(0) == before


def test_a_process_is_put_on_its_core_by_one_that_is_pinned_to_another(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    with pinned(max(usable)):
        one = Child(["sh", "-c", "sleep 60 & echo ready; wait"], tmp_path / "log", min(usable), dict(os.environ))
        one.wait_ready(10)
    assert [process.cpu_affinity() for process in tree(one.pid)] == [[min(usable)]] * 2
    end(lambda: tree(one.pid)[1:])
    one.stop(10)


def test_the_last_words_are_the_last_line_that_says_something() -> None:
    assert last_words(["first", "", "the reason ", "  "]) == "the reason"
    assert last_words([]) == ""
