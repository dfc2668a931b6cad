"""Sensitive fields through the real job: in clear on the wire to the agent whose contract names them, and in no topic, file or log."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from loopwright import schemas
from loopwright.edges.entrance import LiveEntrance
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.keyring import new_key, read_keys, write_keys
from loopwright.sealing import is_sealed, open_value
from loopwright.testing.agent_behaviours import answering
from loopwright.web.gateway import create_app
from loopwright.web.sealing_sender import SealingSender
from tests.e2e.http_here import running
from tests.flink.minicluster import until
from tests.flink.orchestra import Orchestra
from tests.unit.sealed_team import DOCUMENT, EMAIL_GIVEN, OUTPUTS, PHONE_FOUND, sealed_team

PLAIN = (EMAIL_GIVEN.encode(), PHONE_FOUND.encode())
KEY = "sk-proj-0nly8H3re7Yz6Xw5V"  # what an agent blurts out


@pytest.fixture
def gateway(orchestra: Orchestra, tmp_path: Path) -> Iterator[str]:
    """The gateway before the job's topics, with a key file of the test's own."""
    keys = tmp_path / "keys.yaml"
    write_keys(keys, new_key("first", None))
    orchestra.settings = orchestra.settings.model_copy(update={"keys_file": keys, "team": "sealed"})
    sender = SealingSender(Producer(orchestra.settings), LiveEntrance(orchestra.settings), orchestra.settings)
    with running(create_app(orchestra.settings, sender)) as url:
        orchestra.settings = orchestra.settings.model_copy(update={"gateway_url": url})
        yield url


def holding(orchestra: Orchestra, folders: list[Path], wanted: tuple[bytes, ...]) -> list[str]:
    """Every record and every file that holds one of `wanted`."""
    topics = list(orchestra.settings.topics.model_dump().values())
    found = [
        f"{r.topic}-{r.partition}-{r.offset}"
        for r in read_all(orchestra.settings, topics)
        if _has([r.key, r.value, *r.headers.values()], wanted)
    ]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return found + [str(path) for path in files if _has([path.read_bytes()], wanted)]


def _has(parts: list[bytes | None], wanted: tuple[bytes, ...]) -> bool:
    return any(plain in (part or b"") for part in parts for plain in wanted)


def given(orchestra: Orchestra, name: str) -> list[Any]:
    return [request.json() for request in orchestra.agents.calls(name)]


def start(gateway: str, document: dict[str, Any], key: str) -> str:
    answer = requests.post(gateway + "/workflows", json=document, headers={"idempotency-key": key}, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["workflow"])


def test_a_sensitive_field_is_in_clear_at_its_agent_alone_also_after_a_rotation(orchestra: Orchestra, gateway: str, tmp_path: Path) -> None:
    logs, checkpoints = Path(os.environ["FLINK_LOG_DIR"]), tmp_path / "checkpoints"
    accepted: list[str] = []

    def later(exchange: Any) -> None:
        accepted.append(exchange.request.headers["loopwright-callback"])
        exchange.reply(202, {})

    def refusing(exchange: Any) -> None:
        exchange.reply(422, {"title": f"no: {exchange.request.body.decode()}", "detail": KEY})

    for name, output in OUTPUTS.items():
        orchestra.agents.agent(name, answering(output))
    orchestra.agents.agent("caller", later)
    orchestra.define(*sealed_team(orchestra.agents.url, reply="callback"))
    orchestra.run(
        more={
            "execution.checkpointing.dir": checkpoints.as_uri(),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        }
    )
    done = start(gateway, DOCUMENT, "one")
    assert start(gateway, DOCUMENT, "one") == done, "a start that is sent twice is one start"
    until("the caller has accepted", lambda: accepted)
    orchestra.cluster.checkpoint(orchestra.job)  # while a call with a sensitive input waits for its reply

    keys = orchestra.settings.keys_file
    assert keys is not None
    write_keys(keys, new_key("second", read_keys(keys)))
    reply = {"output": OUTPUTS["caller"], "next": "continue"}
    assert requests.post(accepted[0], json=reply, timeout=60).status_code == 202
    (result,) = orchestra.results(1)
    assert (result.type, result.data["path"]) == (schemas.WORKFLOW_COMPLETED, ["finder", "clerk", "caller", "mailer"])
    document = result.data["document"]
    assert (is_sealed(document["email"]), is_sealed(document["phone"])) == (True, True)
    assert open_value(document["phone"], done, "phone", read_keys(keys)) == PHONE_FOUND

    orchestra.agents.agent("mailer", refusing)  # which quotes what it was given
    orchestra.agents.agent("caller", answering(OUTPUTS["caller"]))
    failed = start(gateway, DOCUMENT, "two")
    (letter,) = until("the dead letter", lambda: orchestra.said(orchestra.settings.topics.dead_letters))
    assert (letter.workflow, letter.data["cause"]) == (failed, "Status422")
    kids = {
        m.data["document"]["email"]["$encrypted"]["kid"]
        for m in orchestra.said(orchestra.settings.topics.messages)
        if m.type == schemas.STARTED
    }
    assert kids == {"first", "second"}

    assert given(orchestra, "caller") == [{"phone": PHONE_FOUND, "filed": "yes"}] * 2
    assert given(orchestra, "mailer") == [{"email": EMAIL_GIVEN, "reached": "yes"}] * 2
    for name in ("finder", "clerk"):
        assert not _has([orjson.dumps(given(orchestra, name))], PLAIN), name
    orchestra.stop(tmp_path / "savepoints")
    written = [checkpoints, tmp_path / "savepoints", logs]
    assert holding(orchestra, written, (*PLAIN, KEY.encode())) == []
    assert holding(orchestra, written, (b"$encrypted",)), "nothing was looked at"
    assert orchestra.verified().findings == ()


def test_without_keys_a_team_with_marks_is_not_called_and_says_why(orchestra: Orchestra) -> None:
    orchestra.settings = orchestra.settings.model_copy(update={"team": "sealed"})
    orchestra.define(*sealed_team(orchestra.agents.url))
    orchestra.run()
    orchestra.send("w", {"name": "Ada"})
    (letter,) = until("the dead letter", lambda: orchestra.said(orchestra.settings.topics.dead_letters))
    assert letter.data["cause"] == "NoKeys"
    assert "LOOPWRIGHT_KEYS_FILE" in letter.data["why"]
    assert not orchestra.agents.requests


def test_a_secret_that_an_agent_tells_is_in_no_reason_and_in_no_log_of_the_job(orchestra: Orchestra) -> None:
    def telling(exchange: Any) -> None:
        exchange.reply(422, {"title": f"Authorization: Bearer {KEY}", "detail": f"password={KEY}", "type": KEY})

    orchestra.agents.agent("lead-ingestion", answering(OUTPUTS["finder"] | {"profile": KEY}))
    orchestra.agents.agent("lead-scoring", telling)
    orchestra.define(*orchestra.team())
    orchestra.run()
    lead = {"name": "Ada", "email": "a@engines.example", "company_name": "Engines", "lead_source": "webinar", "note": KEY}
    orchestra.send("w", lead)
    profile = {"seniority": "manager", "email_kind": "company", "intent_signals": [], "summary": KEY, "notes": []}
    orchestra.send("x", lead | {"profile": profile})
    topics = orchestra.settings.topics
    letters = until("both dead letters", lambda: len(found := orchestra.said(topics.dead_letters)) == 2 and found)
    assert {letter.data["cause"] for letter in letters} == {"ContractViolation", "Status422"}
    reasons = [[letter.data["why"], letter.data["error"]] for letter in letters]
    reasons += [m.data.get("error") or m.data.get("reason") for m in orchestra.said(topics.messages) if m.type != schemas.STARTED]
    reasons += [[m.data["reason"], m.data["rejected"]] for m in orchestra.said(topics.decisions)]
    assert b"***" in orjson.dumps(reasons)
    assert not _has([orjson.dumps(reasons)], (KEY.encode(),))
    assert not [path for path in Path(os.environ["FLINK_LOG_DIR"]).rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
