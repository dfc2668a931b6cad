"""The job under uneven load, and at different sizes: a workflow or an agent that hangs holds up no other, and size changes no result."""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
import pytest
from pyflink.java_gateway import get_gateway

from loopwright import schemas
from loopwright.edges.kafka import ensure_topics
from loopwright.edges.topics import topic_specs
from loopwright.message import encode
from loopwright.settings import Settings, Topics
from loopwright.step import Emit
from loopwright.testing.agent_behaviours import answering, hanging
from loopwright.testing.keyword_model import enums_of, schema_of
from loopwright.testing.model_server import ModelServer
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, Orchestra, start_of
from tests.unit.sdr_team import LEAD, MAIL, OUTPUTS

HOT = "hot"
OTHERS = 40


def delays(orchestra: Orchestra, workflows: set[str]) -> list[int]:
    """From start to result by the broker's clock, in ms, sorted."""
    starts = {m.workflow: m.logged_ms for m in orchestra.said(orchestra.settings.topics.messages) if m.type == schemas.STARTED}
    ends = {m.workflow: m.logged_ms for m in orchestra.said(orchestra.settings.topics.results)}
    return sorted(ends[workflow] - starts[workflow] for workflow in workflows)


def test_half_of_the_load_on_one_key_whose_call_hangs_holds_up_no_other(orchestra: Orchestra, record_property: Any) -> None:
    """A hot workflow: its call hangs, and as many records come for it as for all others together."""
    ingestion = answering(OUTPUTS["lead-ingestion"])
    orchestra.agents.agent("lead-ingestion", lambda e: (hanging() if b"hot@" in e.request.body else ingestion)(e))
    orchestra.define(*orchestra.team())
    orchestra.run()
    topic = orchestra.settings.topics.messages
    quiet, busy = [{f"{name}{n}" for n in range(OTHERS)} for name in ("quiet", "busy")]
    orchestra.send_all([start_of(name, LEAD | {"name": name}) for name in sorted(quiet)])
    orchestra.results(OTHERS)
    orchestra.send(HOT, LEAD | {"email": "hot@example.com"})
    until("the hot call hangs", lambda: [r for r in orchestra.agents.calls("lead-ingestion") if b"hot@" in r.body])
    repeated = Emit(topic, HOT.encode(), encode(start_of(HOT, LEAD | {"email": "hot@example.com"})))
    per_start = 5  # a workflow of four agents has five messages: its start and its replies
    for name in sorted(busy):
        orchestra.producer.send_many([repeated] * per_start)
        orchestra.send(name, LEAD | {"name": name})
    orchestra.results(2 * OTHERS)
    assert HOT not in {m.workflow for m in orchestra.said(orchestra.settings.topics.results)}
    assert len([r for r in orchestra.agents.calls("lead-ingestion") if b"hot@" in r.body]) == 1
    record_property("slowest_ms_without_and_with_a_hot_key", (delays(orchestra, quiet)[-1], delays(orchestra, busy)[-1]))


def test_an_agent_that_hangs_holds_up_no_workflow_that_does_not_need_it(orchestra: Orchestra) -> None:
    """More calls hang than the agent's concurrency allows at a time; workflows that take another way complete meanwhile."""
    with ModelServer(policy=by_lead_source) as model:
        orchestra.settings = orchestra.settings.model_copy(update={"llm_base_url": model.base_url})
        orchestra.agents.agent("nurture-campaign", hanging())
        orchestra.define(*orchestra.team())
        orchestra.run()
        stuck = [start_of(f"stuck{n}", LEAD | {"lead_source": "newsletter"}) for n in range(OTHERS)]
        orchestra.send_all(stuck)
        until("the agent hangs", lambda: orchestra.agents.calls("nurture-campaign"))
        orchestra.send_all([start_of(f"free{n}", LEAD) for n in range(OTHERS)])
        results = orchestra.results(OTHERS)
    assert {r.workflow for r in results} == {f"free{n}" for n in range(OTHERS)}
    assert {tuple(r.data["path"]) for r in results} == {tuple(PATH)}


def by_lead_source(request: dict[str, Any]) -> str:
    agent = "nurture-campaign" if "newsletter" in orjson.dumps(request["messages"]).decode() else "active-outreach"
    return orjson.dumps({"agent": agent, "confidence": 0.9, "reason": "by the source"}).decode()


def by_the_whole_prompt(request: dict[str, Any]) -> str:
    """A choice that any other letter in the prompt would change."""
    (names,) = enums_of(schema_of(request) or {}).values()
    candidates = sorted(set(names) - {"none"})
    number = int(sha256(orjson.dumps(request["messages"])).hexdigest(), 16)
    return orjson.dumps({"agent": candidates[number % len(candidates)], "confidence": 0.9, "reason": f"{number:x}"[:8]}).decode()


