"""What `loopwright send` reads, and what it says of input that it cannot read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.cli.documents import documents_in
from loopwright.cli.send import SendOptions, new_id, start_emit, start_message
from loopwright.errors import InvalidDocument
from loopwright.message import Message, parse
from loopwright.settings import read_settings
from loopwright.step import Record

OBJECTS = st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8), max_size=4)


@given(OBJECTS)
def test_an_object_is_one_document(document):
    assert documents_in(json.dumps(document, indent=1).encode(), "f") == [document]


@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_an_array_is_a_document_per_item(documents):
    assert documents_in(json.dumps(documents).encode(), "f") == documents


@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_json_lines_are_a_document_per_line_and_empty_lines_are_nothing(documents):
    lines = "\n\n".join(json.dumps(document) for document in documents)
    assert documents_in(f"{lines}\n".encode(), "f") == documents


def test_a_byte_order_mark_is_no_part_of_the_document():
    assert documents_in(b'\xef\xbb\xbf{"a": 1}', "f") == [{"a": 1}]


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b'{"a": 1,\n "b": }', "f, line 2, column 7"),
        (b'{"a": 1}\n{"b": }\n', "f, line 2, column 7"),
        (b'{"a": 1}\n\n{"b": }\n', "f, line 3, column 7"),
        (b"nonsense", "f, line 1, column 1"),
        (b'{"a": "\xff"}', "f, line 1, column 8"),
        (b'{\n"a": "\xff"}', "f, line 2, column 7"),
        (b"", "f is empty"),
        (b" \n", "f is empty"),
        (b"[]", "f holds an empty array"),
        (b"[{}, 3]", "f, item 2 of the array is a JSON number: 3"),
        (b'"text"', "f is a JSON string"),
        (b'{"a": 1}\n[2]\n', "f, line 2 is a JSON array"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "f"),
        (b"[" * 100_000, "f"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(raw, place):
    with pytest.raises(InvalidDocument) as caught:
        documents_in(raw, "f")
    assert place in caught.value.why
    assert caught.value.remedy


@given(st.binary(max_size=40))
def test_any_bytes_are_documents_or_a_refusal(raw):
    refusal = ""
    try:
        documents_in(raw, "f")
    except InvalidDocument as refused:
        refusal = refused.why
    assert not refusal or refusal.startswith("f")


SETTINGS = read_settings()


def test_the_record_that_is_sent_is_the_start_of_a_workflow_with_its_options():
    options = SendOptions(team="sdr", deadline_ms=9000, hop_limit=3)
    emit = start_emit(start_message({"name": "Ada"}, "w1", options, 1_780_000_000_000), SETTINGS)
    message = parse(Record(emit.topic, 0, 0, 0, emit.key, emit.value), SETTINGS.limits)
    assert isinstance(message, Message)
    assert (message.workflow, emit.key, message.type) == ("w1", b"w1", "loopwright.workflow.started")
    assert message.data == {"document": {"name": "Ada"}, "team": "sdr", "deadline_ms": 9000, "hop_limit": 3}
    assert message.traceparent.startswith("00-")


def test_what_is_not_said_is_left_to_the_job():
    assert start_message({}, "w1", SendOptions(), 0).data == {"document": {}}


@pytest.mark.parametrize("document", [{"a": 2**70}, {"a": 2**63}, {"a": "\ud800"}, {"a": "x" * 1_100_000}])
def test_a_document_that_the_job_would_refuse_is_refused_before_it_is_sent(document):
    with pytest.raises(InvalidDocument):
        start_emit(start_message(document, "w1", SendOptions(), 0), SETTINGS)


def test_a_document_that_is_nested_too_deeply_is_refused_before_it_is_sent():
    document: dict[str, object] = {}
    for _ in range(70):
        document = {"a": document}
    with pytest.raises(InvalidDocument, match="too-deep"):
        start_emit(start_message(document, "w1", SendOptions(), 0), SETTINGS)


def test_new_ids_differ():
    assert len({new_id() for _ in range(1000)}) == 1000
