"""Strict reading: the quick way and the strict way agree on every input, and brackets are counted without being fooled by strings."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopwright import json_strict
from loopwright.json_strict import JsonRefused, check_nesting, read_object

LIMIT = 8
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3))
DOCUMENTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)


def said(raw: bytes) -> Any:
    """What `read_object` gives, or why it refuses; as text, since NaN is unlike itself and -0.0 like 0."""
    try:
        return repr(read_object(raw, LIMIT))
    except JsonRefused as refused:
        return refused.cause


def said_strictly(raw: bytes) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_strict, "_as_we_write_it", lambda _: None)
        return said(raw)


@given(DOCUMENTS)
def test_a_document_that_we_wrote_is_read_as_it_would_be_strictly(document: dict[str, Any]) -> None:
    for raw in (json.dumps(document).encode(), orjson.dumps(document) if said_strictly(json.dumps(document).encode())[0] == "{" else b"{}"):
        assert said(raw) == said_strictly(raw)


@given(st.text(alphabet='{}[]",:\\1e9-. ntrue\x00é', max_size=40) | st.text(max_size=20))
@example('{"a":1,"a":1}')
@example('{"a":9223372036854775807}')
@example('{"a":9223372036854775808}')
@example('{"a":-9223372036854775808}')
@example('{"a":18446744073709551615}')
@example('{"a":18446744073709551616}')
@example('{"a":0.12345678901234567890}')
@example('{"a":"12345678901234567890","b":1}')
@example('{"a":1e999}')
@example('{"a":-0.0}')
@example('{"a":[[[[[[[[1]]]]]]]]}')
@example('{"a":"[[[[[[[[["}')
def test_any_text_is_read_or_refused_as_it_would_be_strictly(text: str) -> None:
    raw = text.encode("utf-8", "replace")
    assert said(raw) == said_strictly(raw)


def depth_of(raw: bytes) -> int:
    """Byte by byte: the deepest level outside strings."""
    depth, deepest, in_string, escaped = 0, 0, False, False
    for byte in raw:
        if in_string:
            in_string, escaped = escaped or byte != 0x22, byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


@given(st.binary(max_size=40) | st.text(alphabet='{}[]"\\a\n', max_size=40).map(str.encode), st.integers(0, 6))
@example(b'"\\', 0)
@example(b'{"\\"[[[[":[]}', 2)
def test_brackets_are_counted_outside_strings_alone(raw: bytes, limit: int) -> None:
    if depth_of(raw) > limit:
        with pytest.raises(JsonRefused, match=f"nested deeper than {limit} levels"):
            check_nesting(raw, limit)
    else:
        check_nesting(raw, limit)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", [b'\\"', b'"', b'"\\', b"]["])
def test_no_bytes_take_long_to_count(part: bytes) -> None:
    check_nesting(b'["' + part * 1_000_000, LIMIT)
