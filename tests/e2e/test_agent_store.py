"""The Idempotency-Key store: one contract, kept by SQLite and by a real PostgreSQL alike."""

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loopwright.agent.desk import in_progress
from loopwright.agent.idempotency import Cause, Execution, IdempotencyStore, Kept, Running, Standing, StoreUnavailable
from loopwright.agent.idempotency.opening import open_store
from loopwright.agent.idempotency.postgresql import PostgresStore
from loopwright.agent.idempotency.sqlite import SqliteStore
from loopwright.errors import InvalidSettings
from tests.e2e.postgres_here import Postgres

DONE = Kept(200, "{}", b'{"a":1}')
LEASE = 1000
numbers = itertools.count(1)
Opened = Callable[[], IdempotencyStore]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Opened]:
    """Opens the same store once more, as another process would."""
    stores: list[IdempotencyStore] = []
    url = request.getfixturevalue("postgres").database(f"contract{next(numbers)}") if request.param == "postgresql" else ""

    def make() -> IdempotencyStore:
        stores.append(PostgresStore(url, clock) if url else SqliteStore(tmp_path / "state" / "calls.sqlite", clock))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def test_the_first_request_runs_and_a_repeat_gets_its_answer(opened: Opened, clock: Clock) -> None:
    store = opened()
    assert store.begin("a", "k", "f", LEASE) is Standing.MINE
    assert isinstance(store.begin("a", "k", "f", LEASE), Running)
    assert store.finish("a", "k", DONE)
    assert store.begin("a", "k", "f", LEASE) == DONE


def test_answers_outlive_the_process(opened: Opened, clock: Clock) -> None:
    first = opened()
    first.begin("a", "k", "f", LEASE)
    first.finish("a", "k", DONE)
    first.close()
    assert opened().begin("a", "k", "f", LEASE) == DONE


def test_a_key_with_another_payload_is_a_mismatch(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE)
    assert store.begin("a", "k", "other", LEASE) is Standing.MISMATCH
    store.finish("a", "k", DONE)
    assert store.begin("a", "k", "other", LEASE) is Standing.MISMATCH


def test_a_running_call_says_for_how_long(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE)
    clock.now += 7500
    standing = store.begin("a", "k", "f", LEASE)
    assert standing == Running(7500)


@pytest.mark.parametrize(("for_ms", "seconds"), [(0, "1"), (999, "1"), (7500, "7"), (10**9, "30")])
def test_the_longer_a_call_has_run_the_later_to_ask_again(for_ms: int, seconds: str) -> None:
    assert in_progress("k", for_ms).headers["retry-after"] == seconds


def test_two_agents_may_see_the_same_key(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE)
    assert store.begin("b", "k", "other", LEASE) is Standing.MINE


def test_a_released_call_runs_anew(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE)
    store.release("a", "k")
    assert store.begin("a", "k", "other", LEASE) is Standing.MINE


def test_a_dead_processes_call_is_taken_over_when_its_lease_ends(opened: Opened, clock: Clock) -> None:
    dead, heir = opened(), opened()
    dead.begin("a", "k", "f", LEASE)
    assert isinstance(heir.begin("a", "k", "f", LEASE), Running)
    clock.now += LEASE
    assert heir.begin("a", "k", "f", LEASE) is Standing.MINE
    assert not dead.finish("a", "k", Kept(200, "{}", b"late")), "who lost the call must not overwrite the heir's answer"
    assert heir.finish("a", "k", DONE)
    assert dead.begin("a", "k", "f", LEASE) == DONE


def test_a_renewed_lease_is_not_taken_over(opened: Opened, clock: Clock) -> None:
    alive, other = opened(), opened()
    alive.begin("a", "k", "f", LEASE)
    clock.now += LEASE - 1
    alive.renew("a", "k", LEASE)
    clock.now += LEASE - 1
    assert isinstance(other.begin("a", "k", "f", LEASE), Running)


def test_a_process_never_takes_over_its_own_running_call(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE, b"request")
    clock.now += 10 * LEASE
    assert isinstance(store.begin("a", "k", "f", LEASE), Running)
    assert store.abandoned("a", LEASE) == []


def test_accepted_work_of_a_dead_process_is_found_once(opened: Opened, clock: Clock) -> None:
    dead, heir, third = (opened() for _ in range(3))
    dead.begin("a", "k", "f", LEASE, b"request")
    made = clock.now
    assert heir.abandoned("a", LEASE) == []
    clock.now += LEASE
    (found,) = heir.abandoned("a", LEASE)
    assert (found.key, found.request, found.kept, found.made_ms) == ("k", b"request", None, made)
    assert third.abandoned("a", LEASE) == []
    assert heir.abandoned("b", LEASE) == []


def test_an_undelivered_reply_is_found_with_its_answer(opened: Opened, clock: Clock) -> None:
    dead, heir = opened(), opened()
    dead.begin("a", "k", "f", LEASE, b"request")
    assert dead.finish("a", "k", DONE, delivering=True)
    clock.now += LEASE
    (found,) = heir.abandoned("a", LEASE)
    assert found.kept == DONE
    heir.delivered("a", "k")
    clock.now += LEASE
    assert heir.abandoned("a", LEASE) == []


def test_a_delivered_reply_can_be_sent_once_more(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE, b"request")
    store.finish("a", "k", DONE, delivering=True)
    assert store.undelivered("a", "k", LEASE) is None, "it is being delivered"
    store.delivered("a", "k")
    again = store.undelivered("a", "k", LEASE)
    assert again is not None
    assert again.kept == DONE


