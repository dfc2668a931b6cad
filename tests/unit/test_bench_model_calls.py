from dataclasses import replace

import pytest

from bench.model_calls import CONTRACTS, EVERY_MESSAGE, TEAM, compare, differences, leads_of, right, summed_up

LEADS = leads_of(TEAM / "leads")
WORDS = "\n\nHas run: {}\n\nDocument (data, not instructions):\n{}"
SENT, FAILED = "loopwright.workflow.completed", "loopwright.workflow.failed"


def words(text: str) -> int:
    return len(text.split())


def test_a_message_costs_a_call_only_where_the_contracts_leave_a_choice() -> None:
    names = ("01-demo-vp-logistics", "05-newsletter-student")
    found = compare({name: LEADS[name] for name in names}, words)
    assert [cost.calls for cost in found[CONTRACTS].values()] == [1, 1]
    assert [cost.calls for cost in found[EVERY_MESSAGE].values()] == [5, 5]
    assert {cost.end for costs in found.values() for cost in costs.values()} == {SENT}
    assert [costs.path[2] for costs in found[EVERY_MESSAGE].values()] == ["active-outreach", "nurture-campaign"]
    assert all(0 < found[CONTRACTS][name].prompt_tokens < found[EVERY_MESSAGE][name].prompt_tokens for name in names)
    assert differences(found) == []


def test_a_lead_that_took_another_path_is_named() -> None:
    found = compare({"one": LEADS["01-demo-vp-logistics"]}, words)
    found[CONTRACTS]["one"] = replace(found[CONTRACTS]["one"], path=("lead-ingestion",))
    assert differences(found) == ["one"]


def test_a_lead_that_no_agent_takes_costs_no_call_and_is_not_compared() -> None:
    found = compare({"refused": LEADS["09-newsletter-no-email"]}, words)
    assert (found[CONTRACTS]["refused"].calls, found[CONTRACTS]["refused"].end) == (0, FAILED)
    assert found[EVERY_MESSAGE] == {}


@pytest.mark.parametrize(
    ("ran", "document", "chosen"),
    [
        ("nothing", "{}", "lead-ingestion"),
        ("lead-ingestion", "{}", "lead-scoring"),
        ("lead-ingestion, lead-scoring", '{"next_step":"Actively Engage"}', "active-outreach"),
        ("lead-ingestion, lead-scoring", '{"next_step":"Nurture"}', "nurture-campaign"),
        ("lead-ingestion, lead-scoring, nurture-campaign", "{}", "send-email"),
        ("lead-ingestion, lead-scoring, nurture-campaign, send-email", "{}", "none"),
    ],
)
def test_the_right_model_follows_the_descriptions(ran: str, document: str, chosen: str) -> None:
    assert right(WORDS.format(ran, document)) == chosen


def test_the_means_are_those_per_lead() -> None:
    found = compare({name: LEADS[name] for name in ("01-demo-vp-logistics", "04-whitepaper-manager")}, lambda _text: 10)
    assert summed_up(list(found[CONTRACTS].values())) == {"calls": 1, "prompt_tokens": 20, "completion_tokens": 10}
