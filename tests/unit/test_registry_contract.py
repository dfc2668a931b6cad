import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import InvalidDefinition
from loopwright.registry.contract import Contract

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["name", "email", "score", "secret", "tags"])
LEAD = Contract(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "email": {"type": "string", "format": "email"}, "tags": {"type": "array"}},
        "required": ["email"],
        "additionalProperties": True,
    }
)


def schema(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


@given(st.dictionaries(FIELDS | st.text(max_size=6), JSON, max_size=6))
def test_a_projection_holds_the_declared_fields_and_no_other(doc: dict[str, object]) -> None:
    part = LEAD.project(doc)
    assert part == {name: value for name, value in doc.items() if name in {"name", "email", "tags"}}
    assert LEAD.project(part) == part


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_a_contract_accepts_what_it_finds_no_error_in(doc: dict[str, object]) -> None:
    assert LEAD.accepts(doc) == (not LEAD.errors(doc))


@given(st.text(max_size=300))
def test_an_error_names_the_place_and_shows_a_bounded_part_of_the_value(text: str) -> None:
    for line in LEAD.errors({"email": text}):
        assert line.startswith("$.email: ")
        assert len(line) < 160


def test_the_number_of_errors_is_bounded() -> None:
    contract = Contract(schema(rows={"type": "array", "items": {"type": "integer"}}))
    assert len(contract.errors({"rows": ["x"] * 5000})) == 11


@pytest.mark.parametrize("email", ["nobody", "Eve <eve@example.com>", "a@b@c", "eve@example.com\nBcc: all@example.com", ""])
def test_formats_are_asserted(email: str) -> None:
    assert not LEAD.accepts({"email": email})


@pytest.mark.parametrize("email", ["eve@example.com", "eve+sdr@mail.example.co.uk"])
def test_addresses_are_accepted(email: str) -> None:
    assert LEAD.accepts({"email": email})


def test_what_is_not_json_is_not_accepted() -> None:
    assert not LEAD.accepts({"email": object()})
    assert not LEAD.accepts({1: 2, "email": "eve@example.com"})  # type: ignore[dict-item]
    assert LEAD.errors({1: 2})  # type: ignore[dict-item]


def test_a_pattern_that_backtracks_without_end_is_a_broken_contract() -> None:
    contract = Contract(schema(a={"type": "string", "pattern": "^(a+)+(?=b)c$"}))
    assert not contract.accepts({"a": "a" * 5000})


def test_required_and_properties_are_given() -> None:
    assert LEAD.required == {"email"}
    assert LEAD.properties == ("name", "email", "tags")


@pytest.mark.parametrize(
    ("broken", "place", "says"),
    [
        ({"type": "array", "properties": {}}, "type", "'array'"),
        ({"type": "object"}, "properties", "missing"),
        (schema(a={"type": "strin"}), "properties.a.type", "'strin'"),
        (schema(a={"pattern": "("}), "properties.a.pattern", "'('"),
        (schema(a={"format": "emial"}), "properties.a.format", "'emial'"),
        (schema(a={"$ref": "http://example.com/x.json"}), "properties.a.$ref", "never fetched"),
        (schema(a={"$ref": "file:///etc/passwd"}), "properties.a.$ref", "never fetched"),
        (schema(a={"$ref": "other.json"}), "properties.a.$ref", "never fetched"),
        (schema(a={"$ref": "#/$defs/b"}), "properties.a.$ref", "not in the schema"),
        ({**schema(a={}), "required": ["b"]}, "required", "'b'"),
        ({**schema(a={}), "required": [[]]}, "required", "[]"),
        ({**schema(a={}), "$schema": "http://json-schema.org/draft-07/schema#"}, "$schema", "draft-07"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_its_place(broken: dict[str, object], place: str, says: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        Contract(broken)
    assert caught.value.why.startswith(place)
    assert says in caught.value.why
