"""What reaches the terminal."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from loopwright.cli.show import clean, duration, summary, workflow_table
from loopwright.cli.trace import find, print_view
from loopwright.cli.watch import chosen, picture
from loopwright.errors import NotFound
from tests.unit.history_log import TOPICS, Log, timeline_of, worked_lead


def printed(what: object, width: int = 160) -> str:
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    screen.print(what)
    return screen.file.getvalue()  # type: ignore[attr-defined]


def traced(log: Log, workflow: str = "w1") -> str:
    screen = Console(file=io.StringIO(), width=200, highlight=False)
    print_view(screen, log.view(workflow))
    return screen.file.getvalue()  # type: ignore[attr-defined]


@given(st.text() | st.text(alphabet="\x1b[31m\r\n\x9b\u202e\u2028a"))
def test_no_text_from_a_log_can_steer_the_terminal(said):
    assert not [letter for letter in clean(said) if unicodedata.category(letter) in ("Cc", "Zl", "Zp")]
    assert not {"\x1b", "\r", "\n", "\x07", "\u202e", "\u2028"} & set(clean(said))


def test_long_text_is_cut():
    assert clean("abcdef", 4) == "abc…"


def test_hostile_text_of_an_agent_reaches_the_trace_as_text():
    log = Log()
    log.started(name="\x1b[2J[red]Ada[/red]")
    log.decided(1, "a", reason="\x1b]0;owned\x07 [link=http://x]click[/link]")
    text = traced(log)
    assert "\x1b" not in text
    assert "[link=http://x]click[/link]" in text
    assert "[red]Ada[/red]" in text


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (61_000, "1 min 01 s"), (3_600_000, "1 h 00 min"), (90_000_000, "1 d 1 h")],
)
def test_durations_are_said_as_a_person_says_them(ms, said):
    assert duration(ms) == said


def test_the_trace_tells_strategy_candidates_reason_confidence_tokens_and_attempts():
    text = traced(worked_lead())
    for part in (
        "by llm: it fits",
        "lead-scoring, other",
        "confidence 0.9",
        "model m",
        "100 prompt + 20 completion",
        "2 attempts, HTTP 200",
        "33 ms",
    ):
        assert part in text


def test_the_trace_says_why_a_candidate_was_not_taken_and_what_was_ignored():
    log = Log()
    log.started()
    log.decided(1, "a", rejected=[{"agent": "send-email", "why": "emails: is missing"}])
    log.decided(1, "b")
    text = traced(log)
    assert "not: send-email: emails: is missing" in text
    assert "ignored: a decision for this hop was already logged" in text
    assert "still open" in text


def test_the_table_shows_every_workflow_and_the_summary_counts_them():
    log = worked_lead()
    log.started("w2")
    log.decided(1, "lead-ingestion", workflow="w2")
    log.dead_letter(log.put(TOPICS.messages, b"\xff"))
    views = log.timeline().views()
    text = printed(workflow_table(views, log.now_ms))
    assert "calling lead-ingestion" in text
    assert "lead-ingestion → lead-scoring" in text
    assert summary(views, 1) == "2 workflows: 1 open, 1 completed · 1 dead letter"


def test_the_live_picture_is_cut_to_the_screen_and_says_so():
    log = Log()
    for number in range(9):
        log.started(f"w{number}")
    text = printed(picture(log.timeline(), 4))
    assert "5 more not shown" in text
    assert "w8" in text


def test_open_workflows_come_first_and_old_ends_can_be_left_out():
    log = worked_lead()
    log.started("w2")
    log.started("w3")
    views = log.timeline().views()
    assert [view.workflow for view in chosen(views, None, log.now_ms)] == ["w3", "w2", "w1"]
    assert [view.workflow for view in chosen(views, 5, log.now_ms + 100_000)] == ["w3", "w2"]


def test_a_workflow_is_found_by_its_id_or_by_an_unmistakable_beginning():
    log = Log()
    for name in ("abc", "abcd", "xyz"):
        log.started(name)
    timeline = log.timeline()
    assert find(timeline, "abc") == "abc"
    assert find(timeline, "x") == "xyz"
    with pytest.raises(NotFound, match="2 workflows begin with"):
        find(timeline, "ab")


def test_an_unknown_workflow_comes_with_near_matches():
    log = Log()
    log.started("lead-0042")
    with pytest.raises(NotFound, match="did you mean lead-0042"):
        find(log.timeline(), "lead-0024")
    with pytest.raises(NotFound, match="watch --once"):
        find(log.timeline(), "zzz")
    with pytest.raises(NotFound, match="loopwright send"):
        find(timeline_of([]), "zzz")


def test_a_refused_bare_record_can_be_traced_by_its_position():
    log = Log()
    log.dead_letter(log.put(TOPICS.messages, b"\xff"))
    view = log.timeline().refused("agent-messages-0-0")
    assert view is not None
    assert [step.kind.value for step in view.steps] == ["rejected", "dead-letter"]
    assert log.timeline().refused("agent-messages-0-1") is None
