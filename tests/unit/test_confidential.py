"""Sensitive fields in the whole loop: in clear at the agent whose contract names them, and nowhere else."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.dispatch.confidential import WITHHELD, Withheld, opened, sealed
from loopwright.dispatch.entrance import sealed_message
from loopwright.errors import InvalidDocument, InvalidSettings, Retryable, SealBroken
from loopwright.message import Message, encode
from loopwright.registry.catalogue import Agent, Catalogue
from loopwright.registry.roster import records_of
from loopwright.routing.embedding import query
from loopwright.routing.model import prompt
from loopwright.routing.request import RouteRequest
from loopwright.sealing import Keys, is_sealed, open_value, seal
from loopwright.settings import Settings
from loopwright.testing.simulation import Simulation
from loopwright.workflow.document import merge_patch
from loopwright.workflow.state import WorkflowState
from loopwright.workflow.transitions import Phase
from tests.unit.sdr_team import model_says, ok
from tests.unit.sealed_team import DOCUMENT, EMAIL_GIVEN, OUTPUTS, PHONE_FOUND, sealed_team

SETTINGS = Settings(llm_base_url="http://model/v1", team="sealed")
TOPICS = SETTINGS.topics
FIRST = Keys("a", {"a": b"a" * 32})
ROTATED = Keys("b", {**FIRST.keys, "b": b"b" * 32})
LOST = Keys("b", {"b": b"b" * 32})
CATALOGUE = Catalogue(records_of(sealed_team()))
PLAIN = (EMAIL_GIVEN.encode(), PHONE_FOUND.encode())
Answer = Callable[[str, dict[str, Any]], dict[str, Any]]


def answering(name: str, _given: dict[str, Any]) -> dict[str, Any]:
    return ok(OUTPUTS[name])


class Team:
    """The agents as the performer meets them; keeps what each was given."""

    def __init__(self, keys: Keys | None, answer: Answer = answering) -> None:
        self.keys, self.answer, self.given = keys, answer, dict[str, list[dict[str, Any]]]()

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        name, sealing = payload["url"].rpartition("/")[2], payload.get("seal")
        try:
            body = opened(payload["body"], sealing, self.keys) if sealing else payload["body"]
            self.given.setdefault(name, []).append(orjson.loads(body))
            outcome = self.answer(name, orjson.loads(body))
            return sealed(outcome, sealing, self.keys) if sealing else outcome
        except Withheld as withheld:
            return withheld.outcome


def started(document: dict[str, Any] = DOCUMENT, keys: Keys | None = FIRST, workflow: str = "w") -> bytes:
    message = Message(f"start-{workflow}", schemas.STARTED, "/test", workflow, {"document": document}, time_ms=1)
    return encode(sealed_message(message, CATALOGUE, keys, "sealed"))


def run(team: Team, *starts: bytes, seed: int = 1, crash_rate: float = 0.0) -> Simulation:
    rng = random.Random(seed)
    asked: list[bytes] = []

    def model(payload: dict[str, Any]) -> dict[str, Any]:
        asked.append(orjson.dumps(payload))
        return model_says("none")

    simulation = Simulation(SETTINGS, sealed_team(), team, model)
    for start in starts:
        simulation.write(TOPICS.messages, start)
    simulation.run(rng, crash_rate)
    seen = [record.value or b"" for log in simulation.logs.values() for record in log] + asked
    for loop in simulation.loops:
        seen += [*loop.states.values(), *loop.saved[0].values()]
    assert not [(secret, where) for where in seen for secret in PLAIN if secret in where], "a sensitive value stands in clear"
    return simulation


def error_of(simulation: Simulation) -> dict[str, Any]:
    (failed,) = [m for m in simulation.read(TOPICS.messages) if m.type == schemas.FAILED]
    return dict(failed.data["error"])


def test_each_agent_is_given_what_its_contract_names_and_the_result_is_sealed() -> None:
    team = Team(FIRST)
    simulation = run(team, started())
    assert team.given == {
        "finder": [{"name": "Ada"}],
        "clerk": [{"customer": "c-17"}],
        "caller": [{"phone": PHONE_FOUND, "filed": "yes"}],
        "mailer": [{"email": EMAIL_GIVEN, "reached": "yes"}],
    }
    (result,) = simulation.read(TOPICS.results)
    document = result.data["document"]
    assert (is_sealed(document["email"]), is_sealed(document["phone"])) == (True, True)
    assert open_value(document["phone"], "w", "phone", FIRST) == PHONE_FOUND


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_whatever_happens_no_record_and_no_state_holds_a_sensitive_value(seed: int, crash_rate: float, echoing: bool) -> None:
    rng = random.Random(seed)

    def answer(name: str, given: dict[str, Any]) -> dict[str, Any]:
        quoted = orjson.dumps({"title": f"no: {given}", "detail": f"{OUTPUTS[name]}", "type": f"urn:loopwright:{PHONE_FOUND}"}).decode()
        bad = [{"status": 503, "headers": {}, "body": quoted}, {"status": 422, "headers": {"location": quoted}, "body": quoted}]
        bad += [{"status": 200, "headers": {}, "body": quoted[:-1]}, ok({"phone": [PHONE_FOUND], "email": EMAIL_GIVEN, "sure": given})]
        bad += [
            {"status": 202, "headers": {}, "body": quoted},
            {"status": 200, "headers": {}, "body": f'{{"{PHONE_FOUND}":1,"{PHONE_FOUND}":2}}'},
        ]
        marked = bool({"phone", "email"} & {*given, *OUTPUTS[name]})  # what another agent says of its input is in clear by its contract
        return rng.choice(bad) if echoing and marked and rng.random() < 0.5 else ok(OUTPUTS[name])

    simulation = run(Team(FIRST, answer), started(), started(workflow="x"), seed=seed, crash_rate=crash_rate)
    results = {r.workflow: r.data["document"] for r in simulation.read(TOPICS.results)}
    parked = {m.workflow for m in simulation.read(TOPICS.messages) if m.type == schemas.SETTLED and m.data["outcome"] == "park"}
    assert results.keys() | parked == {"w", "x"}


def test_a_call_that_is_made_again_gives_the_very_same_record() -> None:
    simulation = run(Team(FIRST), started())
    again = run(Team(FIRST), started(), seed=9)
    assert [m.data["output"] for m in simulation.read(TOPICS.messages) if m.type == schemas.REPLIED] == [
        m.data["output"] for m in again.read(TOPICS.messages) if m.type == schemas.REPLIED
    ]


def test_a_start_that_is_sent_twice_is_one_start() -> None:
    simulation = run(Team(FIRST), started(), started())
    assert simulation.counts["duplicate_start"] + simulation.counts.get("after_end", 0) == 1
    assert TOPICS.dead_letters not in simulation.logs


def test_after_a_rotation_old_values_are_read_and_new_ones_are_made_with_the_new_key() -> None:
    team = Team(ROTATED)
    document = run(team, started(keys=FIRST)).read(TOPICS.results)[0].data["document"]
    assert (document["email"]["$encrypted"]["kid"], document["phone"]["$encrypted"]["kid"]) == ("a", "b")
    assert team.given["mailer"] == [{"email": EMAIL_GIVEN, "reached": "yes"}]


@pytest.mark.parametrize(
    ("keys", "kind", "agent"),
    [(LOST, "KeyMissing", "mailer"), (None, "NoKeys", "finder")],
)
def test_a_value_that_cannot_be_opened_ends_the_call_for_good_with_a_reason(keys: Keys | None, kind: str, agent: str) -> None:
    team = Team(keys)
    simulation = run(team, started())
    assert error_of(simulation)["class"] == kind
    assert agent not in team.given, "it was called all the same"
    (letter,) = simulation.read(TOPICS.dead_letters)
    assert (letter.data["cause"], letter.data["attempts"]) == (kind, 1)


def test_a_value_that_was_moved_from_another_workflow_is_refused() -> None:
    stolen = seal({"email": EMAIL_GIVEN}, {"email"}, FIRST, "other")
    message = Message("s", schemas.STARTED, "/test", "w", {"document": {"name": "Ada", **stolen}}, time_ms=1)
    with pytest.raises(SealBroken):
        sealed_message(message, CATALOGUE, FIRST, "sealed")
    team = Team(FIRST)
    assert error_of(run(team, encode(message)))["class"] == "SealBroken"
    assert "mailer" not in team.given


def test_what_is_sealed_is_checked_against_the_contract_where_it_is_opened() -> None:
    team = Team(FIRST)
    error = error_of(run(team, started({"name": "Ada", "email": "no address"})))
    assert error == {"class": "InputContractViolation", "message": "$.email: breaks `format`; its value is not shown"}
    assert "mailer" not in team.given


def test_an_output_is_checked_before_it_is_sealed() -> None:
    def answer(name: str, _given: dict[str, Any]) -> dict[str, Any]:
        return ok({"customer": "c", "phone": f"no number {PHONE_FOUND}"} if name == "finder" else OUTPUTS[name])

    error = error_of(run(Team(FIRST, answer), started()))
    assert error["class"] == "ContractViolation"
    assert error["message"].endswith("$.phone: breaks `pattern`; its value is not shown")


def test_an_agent_cannot_hand_in_an_encrypted_value() -> None:
    forged = seal({"phone": PHONE_FOUND}, {"phone"}, FIRST, "w")
    error = error_of(run(Team(FIRST, lambda name, _: ok(OUTPUTS[name] | forged)), started()))
    assert error["class"] == "ContractViolation"


def test_a_refusal_keeps_its_kind_and_loses_the_agent_s_words() -> None:
    problem = {"type": "urn:loopwright:input-contract", "title": PHONE_FOUND, "detail": PHONE_FOUND}
    refusal = {"status": 422, "headers": {}, "body": orjson.dumps(problem).decode()}
    simulation = run(Team(FIRST, lambda name, _: refusal if name == "caller" else ok(OUTPUTS[name])), started())
    assert error_of(simulation) == {"class": "Status422", "message": f"input-contract: {WITHHELD}"}


def test_a_start_in_clear_that_was_written_past_the_entries_is_counted() -> None:
    message = Message("s", schemas.STARTED, "/producer", "w", {"document": {"name": "Ada", "email": "grace@engines.example"}}, time_ms=1)
    assert run(Team(FIRST), encode(message)).counts["sensitive_in_clear"] == 1
    assert "sensitive_in_clear" not in run(Team(FIRST), started()).counts


@pytest.mark.parametrize("pins", [{}, {"clerk": 1}])
def test_a_decision_of_another_router_that_leaves_out_pins_is_no_way_round(pins: dict[str, int]) -> None:
    target = {"branch": "0", "agent": "finder", "version": 1, "input": {"name": "Ada"}, "input_hash": "h"}
    data = {"outcome": "dispatch", "strategy": "sql", "reason": "r", "targets": [target], "candidates": [], "pins": pins, "team": "sealed"}
    simulation = run(Team(FIRST), started())
    simulation.write(TOPICS.decisions, encode(Message("d", schemas.DECIDED, "/sql", "another", data | {"deadline_ms": 2**53}, 1)))
    simulation.run(random.Random(1))
    (reply,) = [m for m in simulation.read(TOPICS.messages) if m.workflow == "another"]
    assert is_sealed(reply.data["output"]["phone"])


@pytest.mark.parametrize("keys", [FIRST, None])
def test_neither_a_model_nor_the_offline_router_is_told_a_sensitive_value(keys: Keys | None) -> None:
    output = {"type": "object", "required": ["made"], "properties": {"made": {"type": "string"}}}
    agents = {d.name: Agent.of(d.model_copy(update={"after": (), "output": output})) for d in sealed_team()}
    plain = {"filed": "yes", "reached": "yes", "phone": PHONE_FOUND, "email": EMAIL_GIVEN}
    document = seal(plain, {"phone", "email"}, keys, "w") if keys else plain
    state = WorkflowState("w", "sealed", Phase.ROUTING, document=document)
    request = RouteRequest(state, {name: agent for name, agent in agents.items() if name in ("caller", "mailer")})
    assert len(request.masked.candidates) == 2
    assert '"phone":"***"' in prompt(request)
    told = (prompt(request) + query(request)).encode()
    assert not [secret for secret in (*PLAIN, b"$encrypted") if secret in told]
    assert query(request) == "reached: yes; filed: yes"


def test_a_sealed_value_replaces_and_is_replaced_as_a_whole() -> None:
    sealed_contact = seal({"contact": {"phone": PHONE_FOUND}}, {"contact"}, FIRST, "w")
    assert merge_patch({"contact": {"fax": PHONE_FOUND}}, sealed_contact) == sealed_contact
    assert merge_patch(sealed_contact, {"contact": {"fax": "1"}}) == {"contact": {"fax": "1"}}
    assert merge_patch(sealed_contact, {"contact": None}) == {}


CALLBACK = Message("c", schemas.CALLED_BACK, "/gateway", "w", {"branch": "0"}, 1)


@pytest.mark.parametrize("ref", ["sealed/finder@1", "", "sealed/nobody@1", "other/finder@1"])
@pytest.mark.parametrize("sender", [{}, {"sender": "sealed/finder"}])
def test_a_late_reply_is_sealed_whoever_it_is_from(ref: str, sender: dict[str, str]) -> None:
    reply = replace(CALLBACK, data={"branch": "0", "output": OUTPUTS["finder"], **sender})
    made = sealed_message(reply, CATALOGUE, FIRST, "default", ref)
    assert PHONE_FOUND.encode() not in encode(made)
    assert open_value(made.data["output"]["phone"], "w", "phone", FIRST) == PHONE_FOUND


def test_a_late_reply_that_breaks_the_contract_becomes_a_failure_without_its_value() -> None:
    reply = replace(CALLBACK, data={"branch": "0", "output": {"customer": "c", "phone": "12"}})
    made = sealed_message(reply, CATALOGUE, FIRST, "default", "sealed/finder@1")
    assert (made.data["error"]["class"], made.data["error"]["retryable"], "output" in made.data) == ("ContractViolation", False, False)
    said = replace(CALLBACK, data={"branch": "0", "error": {"class": PHONE_FOUND, "message": PHONE_FOUND, "retryable": True}})
    assert sealed_message(said, CATALOGUE, FIRST, "default").data["error"] == {
        "class": "AgentError",
        "message": WITHHELD,
        "retryable": True,
    }


def test_without_keys_nothing_sensitive_enters_and_with_keys_no_team_is_unknown() -> None:
    with pytest.raises(InvalidSettings):
        started(keys=None)
    start = Message("s", schemas.STARTED, "/test", "w", {"document": DOCUMENT, "team": "nobody"}, time_ms=1)
    with pytest.raises(Retryable):
        sealed_message(start, CATALOGUE, FIRST, "sealed")
    assert sealed_message(start, CATALOGUE, None, "sealed") is start
    with pytest.raises(InvalidSettings):
        sealed_message(replace(CALLBACK, data={"branch": "0", "output": OUTPUTS["finder"]}), CATALOGUE, None, "sealed")
    with pytest.raises(InvalidDocument):
        sealed_message(replace(start, data={"document": {"email": "\ud800"}, "team": "sealed"}), CATALOGUE, FIRST, "sealed")


def test_a_team_without_marks_is_called_as_ever() -> None:
    from loopwright.dispatch.confidential import terms
    from tests.unit.sdr_team import sdr_team

    assert all(terms("w", Agent.of(definition), frozenset(), {"name": "Ada"}) is None for definition in sdr_team())