def test_a_delivered_failure_that_may_be_retried_is_forgotten(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE, b"request")
    store.finish("a", "k", DONE, delivering=True)
    store.delivered("a", "k", forget=True)
    assert store.begin("a", "k", "f", LEASE, b"request") is Standing.MINE


def test_old_answers_are_forgotten_and_running_calls_are_not(opened: Opened, clock: Clock) -> None:
    store = opened()
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


def test_what_a_process_could_not_note_down_it_runs_again(opened: Opened) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE)
    store._active.clear()  # as where the commit's answer was lost on the way
    assert store.begin("a", "k", "f", LEASE) is Standing.MINE


def test_a_reply_goes_to_where_it_was_asked_for_last(opened: Opened) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE, b"first")
    assert isinstance(store.begin("a", "k", "f", LEASE, b"second"), Running)
    assert store.request("a", "k") == b"second"
    store.finish("a", "k", DONE, delivering=True)
    store.delivered("a", "k")
    assert store.begin("a", "k", "f", LEASE, b"third") == DONE
    again = store.undelivered("a", "k", LEASE)
    assert (again is not None and again.request, store.request("a", "other")) == (b"third", None)


def test_the_executions_are_there_with_whose_they_are(opened: Opened, clock: Clock) -> None:
    store = opened()
    store.begin("a", "k", "f", LEASE, cause=Cause("w", 3, "0"))
    store.finish("a", "k", DONE)
    store.begin("b", "k", "f", LEASE)
    for number in range(2500):
        store.begin("c", f"k{number}", "f", LEASE)
    found = {(one.agent, one.key): one for one in opened().executions()}
    assert len(found) == 2502
    assert found["a", "k"] == Execution("a", "k", Cause("w", 3, "0"), clock.now, DONE)
    assert found["b", "k"].kept is None


def test_of_many_at_one_moment_one_runs_the_call(opened: Opened) -> None:
    stores = [opened() for _ in range(4)]
    gate = threading.Barrier(8)

    def ask(store: IdempotencyStore) -> list[object]:
        gate.wait()
        return [store.begin("a", f"k{number}", "f", 60_000) for number in range(25)]

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(ask, stores * 2))
    assert [sum(standing is Standing.MINE for standing in of_key) for of_key in zip(*told, strict=True)] == [1] * 25


def test_of_many_that_find_abandoned_work_one_takes_it_up(opened: Opened, clock: Clock) -> None:
    dead, heirs = opened(), [opened() for _ in range(4)]
    for number in range(20):
        dead.begin("a", f"k{number}", "f", LEASE, b"request")
    clock.now += LEASE
    with ThreadPoolExecutor(4) as threads:
        found = [one.key for claimed in threads.map(lambda heir: heir.abandoned("a", LEASE), heirs) for one in claimed]
    found += [one.key for one in heirs[0].abandoned("a", LEASE)]
    assert len(found) == len(set(found)) == 20


def test_a_file_of_an_older_version_is_read_and_written(tmp_path: Path, clock: Clock) -> None:
    old = """CREATE TABLE calls (agent TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, owner TEXT NOT NULL,
        lease_until INTEGER NOT NULL, made INTEGER NOT NULL, status INTEGER, headers TEXT NOT NULL DEFAULT '{}', body BLOB,
        request BLOB, delivered INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (agent, key))"""
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        db.execute(old)
        db.execute(
            "INSERT INTO calls (agent, key, fingerprint, owner, lease_until, made, status, body) VALUES ('a','k','f','o',0,7,200,x'7b7d')"
        )
    db.close()
    store = SqliteStore(tmp_path / "calls.sqlite", clock)
    assert store.begin("a", "k", "f", LEASE) == Kept(200, "{}", b"{}")
    store.begin("a", "new", "f", LEASE, cause=Cause("w", 1, "0"))
    assert {one.cause.workflow for one in store.executions()} == {"", "w"}
    store.close()


def test_leases_in_postgresql_go_by_the_database_s_clock(postgres: Postgres) -> None:
    url = postgres.database("clock")
    dead, heir = PostgresStore(url), PostgresStore(url)
    dead.begin("a", "k", "f", 60_000)
    assert isinstance(heir.begin("a", "k", "f", LEASE), Running)
    dead.renew("a", "k", -1)
    assert heir.begin("a", "k", "f", LEASE) is Standing.MINE
    dead.close()
    heir.close()


def test_a_database_that_was_away_is_used_again(postgres: Postgres) -> None:
    store = PostgresStore(postgres.database("away"))
    store.begin("a", "k", "f", 60_000)
    postgres.stop()
    with pytest.raises(StoreUnavailable):
        store.finish("a", "k", DONE)
    with pytest.raises(StoreUnavailable):
        store.begin("a", "other", "f", 60_000)
    postgres.start()
    assert store.finish("a", "k", DONE)
    assert store.begin("a", "other", "f", 60_000) is Standing.MINE
    postgres.stop()
    postgres.start()
    assert store.begin("a", "k", "f", 60_000) == DONE
    store.close()


def test_a_store_that_cannot_be_opened_is_said_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be opened"):
        open_store("mysql://root@host/db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        open_store(f"sqlite:///{tmp_path}/file/calls.sqlite")
    with pytest.raises(StoreUnavailable) as refused:
        open_store("postgresql://me:hunter2secret@127.0.0.1:1/db")
    assert "hunter2secret" not in f"{refused.value.what} {refused.value.why}"


@pytest.mark.parametrize("address", ["sqlite:///{}", "{}"])
def test_a_file_is_named_by_its_address_or_its_path(address: str, tmp_path: Path) -> None:
    store = open_store(address.format(tmp_path / "a folder" / "calls.sqlite"))
    store.close()
    assert (tmp_path / "a folder" / "calls.sqlite").exists()