def scored(given: dict[str, Any]) -> dict[str, Any]:
    score = sum(given["profile"]["summary"].encode()) % 101
    return {"score": score, "score_reasons": [f"+{score}"], "next_step": "Nurture" if score < 50 else "Actively Engage"}


def profiled(given: dict[str, Any]) -> dict[str, Any]:
    return {"profile": OUTPUTS["lead-ingestion"]["profile"] | {"summary": f"{given['name']} at {given['email']}"}}


def mails_to(count: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {"emails": [MAIL | {"subject": f"To {given['name']}"}] * count}


DETERMINISTIC = {"lead-ingestion": profiled, "lead-scoring": scored, "active-outreach": mails_to(1), "nurture-campaign": mails_to(3)}


def outcome_of_all(orchestra: Orchestra, workflows: set[str]) -> dict[str, Any]:
    """By workflow: how it ended, and every decision by hop."""
    ends = {m.workflow: [m.type, m.data["path"], m.data["document"], m.data["spend"]] for m in orchestra.results(len(workflows))}
    for decided in orchestra.said(orchestra.settings.topics.decisions):
        data = decided.data
        asked = [(target["agent"], target["version"], target["input_hash"]) for target in data["targets"]]
        ends[decided.workflow].append((decided.hop, data["outcome"], data["strategy"], data["reason"], asked))
    assert ends.keys() == workflows
    return {workflow: [*end[:4], *sorted(end[4:], key=str)] for workflow, end in ends.items()}


@pytest.mark.timeout(180)
def test_the_same_log_gives_the_same_results_with_parallelism_1_and_4(orchestra: Orchestra, kafka: Settings) -> None:
    for name, output in DETERMINISTIC.items():
        orchestra.agents.agent(name, answering(output))
    starts = [start_of(f"w{n}", LEAD | {"name": f"Lead {n}", "email": f"lead{n}@example.com"}) for n in range(OTHERS)]
    names = {message.workflow for message in starts}
    found, counts, folded = [], [], []
    with ModelServer(policy=by_the_whole_prompt) as model:
        for parallelism in (1, 4):
            topics = Topics(**{field: f"{name}-at-{parallelism}" for field, name in kafka.topics.model_dump().items()})
            orchestra.settings = kafka.model_copy(update={"topics": topics, "llm_base_url": model.base_url})
            ensure_topics(orchestra.settings, topic_specs(orchestra.settings))
            orchestra.define(*orchestra.team())
            orchestra.send_all(starts)
            orchestra.run(parallelism=parallelism)
            found.append(outcome_of_all(orchestra, names))
            report = orchestra.verified()
            assert report.holds, report.as_dict()
            counts.append(report.counts)
            folded.append(orchestra.ends_by_the_log())
            orchestra.cluster.cancel(orchestra.job)
    assert found[0] == found[1]
    assert counts[0] == counts[1]
    assert folded[0] == folded[1]
    assert {tuple(end[1]) for end in found[0].values()} > {tuple(PATH)}, "every workflow took the same way: nothing was shown"


def heap_used(gateway: Any) -> int:
    """Bytes that live on the JVM's heap: what is left after it was collected."""
    gateway.jvm.java.lang.System.gc()
    runtime = gateway.jvm.java.lang.Runtime.getRuntime()
    return int(runtime.totalMemory() - runtime.freeMemory())


def test_at_the_cap_of_calls_what_waits_waits_in_kafka_and_memory_stays_flat(orchestra: Orchestra, record_property: Any) -> None:
    """Agents hang, and thousands of workflows come: as many calls as the cap allows are made, and hardly one more."""
    cap, first, more = 20, 500, 4000
    limits = orchestra.settings.limits.model_copy(update={"in_flight": cap})
    orchestra.settings = orchestra.settings.model_copy(update={"limits": limits})
    orchestra.agents.agent("lead-ingestion", hanging())
    orchestra.define(*orchestra.team())
    orchestra.run(parallelism=1)
    topic = orchestra.settings.topics.decisions
    orchestra.send_all([start_of(f"first{n}", LEAD) for n in range(first)])
    until("the first decisions", lambda: len(orchestra.said(topic)) >= first)
    until("the cap is reached", lambda: orchestra.cluster.counters(orchestra.job, "dispatch").get("calls_started", 0) >= cap)
    before, began = heap_used(get_gateway()), time.monotonic()
    orchestra.send_all([start_of(f"more{n}", LEAD) for n in range(more)])
    until("the other decisions", lambda: len(orchestra.said(topic)) >= first + more)
    grown = heap_used(get_gateway()) - before
    record_property("heap_grown_bytes", grown)
    started = orchestra.cluster.counters(orchestra.job, "dispatch")["calls_started"]
    seconds = time.monotonic() - began
    assert started < first, f"{started} of {first + more} calls were started within {seconds:.0f} s: nothing was held back"
    assert orchestra.cluster.status(orchestra.job) == "RUNNING"
    assert grown < 100_000_000, f"{grown} bytes for {more} workflows, of which Kafka holds nearly all"
