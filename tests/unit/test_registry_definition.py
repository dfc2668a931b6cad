import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loopwright.errors import InvalidDefinition
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.durations import shown, to_ms

MINIMAL = {
    "name": "scoring",
    "version": 1,
    "description": "Scores a lead.",
    "input": {"type": "object", "properties": {"a": {}}},
    "output": {"type": "object", "properties": {"b": {}}},
    "endpoint": "http://127.0.0.1:8801/agents/scoring",
}


def test_defaults_are_those_of_the_documentation() -> None:
    got = AgentDefinition.model_validate(MINIMAL)
    assert (got.team, got.kind, got.reply, got.terminal, got.after) == ("default", "http", "response", False, ())
    assert (got.timeout_ms, got.callback_timeout_ms, got.concurrency) == (30_000, 600_000, 32)
    assert got.retry.model_dump() == {"attempts": 5, "initial_ms": 200, "max_ms": 10_000, "multiplier": 2.0}
    assert (got.cost.per_call, got.auth.type, got.ref) == (0.0, "none", "default/scoring@1")


def test_json_there_and_back_is_the_same() -> None:
    definition = AgentDefinition.model_validate(
        {**MINIMAL, "timeout": "2m", "after": ["a", "b"], "retry": {"initial": "1s", "max": "3s"}, "examples": [{"x": [1]}]}
    )
    assert AgentDefinition.from_json(definition.to_json()) == definition
    assert AgentDefinition.from_json(definition.to_json()).to_json() == definition.to_json()


def test_the_json_is_pinned() -> None:
    assert AgentDefinition.model_validate(MINIMAL).to_json() == (
        b'{"after":[],"auth":{"type":"none"},"callback_timeout_ms":600000,"concurrency":32,"cost":{"per_call":0.0},'
        b'"description":"Scores a lead.",'
        b'"endpoint":"http://127.0.0.1:8801/agents/scoring","examples":[],"input":{"properties":{"a":{}},"type":"object"},"kind":"http",'
        b'"name":"scoring","output":{"properties":{"b":{}},"type":"object"},"reply":"response",'
        b'"retry":{"attempts":5,"initial_ms":200,"max_ms":10000,"multiplier":2.0},"team":"default","terminal":false,"timeout_ms":30000,"version":1}'
    )


def test_allowed_networks_travel_with_the_definition_and_are_left_out_where_there_are_none() -> None:
    definition = AgentDefinition.model_validate({**MINIMAL, "allow_addresses": ["169.254.10.0/24", "fe80::1"]})
    assert definition.allow_addresses == ("169.254.10.0/24", "fe80::1/128")
    assert AgentDefinition.from_json(definition.to_json()) == definition
    before_the_field = AgentDefinition.model_validate(MINIMAL).to_json()
    assert b"allow_addresses" not in before_the_field
    assert AgentDefinition.from_json(before_the_field).allow_addresses == ()


def test_a_rate_is_read_and_a_definition_without_one_is_written_as_before_the_field() -> None:
    definition = AgentDefinition.model_validate({**MINIMAL, "rate": {"per_second": 10, "burst": 20}})
    assert definition.rate is not None
    assert (definition.rate.per_second, definition.rate.burst) == (10.0, 20)
    assert AgentDefinition.from_json(definition.to_json()) == definition
    assert b"rate" not in AgentDefinition.model_validate(MINIMAL).to_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Scoring"),
        ("name", "none"),
        ("name", ""),
        ("version", 0),
        ("version", "1"),
        ("version", True),
        ("description", ""),
        ("endpoint", "ftp://example.com"),
        ("endpoint", "http://"),
        ("endpoint", "http://user:secret@example.com/"),
        ("endpoint", "http://example.com:99999/"),
        ("endpoint", "http://example.com/\r\nX: y"),
        ("endpoint", "/agents/x"),
        ("reply", "later"),
        ("kind", "human"),
        ("terminal", "yes"),
        ("timeout", "0s"),
        ("timeout", "30"),
        ("timeout", -5),
        ("concurrency", 0),
        ("retry", {"attempts": 0}),
        ("retry", {"initial": "20s", "max": "1s"}),
        ("retry", {"multiplier": 0.5}),
        ("auth", {"type": "basic"}),
        ("cost", {"per_call": float("nan")}),
        ("allow_addresses", ["169.254.10.1/24"]),
        ("allow_addresses", ["here"]),
        ("allow_addresses", "169.254.10.0/24"),
        ("allow_addresses", [1]),
        ("rate", {"per_second": 0}),
        ("rate", {"per_second": 1, "burst": 0}),
        ("rate", {"burst": 1}),
        ("rate", 10),
        ("colour", "red"),
    ],
)
def test_a_wrong_field_is_refused_and_named(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        AgentDefinition.model_validate({**MINIMAL, field: value})
    assert str(caught.value.errors()[0]["loc"][0]).startswith(field)


def test_from_json_names_every_field_that_is_wrong() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        AgentDefinition.from_json(b'{"name": "X", "version": 0}')
    assert all(field in caught.value.why for field in ("name", "version", "description", "input", "output", "endpoint"))
    with pytest.raises(InvalidDefinition):
        AgentDefinition.from_json(b"\xff{")


@given(st.integers(1, 10**9))
def test_a_duration_reads_back_as_it_is_shown(ms: int) -> None:
    assert to_ms(shown(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"), [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1.5s", 1500), ("1h", 3_600_000), (" 3 s", 3000)]
)
def test_durations(text: str, ms: int) -> None:
    assert to_ms(text) == ms


@pytest.mark.parametrize("text", ["", "30", "s", "-3s", "3 parsecs", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        to_ms(text)
