"""The pure core as the benchmark times it does the work of the comparison: every hop asks the model, and every lead ends."""

from bench import core
from bench.workload import AGENTS, HOPS
from loopwright.schemas import DECIDED, REPLIED


def test_every_hop_asks_the_model_and_every_lead_is_worked_to_its_end() -> None:
    simulation = core.worked(3)
    topics = simulation.settings.topics
    replies = [message for message in simulation.read(topics.messages) if message.type == REPLIED]
    assert [message.data["agent"] for message in replies] == list(AGENTS) * 3
    decisions = [message for message in simulation.read(topics.decisions) if message.type == DECIDED]
    assert [message.data["calls"] for message in decisions if message.data["outcome"] == "dispatch"] == [1] * 3 * HOPS


def test_each_run_gives_a_time_a_hop() -> None:
    assert all(0 < ms < 1000 for ms in core.measured(workflows=1, runs=2))
