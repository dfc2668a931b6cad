"""What a contract may mark as sensitive, and what it may not say of such a field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import InvalidDefinition
from loopwright.registry.contract import Contract
from loopwright.sealing import SEALED, Keys, seal

KEYS = Keys("a", {"a": b"a" * 32})
PHONE = {"type": "string", "enum": ["+1", "+2"], "x-sensitive": True}


def contract(fields: dict[str, Any] | None = None, **more: Any) -> Contract:
    return Contract({"type": "object", "properties": {"name": {"type": "string"}, "phone": PHONE, **(fields or {})}, **more})


def test_a_sealed_value_is_taken_for_any_value_of_its_field_and_for_nothing_else() -> None:
    made = contract(required=["phone"], additionalProperties=False)
    sealed = seal({"name": "Ada", "phone": "no such number"}, {"phone"}, KEYS, "w")
    assert made.sensitive == {"phone"}
    assert made.accepts(sealed)
    assert not made.accepts(sealed | {"name": 5})
    assert not made.accepts(sealed | {"other": sealed["phone"]})
    assert not made.accepts({"name": "Ada"})
    assert not made.accepts({"phone": "no such number"})


@given(
    st.text(min_size=1).filter(lambda text: text not in "'+1+2...,]}[{ breaks `enum`; its value is not shown$.phone***additionalProperties")
)
def test_what_is_said_of_an_error_never_holds_the_value(value: str) -> None:
    secret = f"{value}-secret"
    made = contract(additionalProperties=False)
    for document in ({"phone": secret}, {"phone": [secret]}, {"phone": secret, "other": 1}):
        assert not [line for line in made.errors(document) if "-secret" in line]
    assert not [line for line in contract().errors({"name": [secret]}, ["name"]) if "-secret" in line]


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"fields": {"deep": {"type": "object", "properties": {"x": {"x-sensitive": True}}}}}, "properties.deep.properties.x.x-sensitive"),
        ({"fields": {"list": {"items": {"x-sensitive": True}}}}, "properties.list.items.x-sensitive"),
        ({"fields": {"word": {"x-sensitive": "yes"}}}, "properties.word.x-sensitive"),
        ({"x-sensitive": True}, "x-sensitive"),
        ({"$defs": {"p": {"x-sensitive": True}}}, "$defs.p.x-sensitive"),
        ({"if": {"properties": {"phone": {"const": "+1"}}}, "then": {"required": ["name"]}}, "if"),
        ({"allOf": [{"$ref": "#/$defs/p"}], "$defs": {"p": {"properties": {"phone": {"const": "+1"}}}}}, "allOf"),
        ({"anyOf": [{"required": ["name"]}, {"not": {"properties": {"phone": True}}}]}, "anyOf"),
        ({"dependentSchemas": {"name": {"properties": {"phone": True}}}}, "dependentSchemas"),
        ({"patternProperties": {"^p": {"type": "string"}}}, "patternProperties"),
        ({"enum": [{"phone": "+1"}]}, "enum"),
    ],
)
def test_a_mark_that_could_not_be_kept_is_refused_with_its_place(more: dict[str, Any], place: str) -> None:
    fields = more.pop("fields", None)
    with pytest.raises(InvalidDefinition) as raised:
        contract(fields, **more)
    assert raised.value.why.startswith(f"{place}: ")


@pytest.mark.parametrize(
    "more",
    [
        {"anyOf": [{"required": ["name"]}, {"required": ["phone"]}]},
        {"if": {"properties": {"name": {"const": "Ada"}}}, "then": {"required": ["phone"]}},
        {"allOf": [{"$ref": "#/$defs/loop"}], "$defs": {"loop": {"anyOf": [{"$ref": "#/$defs/loop"}, {"required": ["name"]}]}}},
        {"dependentRequired": {"phone": ["name"]}},
        {"fields": {"x-sensitive": {"type": "string"}, "kept": {"x-sensitive": False, "default": {"x-sensitive": True}}}},
    ],
)
def test_what_does_not_look_at_the_value_may_stand_beside_it(more: dict[str, Any]) -> None:
    fields = more.pop("fields", None)
    assert contract(fields, **more).sensitive == {"phone"}


def test_a_document_that_only_looks_sealed_is_no_reason_to_look_away_from_the_rest() -> None:
    assert not contract().accepts({"phone": {SEALED: {}}, "name": 1})
    assert not contract().accepts({"phone": {SEALED: {}, "more": 1}})
