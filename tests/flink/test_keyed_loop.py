"""The shell round a decider, on a real Flink: each way to wake it has to give the same."""

from functools import partial

import pytest

from tests.flink.counting import GatedPerformer, RaisingPerformer
from tests.flink.minicluster import Stage

WAYS = [("thread", "mailbox"), ("thread", "timer"), ("process", "timer")]
IN_THE_JVM = WAYS[:2]


def performer(stage: Stage) -> partial[GatedPerformer]:
    return partial(GatedPerformer, stage.gate, stage.diary)


@pytest.mark.parametrize(("mode", "wakeup"), WAYS)
def test_the_contract_of_a_wakeup(stage: Stage, mode: str, wakeup: str) -> None:
    stage.run(mode, wakeup, performer(stage))

    stage.send("counts", *[{"do": "count"}] * 3)
    stage.until("state survives from record to record", lambda: len(stage.out("counts")) == 3)
    assert [one["count"] for one in stage.out("counts")] == [1, 2, 3]
    assert stage.out("counts")[0]["headers"] == ["from"]

    stage.send("sleeps", {"do": "later", "ms": 50})
    stage.until("a timer wakes its key", lambda: stage.seen("sleeps") == ["later", "wake"])

    for n in range(20):
        stage.send(f"w{n}", {"do": "call", "id": f"c{n}"})
    stage.until("calls of different keys overlap", lambda: len(stage.noted("start")) == 20)
    assert max(running for _, running in stage.noted("start")) == 20
    stage.gate.touch()
    stage.until("every outcome comes back", lambda: stage.seen().count("outcome") == 20)
    assert {one["key"]: one["echo"] for one in stage.out() if one["saw"] == "outcome"} == {f"w{n}": f"c{n}" for n in range(20)}

    stage.send("needs", {"do": "need", "name": "a/b@1"})
    stage.send("needs too", {"do": "need", "name": "a/b@1"})
    stage.until("keys wait for a definition", lambda: stage.seen("needs") and stage.seen("needs too"))
    stage.define("a/b@1", "text")
    stage.until("a definition wakes them", lambda: "definition" in stage.seen("needs") and "definition" in stage.seen("needs too"))

    stage.send("counts", {"do": "forget"}, {"do": "count"})
    stage.until("a forgotten key starts anew", lambda: len(stage.out("counts")) == 5)
    assert stage.out("counts")[-1]["count"] == 1


def test_the_mailbox_wakes_a_task_without_any_timer(stage: Stage) -> None:
    never = 3_600_000
    stage.run("thread", "mailbox", performer(stage), guard_ms=never, poll_ms=never)
    stage.gate.touch()
    stage.send("w", {"do": "call", "id": "c"})
    stage.until("the outcome comes back", lambda: stage.seen("w") == ["call", "outcome"])


@pytest.mark.parametrize(("mode", "wakeup"), WAYS)
def test_pending_calls_are_made_again_after_a_restore(stage: Stage, mode: str, wakeup: str) -> None:
    stage.run(mode, wakeup, performer(stage))
    stage.define("a/b@1", "text")
    stage.send("w", {"do": "call", "id": "first"}, {"do": "call", "id": "second"})
    stage.send("sleeps", {"do": "later", "ms": 3_600_000})
    stage.until("both calls run", lambda: len(stage.noted("start")) == 2 and stage.seen("sleeps"))

    stage.run(mode, wakeup, performer(stage), savepoint=stage.stop())
    stage.until("both are made again", lambda: len(stage.noted("start")) == 4)
    stage.send("needs", {"do": "need", "name": "a/b@1"})
    stage.until("the catalogue was restored", lambda: stage.seen("needs") == ["definition"])

    stage.gate.touch()
    stage.until("both come back", lambda: stage.seen("w").count("outcome") == 2)
    assert sorted(call for call, _ in stage.noted("start")) == ["first", "first", "second", "second"]
    assert sorted(one["id"] for one in stage.out("w") if one["saw"] == "outcome") == ["first", "second"]


