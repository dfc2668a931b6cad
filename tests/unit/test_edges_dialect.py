import pytest

from loopwright.edges.dialect import Dialect, Question, adapted, body

QUESTION = Question([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], {"type": "object"}, "next_agent", 50)


def test_the_first_request_has_the_schema_enforced_and_no_randomness():
    made = body(Dialect(), "m", QUESTION)
    assert made["temperature"] == 0
    assert made["max_tokens"] == 50
    assert made["response_format"]["json_schema"] == {"name": "next_agent", "strict": True, "schema": {"type": "object"}}
    assert made["messages"] == QUESTION.messages


def test_an_endpoint_without_json_schema_is_given_the_schema_in_words():
    made = body(Dialect("json_object"), "m", QUESTION)
    assert made["response_format"] == {"type": "json_object"}
    assert made["messages"][-1]["content"].startswith("u\n\nAnswer with one JSON object")
    assert made["messages"][-1]["content"].endswith('{"type":"object"}')
    assert QUESTION.messages[-1]["content"] == "u"
    assert "response_format" not in body(Dialect("text"), "m", QUESTION)


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ("Unsupported value: 'temperature' does not support 0 with this model", Dialect(temperature=False)),
        ("'max_tokens' is not supported: use 'max_completion_tokens'", Dialect(tokens_field="max_completion_tokens")),
        ("response_format is not supported", Dialect("json_object")),
        ("something else", Dialect("json_object")),
        ("This model's maximum context length is 4096 tokens", None),
    ],
)
def test_a_refusal_takes_one_thing_back(refusal, expected):
    assert adapted(Dialect(), refusal) == expected


def test_taking_back_comes_to_an_end_whatever_is_refused():
    dialect, steps = Dialect(), 0
    while (simpler := adapted(dialect, "temperature max_completion_tokens response_format")) is not None:
        dialect, steps = simpler, steps + 1
    assert steps == 4
    assert dialect == Dialect("text", temperature=False, tokens_field="max_completion_tokens")
