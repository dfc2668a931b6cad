"""The five SDR agents as a process of their own: by rules, with a model, and with a model that misbehaves."""

from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from loopwright.registry.catalogue import Agent
from loopwright.registry.loading import load_team
from loopwright.testing.model_server import ModelServer
from tests.e2e.http_here import ROOT, free_port, process

TEAM = {definition.name: Agent.of(definition) for definition in load_team(ROOT / "agents" / "sdr", {})}
HOT = orjson.loads((ROOT / "agents" / "sdr" / "leads" / "01-demo-vp-logistics.json").read_bytes())
HOSTILE = orjson.loads((ROOT / "agents" / "sdr" / "leads" / "08-whitepaper-hostile.json").read_bytes())
COLD_NOTES: dict[str, Any] = {"seniority": "unknown", "email_kind": "free-mail", "intent_signals": [], "summary": "Somebody.", "notes": []}


class Agents:
    """The running agents, called as the dispatcher would call them."""

    def __init__(self, base: str, outbox: Path) -> None:
        self.base, self.outbox = base, outbox

    def call(self, name: str, document: dict[str, Any], key: str = "k") -> requests.Response:
        body = orjson.dumps(TEAM[name].input.project(document))
        headers = {"content-type": "application/json", "idempotency-key": f'"{key}/{name}"'}
        return requests.post(f"{self.base}/agents/{name}", data=body, headers=headers, timeout=60)

    def output(self, name: str, document: dict[str, Any], key: str = "k") -> dict[str, Any]:
        answer = self.call(name, document, key)
        assert answer.status_code == 200, answer.text
        output: dict[str, Any] = answer.json()
        assert TEAM[name].output.errors(output) == []
        return output

    def work(self, lead: dict[str, Any]) -> dict[str, Any]:
        document = {**lead, **self.output("lead-ingestion", lead)}
        document |= self.output("lead-scoring", document)
        document |= self.output({"Actively Engage": "active-outreach", "Nurture": "nurture-campaign"}[document["next_step"]], document)
        return document | self.output("send-email", document)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    folder, port = tmp_path_factory.mktemp("sdr"), free_port()
    options = ("--outbox", str(folder / "outbox"), "--state", str(folder / "state"))
    with process("-m", "agents.sdr.serve", *options, port=port, LOOPWRIGHT_LLM_BASE_URL=""):
        yield Agents(f"http://127.0.0.1:{port}", folder / "outbox")


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def prompted(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    folder, port = tmp_path_factory.mktemp("sdr"), free_port()
    options = ("--outbox", str(folder / "outbox"), "--state", str(folder / "state"))
    with process("-m", "agents.sdr.serve", *options, port=port, LOOPWRIGHT_LLM_BASE_URL=model.base_url):
        yield Agents(f"http://127.0.0.1:{port}", folder / "outbox")


def test_a_hot_lead_ends_as_one_mail_in_the_outbox(rules: Agents) -> None:
    document = rules.work(HOT)
    assert (document["next_step"], len(document["emails"]), len(document["sent"])) == ("Actively Engage", 1, 1)
    (file,) = (rules.outbox / "new").iterdir()
    message = message_from_bytes(file.read_bytes())
    assert message["Message-ID"] == document["sent"][0]
    assert HOT["email"] in message["To"]
    again = rules.call("send-email", document)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(list((rules.outbox / "new").iterdir())) == 1


def test_a_lead_without_an_address_is_refused_with_the_reason(rules: Agents) -> None:
    answer = rules.call("lead-ingestion", {name: value for name, value in HOT.items() if name != "email"}, "no address")
    assert answer.status_code == 422
    assert '"email" is a required property' in answer.json()["detail"]


def test_an_address_that_no_mail_can_carry_is_a_final_refusal(rules: Agents) -> None:
    document = {"email": '"odd one"@example.com', "name": "Ada", "emails": [{"subject": "x", "body": "y"}]}
    assert rules.call("send-email", document, "odd").status_code == 422


def test_a_model_is_asked_once_and_its_answer_and_tokens_are_passed_on(prompted: Agents, model: ModelServer) -> None:
    asked = len(model.questions)
    model.say({"profile": {**COLD_NOTES, "summary": "The model said so."}})
    answer = prompted.call("lead-ingestion", HOT, "model")
    profile = answer.json()["profile"]
    assert profile["summary"] == "The model said so."
    assert (profile["email_kind"], profile["company_domain"]) == ("company", "nordfrakt.example"), "facts are not the model's to change"
    assert orjson.loads(answer.headers["loopwright-usage"])["prompt_tokens"] > 0
    assert len(model.questions) == asked + 1


def test_an_invalid_answer_is_asked_about_once_more(prompted: Agents, model: ModelServer) -> None:
    asked = len(model.questions)
    model.say("I think this is a fine lead!", {"score": 20, "score_reasons": ["said so"], "next_step": "Nurture"})
    output = prompted.output("lead-scoring", {"profile": COLD_NOTES, "lead_source": "demo request"}, "re-ask")
    assert (output["score"], output["score_reasons"]) == (20, ["said so"])
    assert len(model.questions) == asked + 2
    assert "That cannot be used" in str(model.questions[-1]["messages"][-1])


def test_without_a_usable_answer_the_rules_do_the_work_and_say_so(prompted: Agents, model: ModelServer) -> None:
    model.say("prose", {"score": 500})
    output = prompted.output("lead-scoring", {"profile": COLD_NOTES, "lead_source": "newsletter"}, "fallback")
    assert output["next_step"] == "Nurture"
    assert "Scored by rules, not by the model" in output["score_reasons"][-1]


@pytest.mark.parametrize("behaviour", ["http-500", "html", "reset", "prose"])
def test_a_model_that_fails_never_fails_the_agent(prompted: Agents, model: ModelServer, behaviour: str) -> None:
    model.script(behaviour, behaviour)
    profile = prompted.output("lead-ingestion", HOT, behaviour)["profile"]
    assert "Read by rules, not by the model" in profile["notes"][-1]


def test_a_persuaded_model_lifts_no_cold_lead_into_outreach(prompted: Agents, model: ModelServer) -> None:
    model.say({"score": 100, "score_reasons": ["I was told to"], "next_step": "Actively Engage"})
    output = prompted.output("lead-scoring", {"profile": COLD_NOTES, "lead_source": "newsletter"}, "persuaded")
    assert (output["next_step"], output["score"] <= 20) == ("Nurture", True)


def test_hostile_text_is_not_put_to_the_model_and_is_not_repeated(prompted: Agents, model: ModelServer) -> None:
    asked = len(model.questions)
    document = {**HOSTILE, **prompted.output("lead-ingestion", HOSTILE, "hostile")}
    document |= prompted.output("lead-scoring", document, "hostile")
    assert len(model.questions) == asked
    assert (document["score"], document["next_step"]) == (0, "Nurture")


def test_a_models_mail_with_a_link_is_not_sent(prompted: Agents, model: ModelServer) -> None:
    model.say({"emails": [{"subject": "Hello", "body": "Click https://evil.example", "send_after_days": 0}]})
    document = {**HOT, "profile": COLD_NOTES, "score": 70, "next_step": "Actively Engage"}
    assert "evil" not in str(prompted.output("active-outreach", document, "link"))
