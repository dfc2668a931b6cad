"""The job and agents that fail, each in its own way: how often each is called, and what a person is told."""

from typing import Any

import pytest

from loopwright import schemas
from loopwright.message import Message
from loopwright.registry.definition import AgentDefinition
from loopwright.testing.agent_behaviours import Behaviour, answering, failing, idempotent, redirecting, refusing, resetting, sending
from tests.flink.minicluster import until
from tests.flink.orchestra import Orchestra

DONE = {"done": True}
FAILS: dict[str, tuple[Behaviour, str, int]] = {
    "bad-request": (refusing(400), "Status400", 1),
    "not-found": (refusing(404), "Status404", 1),
    "wrong-payload": (refusing(422), "Status422", 1),
    "gone": (refusing(410), "Status410", 1),
    "down": (refusing(503), "Status503", 2),
    "redirect": (redirecting("http://169.254.169.254/latest/meta-data"), "RedirectRefused", 1),
    "prose": (sending(b"thank you", content_type="text/plain"), "InvalidReply", 1),
    "list": (sending(b'[{"done": true}]'), "InvalidReply", 1),
    "contract": (answering({"done": "perhaps"}), "ContractViolation", 1),
}
NOWHERE = {
    "metadata": ("http://169.254.169.254/agents/a", "AddressRefused", 1),
    "nobody-listens": ("http://127.0.0.1:9/agents/a", "ConnectionRefused", 2),
    "no-such-name": ("http://no-such-host.invalid/agents/a", "DnsFailure", 2),
}
RECOVERS: dict[str, Behaviour] = {
    "busy": failing(1, then=answering(DONE), first=refusing(409)),
    "reset-after-the-work": failing(1, then=idempotent(answering(DONE)), first=resetting()),
}


def alone(team: str, endpoint: str) -> AgentDefinition:
    """The only agent of a team, so that nobody can stand in for it."""
    accepts = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    gives = {"type": "object", "required": ["done"], "properties": {"done": {"type": "boolean"}}}
    retry = {"attempts": 2, "initial": "10ms"}
    return AgentDefinition(
        name="a", team=team, version=1, description="a", input=accepts, output=gives, endpoint=endpoint, retry=retry, timeout="5s"
    )


@pytest.mark.timeout(180)
def test_each_failure_of_an_agent_is_called_as_often_as_it_may_help_and_told_with_its_cause(orchestra: Orchestra) -> None:
    agents, topics = orchestra.agents, orchestra.settings.topics
    behaviours = {case: behaviour for case, (behaviour, _, _) in FAILS.items()} | RECOVERS
    endpoints = {case: agents.agent(case, behaviour) for case, behaviour in behaviours.items()}
    endpoints |= {case: url for case, (url, _, _) in NOWHERE.items()}
    endpoints |= {"bad-tls": endpoints["down"].replace("http://", "https://")}
    trap = agents.agent("trap", answering(DONE))
    document = {"name": "Ada"} | dict.fromkeys(("endpoint", "url", "agent_url", "callback", "$ref"), trap)
    orchestra.define(*[alone(case, url) for case, url in endpoints.items()])
    orchestra.run()
    orchestra.send_all([Message(case, schemas.STARTED, "/test", case, {"document": document, "team": case}) for case in endpoints])
    wanted = {case: (cause, attempts) for case, (_, cause, attempts) in {**FAILS, **NOWHERE}.items()} | {"bad-tls": ("TlsError", 1)}

    def letters() -> dict[str, Any] | None:
        found = {m.workflow: m.data for m in orchestra.said(topics.dead_letters)}
        return found if found.keys() >= wanted.keys() else None

    told = until("a dead letter for each", letters)
    assert {case: (data["cause"], data["attempts"]) for case, data in told.items()} == wanted
    assert {case: len(agents.calls(case)) for case in FAILS} == {case: attempts for case, (_, _, attempts) in FAILS.items()}
    results = orchestra.results(len(RECOVERS))
    assert {result.workflow: result.data["document"]["done"] for result in results} == dict.fromkeys(RECOVERS, True)
    assert {case: [len(calls) for calls in agents.by_key(case).values()] for case in RECOVERS} == {case: [2] for case in RECOVERS}

    def parked() -> dict[str, Any] | None:
        found = {m.workflow: m.data for m in orchestra.said(topics.messages) if m.type == schemas.SETTLED and m.workflow in wanted}
        return found if len(found) == len(wanted) else None

    settled = until("each is parked", parked)
    assert {case: data["outcome"] for case, data in settled.items()} == dict.fromkeys(wanted, "park")
    assert all(wanted[case][0] in data["reason"] for case, data in settled.items())
    assert agents.calls("trap") == [], "an address in a document was called"
    assert orchestra.verified().holds
