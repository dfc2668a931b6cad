"""What the demo says became of its leads."""

import io

import pytest
from rich.console import Console

from loopwright.cli.demo_leads import read_leads
from loopwright.cli.demo_summary import LeadRow, Way, as_json, change_line, hops_of, live_table, summary_lines, totals, totals_lines
from loopwright.errors import NotFound
from loopwright.settings import read_settings
from tests.unit.history_log import TOPICS, Log, worked_lead


def printed(*parts: object) -> str:
    screen = Console(file=io.StringIO(), width=160, highlight=False)
    for part in parts:
        screen.print(part)
    return screen.file.getvalue()  # type: ignore[attr-defined]


def refused() -> Log:
    """A lead that no agent accepts."""
    log = Log()
    log.started(name="Rosa")
    log.decided(1, "", "end", outcome="unroutable", targets=[], candidates=[], calls=0, tokens={}, reason="no agent accepts it")
    log.settled(1, "unroutable", "'email' is missing")
    return log


def lead(log: Log, name: str = "Ada") -> LeadRow:
    return LeadRow("w1", {"name": name, "company_name": "Engines Ltd"}, log.view())


def calling() -> Log:
    log = Log()
    log.started()
    log.decided(1, "lead-ingestion")
    return log


def test_a_completed_lead_is_shown_with_score_path_and_the_strategy_of_each_hop():
    text = printed(*summary_lines([lead(worked_lead())]))
    assert "lead-ingestion (only-candidate) → lead-scoring (llm) → end" in text
    assert "✓ Ada" in text
    assert "81" in text
    assert "completed" in text


def test_a_way_is_broken_only_after_an_arrow():
    way = Way(["lead-ingestion (only-candidate)", "lead-scoring (llm)", "end"])
    screen = Console(file=io.StringIO(), width=40)
    screen.print(way)
    assert screen.file.getvalue() == "    lead-ingestion (only-candidate) →\n    lead-scoring (llm) → end\n"


def test_a_refused_lead_is_accounted_for_and_says_why():
    row = lead(refused())
    assert row.accounted
    assert row.resting
    text = printed(*summary_lines([row]))
    assert "■ Ada" in text
    assert "why: 'email' is missing" in text


def test_an_end_without_a_reason_is_not_accounted_for():
    log = refused()
    log.records.pop()
    log.settled(1, "unroutable", "")
    row = lead(log)
    assert row.resting
    assert not row.accounted
    assert "no reason was given" in printed(*summary_lines([row]))


def test_a_lead_that_is_still_being_worked_or_was_never_seen_is_not_accounted_for():
    assert not lead(calling()).accounted
    unseen = LeadRow("w9", {}, None)
    assert not unseen.accounted
    assert "not seen in the logs" in printed(*summary_lines([unseen]))
    assert unseen.name == "w9"


def test_a_failed_call_is_marked_in_the_path():
    log = calling()
    log.failed(1, "lead-ingestion")
    assert hops_of(log.view()) == ["lead-ingestion (llm) failed"]


def test_totals_count_leads_ends_calls_and_tokens():
    rows = [lead(worked_lead()), lead(refused()), LeadRow("w9", {}, None)]
    said = totals(rows)
    assert (said["leads"], said["accounted_for"]) == (3, 2)
    assert said["ends"] == {"completed": 1, "refused": 1, "not seen": 1}
    assert (said["model_calls"], said["model_calls_per_workflow"], said["tokens"]) == (1, 0.33, 120)
    text = printed(*totals_lines(rows, "a model"))
    assert "accounted for 2 of 3 (1 completed, 1 refused, 1 not seen)" in text
    assert "routing: a model · 1 model calls, 0.33 per workflow · 120 tokens" in text


def test_no_leads_at_all_are_totals_too():
    assert totals([])["model_calls_per_workflow"] == 0


def test_hostile_names_are_shown_and_not_obeyed():
    row = LeadRow("w1", {"name": "\x1b[2J[bold]Ada", "company_name": ["not text"]}, worked_lead().view())
    text = printed(*summary_lines([row]), live_table([row], 0), change_line(row, 0))
    assert "\x1b" not in text
    assert "[bold]Ada" in text


def test_the_live_table_and_the_lines_say_who_is_being_called():
    row = lead(calling())
    assert "calling lead-ingestion" in printed(live_table([row], row.view.started_ms + 5000 if row.view else 0))
    assert "calling lead-ingestion" in printed(change_line(row, 1200))


def test_the_json_has_a_row_for_each_lead():
    body = as_json([lead(worked_lead()), LeadRow("w9", {"name": "B"}, None)])
    assert (body[0]["lead"], body[0]["status"], body[0]["accounted"]) == ("Ada", "completed", True)
    assert body[1]["end"] == "not seen in the logs"


def test_the_sample_leads_are_ten_with_ids_that_say_which_they_are():
    leads = read_leads(read_settings(), None)
    assert len(leads) == 10
    assert leads[0][0].startswith("01-demo-vp-logistics-")
    assert len({name for name, _ in leads}) == 10


def test_leads_can_come_from_a_file(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"name": "A"}\n{"name": "B"}\n')
    assert [document["name"] for _, document in read_leads(read_settings(), tmp_path / "mine.jsonl")] == ["A", "B"]


def test_missing_sample_leads_are_said_with_a_remedy(tmp_path):
    with pytest.raises(NotFound, match="--leads"):
        read_leads(read_settings(default_team_dir=tmp_path), None)


def test_dead_letters_of_a_lead_are_counted():
    log = calling()
    log.dead_letter(log.put(TOPICS.messages, b"[]", b"w1"), "w1")
    assert totals([lead(log)])["dead_letters"] == 1
