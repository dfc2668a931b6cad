"""`loopwright verify` as a process: the logs on librdkafka's mock broker, the agents' stores as they are."""

import time
from pathlib import Path

import pytest

from loopwright.agent.idempotency import Cause, IdempotencyStore, Kept
from loopwright.agent.idempotency.opening import open_store
from loopwright.workflow.calls import idempotency_key
from tests.e2e.postgres_here import Postgres
from tests.e2e.test_cli_kafka import broker
from tests.e2e.test_cli_resume import work

__all__ = ["broker"]
DONE = Kept(200, "{}", b'{"greeting": "Hi"}')


def execute(store: IdempotencyStore, workflow: str, key: str) -> None:
    agent = f"agent-of-{workflow}"
    store.begin(agent, key, "f", 1000, cause=Cause(workflow, 1, "0"))
    store.finish(agent, key, DONE)


def backdated(store: IdempotencyStore) -> None:
    """Older than the seconds in which nothing is judged."""
    with store.transaction() as db:
        db.execute(f"UPDATE {store.table} SET made = made - 60000")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "sqlite":
        yield str(tmp_path / "calls.sqlite")
        return
    server = Postgres()
    yield server.url
    server.close()


def test_the_stores_of_agents_are_held_against_the_logs(broker, store):
    name = f"verified-{Path(store).suffix or 'pg'}"
    work(broker, name, end=False, agent=f"agent-of-{name}")
    opened = open_store(store)
    execute(opened, name, idempotency_key(name, 1, "0"))
    backdated(opened)
    report = broker.json("verify", "--store", store)
    assert (report["holds"], report["witness"]["executions"]) == (True, 1)
    execute(opened, name, "another-key")
    backdated(opened)
    opened.close()
    report = broker.json("verify", "--store", store, code=1)
    assert [(finding["workflow"], finding["invariant"]) for finding in report["broken"]] == [(name, "effect-twice")]
    shown = broker.run("verify", "--store", store, code=1).stdout
    assert b"executions in the agents' stores: 2" in shown
    assert b"1 broken" in shown
    assert broker.json("verify")["holds"], "the logs alone do not show it"


def test_since_takes_a_duration_or_a_time(broker):
    work(broker, "recent", end=False)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    assert broker.json("verify", "--since", later)["counts"]["workflows"] == 0
    assert broker.json("verify", "--since", "2h")["counts"]["workflows"] > 0
    assert broker.json("verify", "--since", "2026-01-31T12:00:00+01:00")["counts"]["workflows"] > 0
    for wrong in ("yesterday", "2026-01-31T12:00:00", "5 parsecs"):
        broker.run("verify", "--since", wrong, code=2)


def test_a_store_that_is_not_there_is_said(broker, tmp_path):
    missing = tmp_path / "calls.sqlite"
    assert broker.json("verify", "--store", str(missing), code=3)["error"] == "StoreUnavailable"
    assert not missing.exists()
    assert broker.json("verify", "--store", "mysql://host/db", code=2)["error"] == "InvalidSettings"
    away = broker.json("verify", "--store", "postgresql://me:hunter2secret@127.0.0.1:1/db", code=3)
    assert "hunter2secret" not in str(away)
