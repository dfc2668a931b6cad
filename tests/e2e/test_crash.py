"""A TaskManager is killed while two hundred workflows are under way: every one completes, no mail is sent twice, the logs prove it."""

import json
from collections import Counter
from email import message_from_bytes
from pathlib import Path

import psutil
import pytest

from loopwright.edges.kafka import read_all
from loopwright.edges.platform.waiting import wait_for
from loopwright.settings import Settings
from tests.e2e.demo_process import COMMAND_S, START_S, STOP_S, Demo

pytestmark = pytest.mark.timeout(START_S + STOP_S + COMMAND_S)
COUNT = 200


def leads() -> bytes:
    common = {
        "company_name": "Engines Ltd",
        "lead_source": "webinar",
        "project_description": "We need a tool before Q3; the budget is approved.",
    }
    return b"\n".join(json.dumps({"name": f"Lead {n}", "email": f"lead{n}@engines.example", **common}).encode() for n in range(COUNT))


def ended(settings: Settings) -> Counter[str]:
    """Results by workflow."""
    return Counter((record.key or b"").decode() for record in read_all(settings, [settings.topics.results]))


def mails(home: Path) -> Counter[tuple[str, str]]:
    """Mails in the outbox by recipient and subject."""
    found = (message_from_bytes(file.read_bytes()) for file in (home / "outbox" / "new").iterdir())
    return Counter((str(mail["To"]), str(mail["Subject"])) for mail in found)


def test_after_sigkill_of_the_taskmanager_all_workflows_complete_and_no_mail_is_sent_twice(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "home")
    try:
        settings = Settings(home=demo.home)
        before = len(ended(settings))
        sent = demo.run("send", "-", stdin=leads())
        wait_for(lambda: len(ended(settings)) > before, 60)
        (manager,) = [s for s in demo.run("status")["services"] if s["name"] == "taskmanager-1"]
        psutil.Process(manager["pid"]).kill()
        at_the_kill = len(ended(settings)) - before
        assert 0 < at_the_kill < COUNT, "the kill came too late to show anything"
        demo.run("up")
        mine = set(sent["workflows"])
        assert wait_for(lambda: mine <= ended(settings).keys(), 120), f"{len(mine - ended(settings).keys())} have not ended"
        per_mail = {key: count for key, count in mails(demo.home).items() if key[0].endswith("@engines.example>")}
        assert set(per_mail.values()) == {1}
        recipients = {to for to, _ in per_mail}
        assert len(recipients) == COUNT
        proof = demo.run("verify")
        assert (proof["holds"], proof["broken"]) == (True, [])
        assert proof["counts"]["completed"] >= COUNT
    finally:
        demo.stop()
