from pathlib import Path

import pytest

from loopwright.agent.desk import in_progress
from loopwright.agent.idempotency import IdempotencyStore, Kept, Running, Standing

DONE = Kept(200, "{}", b'{"a":1}')
LEASE = 1000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(tmp_path: Path, clock: Clock) -> IdempotencyStore:
    return IdempotencyStore(tmp_path / "state" / "calls.sqlite", clock)


def test_the_first_request_runs_and_a_repeat_gets_its_answer(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    assert store.begin("a", "k", "f", LEASE) is Standing.MINE
    assert isinstance(store.begin("a", "k", "f", LEASE), Running)
    assert store.finish("a", "k", DONE)
    assert store.begin("a", "k", "f", LEASE) == DONE


def test_answers_outlive_the_process(tmp_path: Path, clock: Clock) -> None:
    first = opened(tmp_path, clock)
    first.begin("a", "k", "f", LEASE)
    first.finish("a", "k", DONE)
    first.close()
    assert opened(tmp_path, clock).begin("a", "k", "f", LEASE) == DONE


def test_a_key_with_another_payload_is_a_mismatch(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE)
    assert store.begin("a", "k", "other", LEASE) is Standing.MISMATCH
    store.finish("a", "k", DONE)
    assert store.begin("a", "k", "other", LEASE) is Standing.MISMATCH


def test_a_running_call_says_for_how_long(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE)
    clock.now += 7500
    standing = store.begin("a", "k", "f", LEASE)
    assert standing == Running(7500)


@pytest.mark.parametrize(("for_ms", "seconds"), [(0, "1"), (999, "1"), (7500, "7"), (10**9, "30")])
def test_the_longer_a_call_has_run_the_later_to_ask_again(for_ms: int, seconds: str) -> None:
    assert in_progress("k", for_ms).headers["retry-after"] == seconds


def test_two_agents_may_see_the_same_key(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE)
    assert store.begin("b", "k", "other", LEASE) is Standing.MINE


def test_a_released_call_runs_anew(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE)
    store.release("a", "k")
    assert store.begin("a", "k", "other", LEASE) is Standing.MINE


def test_a_dead_processes_call_is_taken_over_when_its_lease_ends(tmp_path: Path, clock: Clock) -> None:
    dead, heir = opened(tmp_path, clock), opened(tmp_path, clock)
    dead.begin("a", "k", "f", LEASE)
    assert isinstance(heir.begin("a", "k", "f", LEASE), Running)
    clock.now += LEASE
    assert heir.begin("a", "k", "f", LEASE) is Standing.MINE
    assert not dead.finish("a", "k", Kept(200, "{}", b"late")), "who lost the call must not overwrite the heir's answer"
    assert heir.finish("a", "k", DONE)
    assert dead.begin("a", "k", "f", LEASE) == DONE


def test_a_renewed_lease_is_not_taken_over(tmp_path: Path, clock: Clock) -> None:
    alive, other = opened(tmp_path, clock), opened(tmp_path, clock)
    alive.begin("a", "k", "f", LEASE)
    clock.now += LEASE - 1
    alive.renew("a", "k", LEASE)
    clock.now += LEASE - 1
    assert isinstance(other.begin("a", "k", "f", LEASE), Running)


def test_a_process_never_takes_over_its_own_running_call(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE, b"request")
    clock.now += 10 * LEASE
    assert isinstance(store.begin("a", "k", "f", LEASE), Running)
    assert store.abandoned("a", LEASE) == []


def test_accepted_work_of_a_dead_process_is_found_once(tmp_path: Path, clock: Clock) -> None:
    dead, heir, third = (opened(tmp_path, clock) for _ in range(3))
    dead.begin("a", "k", "f", LEASE, b"request")
    made = clock.now
    assert heir.abandoned("a", LEASE) == []
    clock.now += LEASE
    (found,) = heir.abandoned("a", LEASE)
    assert (found.key, found.request, found.kept, found.made_ms) == ("k", b"request", None, made)
    assert third.abandoned("a", LEASE) == []
    assert heir.abandoned("b", LEASE) == []


def test_an_undelivered_reply_is_found_with_its_answer(tmp_path: Path, clock: Clock) -> None:
    dead, heir = opened(tmp_path, clock), opened(tmp_path, clock)
    dead.begin("a", "k", "f", LEASE, b"request")
    assert dead.finish("a", "k", DONE, delivering=True)
    clock.now += LEASE
    (found,) = heir.abandoned("a", LEASE)
    assert found.kept == DONE
    heir.delivered("a", "k")
    clock.now += LEASE
    assert heir.abandoned("a", LEASE) == []


def test_a_delivered_reply_can_be_sent_once_more(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE, b"request")
    store.finish("a", "k", DONE, delivering=True)
    assert store.undelivered("a", "k", LEASE) is None, "it is being delivered"
    store.delivered("a", "k")
    again = store.undelivered("a", "k", LEASE)
    assert again is not None
    assert again.kept == DONE


def test_a_delivered_failure_that_may_be_retried_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "k", "f", LEASE, b"request")
    store.finish("a", "k", DONE, delivering=True)
    store.delivered("a", "k", forget=True)
    assert store.begin("a", "k", "f", LEASE, b"request") is Standing.MINE


def test_old_answers_are_forgotten_and_running_calls_are_not(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path, clock)
    store.begin("a", "old", "f", LEASE)
    store.finish("a", "old", DONE)
    store.begin("a", "running", "f", 10 * LEASE)
    clock.now += 5 * LEASE
    store.begin("a", "new", "f", LEASE)
    store.finish("a", "new", DONE)
    assert store.purge(4 * LEASE) == 1
    assert store.begin("a", "old", "f", LEASE) is Standing.MINE
    assert store.begin("a", "new", "f", LEASE) == DONE
    assert isinstance(store.begin("a", "running", "f", LEASE), Running)
