"""Agents that share their Idempotency-Key store through a real PostgreSQL: processes that die, and a database that is away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from loopwright.agent import Task, create_app
from tests.e2e.http_here import free_port, process, running, until
from tests.e2e.postgres_here import Postgres
from tests.e2e.test_agents_http import Inbox, Post, echo, inbox, later, posting

__all__ = ["inbox"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


def status_200(post: Post) -> list[int]:
    """The statuses of repeats, up to the first 200."""
    statuses: list[int] = []

    def answered() -> bool:
        statuses.append(post({"text": "hi"}).status_code)
        return statuses[-1] == 200

    until(answered, "the lease to end")
    return statuses


def test_the_call_of_a_killed_process_is_taken_over_by_another_one_on_the_same_database(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database("killed")
    ports = free_port(), free_port()
    arguments = ("-m", "tests.e2e.slow_agent", "--reply", "response", "--state", str(tmp_path))
    one, other = (posting(f"http://127.0.0.1:{port}") for port in ports)
    with process(*arguments, port=ports[1], LOOPWRIGHT_AGENT_STORE=url), ThreadPoolExecutor() as threads:
        with process(*arguments, "--first", port=ports[0], LOOPWRIGHT_AGENT_STORE=url) as child:
            lost = threads.submit(one, {"text": "hi"})
            until((tmp_path / "began").exists, "the work to begin")
            assert other({"text": "hi"}).status_code == 409, "its process is alive and holds the lease"
            child.kill()
            child.wait(10)
        assert isinstance(lost.exception(20), requests.RequestException)
        assert set(status_200(other)) <= {409, 200}
        assert other({"text": "hi"}).headers["idempotent-replayed"] == "true"
        assert other({"text": "else"}).status_code == 422
    assert not (tmp_path / "calls.sqlite").exists()


def test_work_that_a_killed_process_had_accepted_is_finished_by_another_one(
    postgres: Postgres, tmp_path: Path, inbox: tuple[Inbox, str]
) -> None:
    box, gateway = inbox
    url = postgres.database("deferred")
    ports = free_port(), free_port()
    arguments = ("-m", "tests.e2e.slow_agent", "--state", str(tmp_path))
    with process(*arguments, port=ports[1], LOOPWRIGHT_AGENT_STORE=url):
        with process(*arguments, "--first", port=ports[0], LOOPWRIGHT_AGENT_STORE=url) as child:
            assert posting(f"http://127.0.0.1:{ports[0]}")({"text": "hi"}, **later(gateway)).status_code == 202
            until((tmp_path / "began").exists, "the work to begin")
            child.kill()
            child.wait(10)
        until(box.replies, "the reply of the work that was taken over")
    assert box.replies() == [{"output": {"said": "hi"}}]


def test_while_the_database_is_away_nothing_runs_and_what_had_run_is_kept(postgres: Postgres, tmp_path: Path) -> None:
    url, runs = postgres.database("away"), []

    async def handle(task: Task) -> dict[str, object]:
        runs.append(task.idempotency_key)
        if task.input["text"] == "cut":
            postgres.stop()
        return {"said": task.input["text"]}

    with running(create_app([echo(handle)], tmp_path, store=url)) as base, ThreadPoolExecutor() as threads:
        post = posting(base)
        assert post({"text": "hi"}).status_code == 200
        cut_off = threads.submit(post, {"text": "cut"}, "cut")
        until(lambda: runs[-1] == "cut", "the work that cuts the database off")
        refused = post({"text": "new"}, "new")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        postgres.start()
        assert cut_off.result(20).status_code == 200, "its answer is stored as soon as the database is back"
        assert post({"text": "cut"}, "cut").headers["idempotent-replayed"] == "true"
        assert post({"text": "new"}, "new").status_code == 200
    assert runs == ["k", "cut", "new"]
