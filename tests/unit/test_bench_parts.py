"""Where the processor time goes: parts by what a process is and what a thread is called."""

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from bench.parts import OTHER, compiling_s, per_hop_ms, used_s, what_does, what_is


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["java", "-Xmx538m", "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", "c"], "TaskManager"),
        (["java", "kafka.Kafka", "server.properties"], "Kafka"),
        (["python", "-m", "bench.peers.loopwright", "serve"], OTHER),
        ([], OTHER),
    ],
)
def test_a_process_is_known_by_its_command_line(command: list[str], expected: str) -> None:
    assert what_is(command) == expected


@pytest.mark.parametrize(
    ("thread", "expected"),
    [
        ("route -> DataSt", "deciding, state, calls"),
        ("dispatch -> Dat", "deciding, state, calls"),
        ("Source: KafkaSo", "reading records apart"),
        ("Source Data Fet", "fetching from Kafka"),
        ("kafka-producer-", "writing to Kafka"),
        ("C1 CompilerThre", "compiling"),
        ("flink-pekko.act", OTHER),
    ],
)
def test_a_thread_is_known_by_its_name(thread: str, expected: str) -> None:
    assert what_does(thread) == expected


def test_what_was_used_between_two_readings_is_shared_out_among_the_hops() -> None:
    assert per_hop_ms({"Kafka": 1.0}, {"Kafka": 2.0, "new": 0.5}, 500) == {"Kafka": 2.0, "new": 1.0}
    assert per_hop_ms({"ended": 3.0}, {"ended": 2.0}, 500) == {"ended": 0.0}
    assert per_hop_ms({}, {"Kafka": 1.0}, 0) == {}


def test_the_threads_of_a_task_manager_are_read_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    here = psutil.Process()
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: ["org.apache.flink.runtime.taskexecutor.TaskManagerRunner"])
    idle = threading.Thread(target=time.sleep, args=(600,), daemon=True)
    idle.start()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    found = used_s([here])
    assert set(found) == {f"TaskManager: {OTHER}"}
    assert sum(found.values()) == pytest.approx(sum(os.times()[:2]), rel=0.5)


def test_what_compilers_use_is_told_by_their_threads() -> None:
    here, named, ended = psutil.Process(), threading.Event(), threading.Event()

    def compiler() -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("C2 CompilerThre")
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        named.set()
        ended.wait(60)

    assert compiling_s([here]) == 0
    thread = threading.Thread(target=compiler, daemon=True)
    thread.start()
    assert named.wait(60)
    assert 0.1 <= compiling_s([here]) <= 0.4
    ended.set()
    thread.join()
