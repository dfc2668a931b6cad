"""The job while the model is down: nobody is parked, Kafka holds what is not taken in, everything drains afterwards."""

import socket

import pytest

from loopwright import schemas
from loopwright.edges.lag import lag_of
from loopwright.message import Message
from loopwright.settings import Circuit, Limits
from loopwright.testing.model_server import ModelServer
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD

FIRST, MORE, WAITING, DRAIN_S = 20, 80, 10, 180
QUICK = Circuit(pause_ms=200, longest_pause_ms=1000, refused_pause_ms=1000)


def starts(name: str, count: int) -> list[Message]:
    return [Message(f"{name}{n}", schemas.STARTED, "/test", f"{name}{n}", {"document": LEAD | {"name": name}}) for n in range(count)]


@pytest.mark.timeout(600)
def test_a_model_that_is_down_in_three_ways_parks_nobody_holds_kafka_back_and_everything_drains(orchestra: Orchestra) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    model = ModelServer(port=port)  # nobody listens there yet
    limits = Limits(waiting=WAITING)
    changes = {"llm_base_url": f"http://127.0.0.1:{port}/v1", "llm_model": "m", "circuit": QUICK, "limits": limits}
    orchestra.settings = orchestra.settings.model_copy(update=changes)
    topics = orchestra.settings.topics

    def counter(name: str) -> int:
        return orchestra.cluster.counters(orchestra.job, "route").get(name, 0)

    def asking() -> int:
        return len([m for m in orchestra.said(topics.messages) if m.type == schemas.REPLIED and m.hop == 2])

    def taken_in() -> int:
        return len({m.workflow for m in orchestra.said(topics.decisions) if m.workflow.startswith("more")})

    orchestra.define(*orchestra.team())
    orchestra.run(parallelism=1)
    orchestra.send_all(starts("first", FIRST))
    try:
        until("the first have come to where the model is asked", lambda: asking() >= FIRST)
        put_off = counter("questions_put_off")
        until("all of them wait", lambda: counter("questions_put_off") >= put_off + 5 * FIRST)
        orchestra.send_all(starts("more", MORE))
        until("the router holds Kafka back", lambda: counter("held_back") >= 2)
        for behaviour in ("http-503", "http-401"):
            seen, opened = len(model.questions), counter("circuits_opened")
            model.behave(behaviour)
            model.start()
            until(f"the model answers {behaviour}", lambda seen=seen: len(model.questions) >= seen + 2)
            until("its circuit opens again", lambda opened=opened: counter("circuits_opened") > opened)
            model.stop()
        assert orchestra.said(topics.results) == []
        starts_taken, after_a_pause = taken_in(), counter("held_back")
        assert starts_taken <= after_a_pause + WAITING, "while nothing goes on each record waits for its turn"
        if starts_taken < MORE:
            assert lag_of(orchestra.settings, "loopwright-messages", topics.messages) >= MORE - starts_taken
        model.behave("ok")
        model.start()
        until("everything drains", lambda: len(orchestra.said(topics.results)) >= FIRST + MORE, DRAIN_S)
        results = orchestra.said(topics.results)
    finally:
        model.stop()
    assert {(r.type, tuple(r.data["path"])) for r in results} == {(schemas.WORKFLOW_COMPLETED, tuple(PATH))}
    assert [m for m in orchestra.said(topics.messages) if m.type == schemas.SETTLED] == []
    assert orchestra.said(topics.dead_letters) == []
    assert orchestra.verified().holds
