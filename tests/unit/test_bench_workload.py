"""The workload that all systems under test are given: every hop asks, every hop adds a field, the times follow from the arguments alone."""

import statistics

import pytest

from bench import workload


def walked() -> list[dict[str, object]]:
    """The documents that the hops of one lead begin with."""
    document, found = workload.lead(7), []
    for _ in range(workload.HOPS):
        found.append(dict(document))
        document |= workload.output(workload.choose(document))
    return [*found, document]


def test_a_lead_is_worked_by_every_agent_in_turn() -> None:
    *begun, worked = walked()
    assert [workload.choose(document) for document in begun] == list(workload.AGENTS)
    assert [workload.hop(document) for document in begun] == [1, 2, 3, 4, 5]
    assert workload.choose(worked) == "none"
    assert [workload.is_last(agent) for agent in workload.AGENTS] == [False] * 4 + [True]


def test_the_model_is_asked_about_the_document_as_it_is() -> None:
    for document in walked():
        question = workload.prompt(document)
        assert workload.asked_about(question) == document
        assert workload.chosen(workload.completion(workload.asked_about(question))) == workload.choose(document)


def test_a_question_without_a_document_is_refused() -> None:
    with pytest.raises(LookupError):
        workload.asked_about({"messages": [{"role": "user", "content": "hello"}]})
    with pytest.raises(ValueError, match="unexpected"):
        workload.asked_about({"messages": [{"role": "user", "content": workload.BEFORE_DOCUMENT + "hello"}]})


def test_every_system_meets_the_same_times() -> None:
    one = [workload.service_ms("lognormal", 1, lead, hop, "model") for lead in range(500) for hop in (1, 2, 3)]
    assert one == [workload.service_ms("lognormal", 1, lead, hop, "model") for lead in range(500) for hop in (1, 2, 3)]
    assert len(set(one)) == len(one)
    assert 185 < statistics.median(one) < 215
    assert workload.service_ms("lognormal", 1, 1, 1, "agent") != workload.service_ms("lognormal", 1, 1, 1, "model")
    assert workload.service_ms("lognormal", 2, 1, 1, "model") != workload.service_ms("lognormal", 1, 1, 1, "model")
    assert workload.service_ms("zero", 1, 1, 1, "model") == 0


def test_workflows_arrive_at_the_rate_that_is_asked_for() -> None:
    times = workload.arrivals(20, 100, 1)
    assert times == sorted(times) == workload.arrivals(20, 100, 1)
    assert 1850 < len(times) < 2150
    assert times[0] > 0
    assert times[-1] < 100
    assert workload.arrivals(20, 100, 2) != times
