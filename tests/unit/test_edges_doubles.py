"""The pure parts of the test doubles."""

import json

import jsonschema_rs
import pytest

from loopwright.testing.keyword_model import keyword_policy, schema_of
from loopwright.testing.schema_instance import instance

CHOICE = {
    "type": "object",
    "properties": {
        "agent": {"type": "string", "enum": ["nurture-campaign", "active-outreach", "none"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reason": {"type": "string"},
    },
    "required": ["agent", "confidence", "reason"],
    "additionalProperties": False,
}
AGENTS = (
    "Agents:\n- nurture-campaign: Writes a sequence of three nurture mails. Use it when the next step is Nurture.\n"
    "- active-outreach: Writes one personal mail. Use it when the next step is Actively Engage.\n\nDocument:\n"
)
OTHER = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "minimum": 5, "maximum": 100},
        "step": {"anyOf": [{"$ref": "#/$defs/step"}, {"type": "null"}]},
        "mails": {"type": "array", "minItems": 3, "items": {"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]}},
        "note": {"type": ["string", "null"], "minLength": 3},
        "sure": {"type": "boolean"},
        "optional": {"type": "string"},
    },
    "required": ["score", "step", "mails", "note", "sure"],
    "$defs": {"step": {"enum": ["Nurture", "Actively Engage"]}},
}


@pytest.mark.parametrize("schema", [CHOICE, OTHER, {"type": "object"}, {"const": 3}, {"type": "number", "exclusiveMinimum": 0}])
def test_an_instance_keeps_its_schema(schema):
    assert jsonschema_rs.validator_for(schema).is_valid(instance(schema))


@pytest.mark.parametrize(("step", "agent"), [("Nurture", "nurture-campaign"), ("Actively Engage", "active-outreach")])
def test_the_honest_model_picks_the_agent_whose_words_the_document_has(step, agent):
    content = AGENTS + json.dumps({"next_step": step, "score": 50})
    answer = json.loads(
        keyword_policy({"messages": [{"role": "user", "content": content}], "response_format": {"json_schema": {"schema": CHOICE}}})
    )
    assert answer["agent"] == agent
    assert jsonschema_rs.validator_for(CHOICE).is_valid(answer)


def test_a_schema_given_in_words_is_found():
    content = f"Document: {{not json}} {json.dumps({'a': 1})} Schema: {json.dumps(CHOICE)}"
    assert schema_of({"messages": [{"role": "user", "content": content}]}) == CHOICE
    assert schema_of({"messages": [{"role": "user", "content": "hello"}]}) is None