@pytest.mark.parametrize(("mode", "wakeup"), IN_THE_JVM)
def test_after_a_failure_the_calls_of_the_failed_task_are_cancelled_and_made_again(stage: Stage, mode: str, wakeup: str) -> None:
    again = {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "1",
        "restart-strategy.fixed-delay.delay": "0 s",
    }
    stage.run(mode, wakeup, performer(stage), conf={**again, "execution.checkpointing.interval": "1 h"})
    stage.send("w", {"do": "call", "id": "c"})
    stage.until("the call runs", lambda: stage.noted("start"))
    stage.cluster.checkpoint(stage.job)
    stage.send("bad", {"do": "raise", "unless": str(stage.folder / "raised")})
    stage.until("the call is cancelled and made again", lambda: stage.noted("cancel") and len(stage.noted("start")) == 2)
    stage.gate.touch()
    stage.until("it comes back", lambda: "outcome" in stage.seen("w"))
    stage.until("the record that failed was read again", lambda: stage.seen("bad") == ["raise"])
    assert stage.seen("w") == ["call", "outcome"]
    assert len(stage.noted("finish")) == 1


def test_pending_calls_and_timers_move_with_their_keys_when_the_parallelism_changes(stage: Stage) -> None:
    stage.run("thread", "mailbox", performer(stage))
    for n in range(20):
        stage.send(f"w{n}", {"do": "call", "id": f"c{n}"})
    stage.until("the calls run", lambda: len(stage.noted("start")) == 20)
    stage.run("thread", "mailbox", performer(stage), savepoint=stage.stop(), parallelism=2)
    stage.until("all are made again", lambda: len(stage.noted("start")) == 40)
    assert len(stage.noted("open")) == 3, "each of the two new instances has a performer"
    stage.gate.touch()
    stage.until("all come back", lambda: stage.seen().count("outcome") == 20)


@pytest.mark.parametrize(("mode", "wakeup"), IN_THE_JVM)
def test_the_end_of_a_task_cancels_its_calls_and_closes_its_performer(stage: Stage, mode: str, wakeup: str) -> None:
    stage.run(mode, wakeup, performer(stage))
    stage.send("w", {"do": "call", "id": "c"})
    stage.until("the call runs", lambda: stage.noted("start"))
    stage.cluster.cancel(stage.job)
    stage.until("the call is cancelled, then the performer closed", lambda: stage.noted("cancel") and stage.noted("close"))
    stage.gate.touch()
    assert not stage.noted("finish")


@pytest.mark.parametrize(("mode", "wakeup"), WAYS)
def test_at_the_cap_records_wait_and_none_is_dropped(stage: Stage, mode: str, wakeup: str) -> None:
    stage.run(mode, wakeup, performer(stage), max_in_flight=2)
    for n in range(10):
        stage.send(f"w{n}", {"do": "call", "id": f"c{n}"})
    stage.until("two calls run", lambda: len(stage.noted("start")) == 2)
    stage.gate.touch()
    stage.until("all are made", lambda: stage.seen().count("outcome") == 10)
    assert max(running for _, running in stage.noted("start")) == 2


@pytest.mark.parametrize(("mode", "wakeup"), WAYS)
def test_at_the_cap_checkpoints_and_records_wait_for_seconds_and_not_for_a_call_to_come_back(stage: Stage, mode: str, wakeup: str) -> None:
    stage.run(mode, wakeup, performer(stage), max_in_flight=1)
    stage.send("w", {"do": "call", "id": "first"})
    stage.until("the call runs", lambda: stage.noted("start"))
    stage.send("v", {"do": "call", "id": "second"})
    stage.send("u", {"do": "count"})
    assert stage.cluster.savepoint(stage.job, stage.folder / "savepoints")
    stage.until("the records behind it are taken in", lambda: stage.seen("v") and stage.seen("u"))
    assert [call for call, _ in stage.noted("start")] == ["first"], "no more calls than allowed run at a time"
    stage.gate.touch()
    stage.until("all come back", lambda: stage.seen().count("outcome") == 2)
    assert max(running for _, running in stage.noted("start")) == 1


