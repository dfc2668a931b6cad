"""The TaskManager is killed, again and again, while many workflows are under way, and the model never gives the same answer twice.

Every workflow completes, by one path, no mail is sent twice, and the logs prove it.
"""

import json
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from time import monotonic

import psutil
import pytest

from loopwright import schemas
from loopwright.edges.kafka import Producer, read_all, tail
from loopwright.edges.platform.waiting import wait_for
from loopwright.message import Message, read
from loopwright.settings import Settings
from loopwright.step import Record
from loopwright.testing.chaos.fickle_model import fickle_policy
from loopwright.testing.model_server import ModelServer
from tests.e2e.demo_process import START_S, STOP_S, Demo

COUNT, BARE, KILLS = 200, 50, 6
END_S = 180
pytestmark = pytest.mark.timeout(START_S + STOP_S + KILLS * END_S)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo whose model draws its answers by lot."""
    with ModelServer(fickle_policy, latency_s=0.05) as model:
        more = {"LOOPWRIGHT_LLM_BASE_URL": model.base_url, "LOOPWRIGHT_LLM_FOR_AGENTS": "false"}
        demo = Demo(tmp_path_factory.mktemp("crash") / "home", more)
        try:
            yield demo
        finally:
            demo.stop()


def lead(name: str) -> bytes:
    common = {
        "company_name": "Engines Ltd",
        "lead_source": "webinar",
        "project_description": "We need a tool before Q3; the budget is approved.",
    }
    return json.dumps({"name": name, "email": f"{name}@engines.example", **common}).encode()


def sent(demo: Demo, settings: Settings, mark: str) -> set[str]:
    """Workflows that were started: COUNT in an envelope, and BARE documents under keys of their own, in all partitions."""
    bare = {lead(f"{mark}-bare{n}"): f"key-{n}".encode() for n in range(BARE)}
    with Producer(settings) as producer:
        for value, key in bare.items():
            producer.send(settings.topics.messages, key, value)
    ids = demo.run("send", "-", stdin=b"\n".join(lead(f"{mark}-lead{n}") for n in range(COUNT)))["workflows"]
    records = read_all(settings, [settings.topics.messages])
    return {*ids, *(f"{r.topic}-{r.partition}-{r.offset}" for r in records if r.value in bare)}


def said(settings: Settings, topic: str, workflows: set[str]) -> list[Message]:
    return [message for message in map(read, read_all(settings, [topic])) if message.workflow in workflows]


def ends(settings: Settings, workflows: set[str]) -> dict[str, set[tuple[str, ...]]]:
    """The paths in the results of each workflow: one, however often its result was written."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for result in said(settings, settings.topics.results, workflows):
        found.setdefault(result.workflow, set()).add((result.type, *result.data["path"]))
    return found


def mails(home: Path) -> Counter[tuple[str, str]]:
    """Mails in the outbox by recipient and subject."""
    found = (message_from_bytes(file.read_bytes()) for file in (home / "outbox" / "new").iterdir())
    return Counter((str(mail["To"]), str(mail["Subject"])) for mail in found)


def pid_of(demo: Demo, name: str) -> int:
    (service,) = [service for service in demo.run("status")["services"] if service["name"] == name]
    return int(service["pid"])


def kill_once_the_model_has_decided(demo: Demo, settings: Settings, mark: str) -> set[str]:
    """Start workflows; as soon as a decision of the model for one of them stands in the log, kill what would dispatch it."""
    pid, until = pid_of(demo, "taskmanager-1"), monotonic() + END_S
    decided: Iterator[Record | None] = tail(settings, [settings.topics.decisions], False, lambda: monotonic() > until)
    workflows = sent(demo, settings, mark)
    assert any(record is not None and read(record).data["strategy"] == "llm" for record in decided), "the model decided nothing"
    psutil.Process(pid).kill()
    assert wait_for(lambda: workflows <= ends(settings, workflows).keys(), END_S), "not every workflow has ended"
    return workflows


def targets(decided: list[Message]) -> dict[tuple[str, int], list[str]]:
    """By workflow and hop, whom the decisions name, in the order of the log."""
    found: dict[tuple[str, int], list[str]] = {}
    for message in decided:
        found.setdefault((message.workflow, message.hop), []).append(",".join(target["agent"] for target in message.data["targets"]))
    return found


def test_decisions_that_are_made_anew_after_a_crash_and_differ_still_give_one_path_and_one_effect(demo: Demo) -> None:
    settings, workflows, kills = Settings(home=demo.home), set[str](), 0
    named: dict[tuple[str, int], list[str]] = {}
    while not any(len(set(names)) > 1 for names in named.values()):
        assert kills < KILLS, "no decision was made twice and differently: nothing was shown"
        kills += 1
        workflows |= kill_once_the_model_has_decided(demo, settings, f"kill{kills}")
        named = targets(said(settings, settings.topics.decisions, workflows))
    for reply in said(settings, settings.topics.messages, workflows):
        if reply.type == schemas.REPLIED:
            assert reply.data["agent"] == named[reply.workflow, reply.hop][0], "the first decision is the one that is acted on"
    paths = ends(settings, workflows)
    assert {len(different) for different in paths.values()} == {1}
    assert {kind for different in paths.values() for kind, *_ in different} == {schemas.WORKFLOW_COMPLETED}
    mine = {key: count for key, count in mails(demo.home).items() if "<kill" in key[0]}
    assert set(mine.values()) == {1}
    assert len({to for to, _ in mine}) == len(workflows)
    proof = demo.run("verify")
    assert (proof["holds"], proof["broken"]) == (True, [])
