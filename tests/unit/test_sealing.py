"""Sealed values: what goes in comes out, in its own workflow and field alone, with its own key alone."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import InvalidDocument, InvalidSettings, KeyMissing, SealBroken
from loopwright.sealing import SEALED, Keys, hidden, is_sealed, keys_in, open_value, revealed, seal, seal_value, unseal

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
KEYS = Keys("new", {"old": OLD, "new": NEW})
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "sealed-v1.json"
NAMES = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, NAMES, NAMES)
def test_what_is_sealed_opens_in_its_place(value: Any, workflow: str, name: str) -> None:
    made = seal_value(value, workflow, name, KEYS)
    assert is_sealed(made)
    assert open_value(made, workflow, name, KEYS) == value


@given(VALUES, NAMES, NAMES, NAMES, NAMES)
def test_what_is_sealed_opens_in_no_other_workflow_or_field(value: Any, workflow: str, name: str, other: str, field: str) -> None:
    made = seal_value(value, workflow, name, KEYS)
    if (other, field) != (workflow, name):
        with pytest.raises(SealBroken):
            open_value(made, other, field, KEYS)


@given(VALUES, st.data())
def test_a_sealed_value_that_was_changed_anywhere_is_refused(value: Any, data: st.DataObject) -> None:
    made = seal_value(value, "w", "phone", KEYS)[SEALED]
    part = data.draw(st.sampled_from(["nonce", "data"]))
    raw = bytearray(base64.b64decode(made[part]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        open_value({SEALED: made | {part: base64.b64encode(bytes(raw)).decode()}}, "w", "phone", KEYS)
    with pytest.raises(SealBroken):
        open_value({SEALED: made | {"kid": "old"}}, "w", "phone", KEYS)


@pytest.mark.parametrize(
    "inner",
    [{}, None, "x", [], {"v": 1}, {"v": 2, "kid": "new", "alg": "A256GCM", "nonce": "", "data": ""}]
    + [
        {"v": 1, "kid": "new", "alg": alg, "nonce": nonce, "data": data}
        for alg in ("A256GCM", "none")
        for nonce in ("", 5, "é", "A")
        for data in ("", {}, "AA==")
    ],
)
def test_what_only_looks_sealed_is_refused_and_never_crashes(inner: Any) -> None:
    with pytest.raises(SealBroken):
        open_value({SEALED: inner}, "w", "phone", KEYS)


@given(VALUES)
def test_the_same_value_in_the_same_place_looks_the_same_and_elsewhere_does_not(value: Any) -> None:
    made = seal_value(value, "w", "phone", KEYS)
    assert made == seal_value(copy.deepcopy(value), "w", "phone", KEYS)
    others = [seal_value(value, "w", "email", KEYS), seal_value(value, "x", "phone", KEYS)]
    others.append(seal_value(value, "w", "phone", Keys("old", KEYS.keys)))
    assert len({json.dumps(each) for each in (made, *others)}) == 4


def test_old_values_open_after_a_rotation_and_new_ones_are_made_with_the_new_key() -> None:
    before = Keys("old", {"old": OLD})
    made = seal_value("+49 30 901820", "w", "phone", before)
    assert open_value(made, "w", "phone", KEYS) == "+49 30 901820"
    assert seal_value("x", "w", "phone", KEYS)[SEALED]["kid"] == "new"
    with pytest.raises(KeyMissing) as raised:
        open_value(seal_value("x", "w", "phone", KEYS), "w", "phone", before)
    assert "'new'" in raised.value.why


def test_the_format_is_the_pinned_one() -> None:
    pinned = json.loads(GOLDEN.read_text())
    keys = keys_in(pinned["keys"])
    assert open_value(pinned["sealed"], pinned["workflow"], pinned["field"], keys) == pinned["value"]
    assert seal_value(pinned["value"], pinned["workflow"], pinned["field"], keys) == pinned["sealed"]


def test_a_document_is_sealed_field_by_field_and_what_is_sealed_stays() -> None:
    document = {"name": "Ada", "phone": "123", "email": None}
    once = seal(document, {"phone", "email", "absent"}, KEYS, "w")
    assert (once["name"], once["email"], is_sealed(once["phone"])) == ("Ada", None, True)
    assert seal(once, {"phone"}, KEYS, "w") == once
    assert unseal(once, KEYS, "w") == document
    with pytest.raises(SealBroken):
        seal(once, {"phone"}, KEYS, "another")


def test_without_keys_nothing_sensitive_passes() -> None:
    assert seal({"name": "Ada", "phone": None}, {"phone"}, None, "w") == {"name": "Ada", "phone": None}
    with pytest.raises(InvalidSettings) as raised:
        seal({"phone": "123"}, {"phone"}, None, "w")
    assert "loopwright keys new" in raised.value.remedy
    with pytest.raises(InvalidDocument):
        seal({"phone": "\ud800"}, {"phone"}, KEYS, "w")


def test_what_is_shown_is_masked_and_can_be_revealed_with_the_keys() -> None:
    told = {"steps": [{"output": seal({"phone": "123", "name": "Ada"}, {"phone"}, KEYS, "w")}]}
    assert hidden(told) == {"steps": [{"output": {"phone": "***", "name": "Ada"}}]}
    assert revealed(told, "w", KEYS) == {"steps": [{"output": {"phone": "123", "name": "Ada"}}]}
    assert revealed(told, "x", KEYS) == hidden(told)


def test_keys_are_never_shown() -> None:
    assert "\\x" not in repr(KEYS)
    encoded = base64.b64encode(NEW).decode()
    for wrong in ({}, {"active": "a"}, {"active": "b", "keys": {"a": encoded}}, {"active": "a", "keys": {"a": encoded + "!"}}, [encoded]):
        with pytest.raises(InvalidSettings) as raised:
            keys_in(wrong)
        assert encoded not in str(raised.value)
    for kid, text in (("a", "AAAA"), ("a b", encoded), ("", encoded), ("a", 5), ("a", None)):
        with pytest.raises(InvalidSettings):
            keys_in({"active": kid, "keys": {kid: text}})
    assert keys_in({"active": "a", "keys": {"a": encoded}}).keys == {"a": NEW}
