"""What becomes of dead letters, from the log alone."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.history.letters import Letter, LetterState, fold, matching, settlement, shown_original
from loopwright.history.view import Status
from loopwright.message import encode
from loopwright.step import Record
from tests.unit.history_log import LIMITS, START_MS, TOPICS, Log

OPEN, RETRIED, DROPPED = LetterState


def letters(log: Log) -> list[Letter]:
    return fold(log.records, TOPICS, LIMITS)


def settle(log: Log, letter: Letter, to: LetterState = RETRIED, /, **changed: Any) -> Record:
    message = settlement(letter, to, "because", "ann", log.now_ms)
    body = orjson.loads(encode(message))
    body["data"] |= changed
    return log.put(TOPICS.dead_letters, orjson.dumps(body), letter.key)


def log_with_letters() -> Log:
    """A keyless record that is no JSON (0-0), one with a key (0-1), and a call that was given up (0-2)."""
    log = Log()
    log.dead_letter(log.put(TOPICS.messages, b"\xff"))
    log.dead_letter(log.put(TOPICS.messages, b"{", b"w1"), "w1")
    data = {"agent": "a", "version": 1, "cause": "Unavailable", "stage": "dispatch", "why": "503", "original": {}}
    log.say(TOPICS.dead_letters, schemas.FAILED, data, "w2", 1)
    return log


def test_a_letter_is_open_and_says_where_its_record_stood():
    first, second, call = letters(log_with_letters())
    assert [letter.state for letter in (first, second, call)] == [OPEN, OPEN, OPEN]
    assert [letter.position for letter in (first, second, call)] == ["0-0", "0-1", "0-2"]
    assert (str(second.source), second.workflow, second.cause) == ("agent-messages-0@1", "w1", "invalid-json")
    assert (call.source, call.workflow, call.cause) == (None, "w2", "Unavailable")


def test_a_letter_keeps_the_bytes_and_the_key_of_its_record():
    first, second, call = letters(log_with_letters())
    assert (first.original, first.original_key, first.workflow) == (b"\xff", b"", "")
    assert (second.original, second.original_key) == (b"{", b"w1")
    assert call.original is None
    assert [shown_original(letter) for letter in (first, second, call)] == [("base64", "/w=="), ("utf-8", "{"), ("", "")]


@pytest.mark.parametrize("action", [RETRIED, DROPPED])
def test_a_settled_letter_says_who_settled_it_and_why(action):
    log = log_with_letters()
    settle(log, letters(log)[1], action)
    told = letters(log)[1]
    assert told.state is action
    assert told.settlement is not None
    assert (told.settlement.by, told.settlement.reason, told.settlement.time_ms) == ("ann", "because", log.now_ms)
    assert [letter.state for letter in letters(log)] == [OPEN, action, OPEN]


def test_the_first_settlement_counts():
    log = log_with_letters()
    letter = letters(log)[0]
    settle(log, letter, DROPPED)
    settle(log, letter, RETRIED)
    assert letters(log)[0].state is DROPPED


@pytest.mark.parametrize(
    "changed", [{"letter": "unknown"}, {"position": "0-77"}, {"position": 1}, {"letter": None}, {"action": "open"}, {"action": ["retried"]}]
)
def test_what_settles_an_unknown_letter_is_ignored(changed):
    log = log_with_letters()
    settle(log, letters(log)[0], **changed)
    assert [letter.state for letter in letters(log)] == [OPEN, OPEN, OPEN]


def test_a_letter_that_was_written_twice_is_one_and_is_settled_by_either_position():
    log = log_with_letters()
    log.dead_letter(log.records[0])
    twice = letters(log)[0]
    assert len(letters(log)) == 3
    assert [copy.offset for copy in twice.copies] == [3]
    assert matching(letters(log), "0-3") == [twice]
    settle(log, twice, position="0-3")
    assert [letter.state for letter in letters(log)] == [RETRIED, OPEN, OPEN]


def test_the_order_of_reading_does_not_matter():
    log = log_with_letters()
    settle(log, letters(log)[0], DROPPED)
    settle(log, letters(log)[0], RETRIED)
    expected = letters(log)
    assert all(fold(records, TOPICS, LIMITS) == expected for records in itertools.permutations(log.records))


def test_a_letter_is_found_by_position_id_and_the_beginning_of_its_id():
    found = letters(log_with_letters())
    for letter in found:
        assert [matching(found, name) for name in (letter.position, letter.id, letter.id[:12])] == [[letter]] * 3
    assert matching(found, "") == []
    assert matching(found, "0-9") == []


def test_that_a_letter_was_settled_is_no_dead_letter_and_changes_no_workflow():
    log = log_with_letters()
    log.started("w1")
    before = log.timeline()
    settle(log, letters(log)[1])
    after = log.timeline()
    assert (after.dead_letters, set(after)) == (before.dead_letters, set(before))
    old, new = before.view("w1"), after.view("w1")
    assert (new.status, new.dead_letters, new.updated_ms, new.ignored) == (old.status, 1, old.updated_ms, 0)
    assert new.steps[-1].summary == "dead letter 0-1 retried by ann: because"


def test_that_the_letter_of_no_workflow_was_settled_makes_no_workflow():
    log = log_with_letters()
    name = letters(log)[0].message.workflow
    settle(log, letters(log)[0], DROPPED)
    refused = log.timeline().refused(name)
    assert name not in log.timeline()
    assert refused is not None
    assert (refused.status, refused.dead_letters) == (Status.REJECTED, 1)


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2))
NAMES = st.sampled_from(["cause", "why", "topic", "partition", "offset", "original", "letter", "position", "action", "by", "reason"])
FILLED = st.dictionaries(
    NAMES, VALUES | st.sampled_from(["0-0", "retried", "w"]) | st.dictionaries(st.sampled_from(["encoding", "value"]), VALUES)
)


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([schemas.REJECTED, schemas.FAILED, schemas.LETTER_SETTLED, "other"]))
    body = {"specversion": "1.0", "id": "i", "type": kind, "source": "s", "workflowid": "w", "schemaversion": 1, "data": draw(FILLED)}
    return orjson.dumps(body)


@given(st.lists(st.none() | st.binary(max_size=40) | envelopes(), max_size=6))
def test_no_bytes_make_it_fail(values):
    records = [Record(TOPICS.dead_letters, 0, at, START_MS, b"k", value) for at, value in enumerate(values)]
    found = fold(records, TOPICS, LIMITS)
    assert len(found) <= len(values)
    for letter in found:
        assert orjson.loads(orjson.dumps(letter.as_dict(full=True)))["state"] == letter.state
        assert shown_original(letter)[0] in ("", "utf-8", "base64")
        assert matching(found, letter.position) == [letter]