@pytest.mark.parametrize(("mode", "wakeup"), WAYS)
def test_while_many_keys_wait_for_something_that_is_down_records_are_taken_in_slowly(stage: Stage, mode: str, wakeup: str) -> None:
    up = stage.folder / "up"
    stage.run(mode, wakeup, performer(stage), max_waiting=2)
    for n in range(5):
        stage.send(f"w{n}", {"do": "hold", "until": str(up)})

    def held_back() -> int:
        return stage.cluster.counters(stage.job, "loop").get("held_back", 0)

    stage.until("all are taken in, the last three after a pause", lambda: stage.seen().count("hold") == 5 and held_back() == 3)
    up.touch()
    stage.until("timers are heard all the while", lambda: stage.seen().count("up") == 5)
    stage.send("x", {"do": "count"}, {"do": "count"})
    stage.until("now records are taken in as they come", lambda: len(stage.out("x")) == 2)
    assert held_back() == 3


def test_a_task_that_is_held_back_can_be_cancelled(stage: Stage) -> None:
    stage.run("thread", "mailbox", performer(stage), max_in_flight=1)
    stage.send("w", {"do": "call", "id": "first"}, {"do": "call", "id": "second"})
    stage.until("one call runs", lambda: stage.noted("start"))
    stage.cluster.cancel(stage.job)
    stage.until("its performer is closed", lambda: stage.noted("close"))
    assert [call for call, _ in stage.noted("start")] == ["first"]


@pytest.mark.parametrize(("mode", "wakeup"), WAYS[::2])
def test_what_a_decider_counts_is_a_flink_counter(stage: Stage, mode: str, wakeup: str) -> None:
    stage.run(mode, wakeup, performer(stage))
    stage.gate.touch()
    stage.send("w", {"do": "count"}, {"do": "count"}, {"do": "call", "id": "c"})
    wanted = {"count": 2, "call": 1, "outcome": 1, "calls_started": 1}
    stage.until("the counters are there", lambda: stage.cluster.counters(stage.job, "loop") == wanted)


def test_a_checkpoint_does_not_wait_for_calls_in_flight(stage: Stage) -> None:
    stage.run("thread", "mailbox", performer(stage))
    stage.send("w", {"do": "call", "id": "c"})
    stage.until("the call runs", lambda: stage.noted("start"))
    assert stage.cluster.savepoint(stage.job, stage.folder / "savepoints")
    assert not stage.noted("finish")


def test_a_decider_that_raises_fails_the_job(stage: Stage) -> None:
    stage.run("thread", "mailbox", performer(stage))
    stage.send("w", {"do": "raise", "unless": str(stage.folder / "raised")})
    stage.until("the job failed", lambda: stage.cluster.status(stage.job) == "FAILED")
    assert "asked to raise" in stage.cluster.failure(stage.job)


def test_a_performer_that_raises_fails_the_job(stage: Stage) -> None:
    stage.run("thread", "mailbox", RaisingPerformer)
    stage.send("w", {"do": "call", "id": "c"})
    stage.until("the job failed", lambda: stage.cluster.status(stage.job) == "FAILED")
    assert "call c of w broke its performer" in stage.cluster.failure(stage.job)


@pytest.mark.parametrize(("mode", "wakeup"), WAYS)
def test_a_savepoint_holds_the_timer_of_every_key_whose_record_it_holds(stage: Stage, mode: str, wakeup: str) -> None:
    """In process mode Flink is told of timers by the worker, at the end of a bundle of records."""
    stage.run(mode, wakeup, performer(stage))
    keys = {f"w{n}" for n in range(400)}
    for key in keys:
        stage.send(key, {"do": "later", "ms": 15_000})
    stage.until("some are in", lambda: len(stage.seen()) > 10)
    savepoint = stage.cluster.savepoint(stage.job, stage.folder / "savepoints")
    assert "wake" not in stage.seen(), "the savepoint came too late to hold all timers"
    stage.stop()
    stage.forget_output()
    stage.run(mode, wakeup, performer(stage), savepoint=savepoint)
    stage.until("every key is woken after a restore", lambda: {one["key"] for one in stage.out() if one["saw"] == "wake"} == keys)
