"""A payload as a workflow, and the records that start workflows: what they hold, and that the same start is the same record."""

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import InvalidDocument
from loopwright.intake import parse
from loopwright.message import Message, emitted
from loopwright.settings import Limits, Settings
from loopwright.sources.definition import Schedule, Webhook
from loopwright.sources.payload import document_of, workflow_of
from loopwright.sources.pointers import check_pointer, resolve, steps_of
from loopwright.sources.starts import delivered, scheduled
from loopwright.sources.template import filled, unknown
from loopwright.step import Record
from loopwright.testing.simulation import Simulation, always
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team

SETTINGS = Settings(llm_base_url="http://model/v1")
PAYLOAD = {
    "type": "order.created",
    "data": {"number": 4711, "customer": {"email": "zoe@example.com"}, "lines": [{"sku": "a/b"}], "a~b": None},
}
NAMES = st.text(max_size=5) | st.sampled_from(["~", "/", "~1", "0", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


def webhook(**fields: Any) -> Webhook:
    return Webhook(name="orders", **fields)


def places(value: Any, way: str = "") -> list[tuple[str, Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    escaped = [(f"{way}/{str(step).replace('~', '~0').replace('/', '~1')}", found) for step, found in inside]
    return [(way, value), *(place for pointer, found in escaped for place in places(found, pointer))]


@given(JSON)
def test_every_place_of_a_value_has_a_pointer_that_finds_it(value: Any) -> None:
    for pointer, found in places(value):
        assert check_pointer(pointer) == pointer
        assert resolve(value, pointer) is found


@given(JSON, st.text("~/01ab", max_size=6).map(lambda text: f"/{text.replace('~', '~0')}"))
def test_a_pointer_finds_something_or_says_where_the_way_ends(value: Any, pointer: str) -> None:
    if any(pointer == place for place, _ in places(value)):
        assert any(resolve(value, pointer) is other for _, other in places(value))
    else:
        with pytest.raises(LookupError, match="there is no "):
            resolve(value, pointer)


@pytest.mark.parametrize("pointer", ["data", "data/x", "/a~b", "/~", "/~2", "$.data"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match=r"is not a JSON pointer|has a ~ in it"):
        check_pointer(pointer)


def test_steps_are_unescaped_once() -> None:
    assert steps_of("/a~1b/~01/") == ["a/b", "~1", ""]


def test_the_document_is_the_payload_a_part_of_it_or_made_of_fields() -> None:
    assert document_of(webhook(), PAYLOAD) == PAYLOAD
    assert document_of(webhook(document="/data/customer", constants={"by": "shop"}), PAYLOAD) == {"email": "zoe@example.com", "by": "shop"}
    fields = {"email": "/data/customer/email", "sku": "/data/lines/0/sku", "note?": "/data/a~0b", "phone?": "/data/customer/phone"}
    assert document_of(webhook(fields=fields), PAYLOAD) == {"email": "zoe@example.com", "sku": "a/b", "note": None}


def test_what_the_operator_writes_stands_above_what_the_sender_writes() -> None:
    assert document_of(webhook(constants={"type": "mine"}), PAYLOAD)["type"] == "mine"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"document": "/data/nothing"}, "/data/nothing: there is no 'nothing' in /data"),
        ({"document": "/data/number"}, "'/data/number' is no JSON object"),
        ({"fields": {"email": "/customer/email"}}, "/customer/email: there is no 'customer' in the payload"),
        ({"fields": {"sku": "/data/lines/1/sku"}}, "there is no '1' in /data/lines"),
    ],
)
def test_a_payload_that_lacks_what_is_asked_for_is_refused_with_the_pointer_and_no_value(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        document_of(webhook(**fields), PAYLOAD)
    assert said in caught.value.why
    assert "zoe" not in str(caught.value)
    assert caught.value.remedy


def test_the_workflow_is_named_by_the_delivery_or_by_the_payload_and_always_by_the_webhook() -> None:
    first, other = (workflow_of(webhook(), PAYLOAD, delivery) for delivery in ("evt_1", "evt_2"))
    assert first.startswith("orders:")
    assert first != other
    assert first == workflow_of(webhook(team="x", document="/data"), {}, "evt_1")
    assert first != workflow_of(Webhook(name="order"), PAYLOAD, "evt_1")
    assert workflow_of(webhook(workflow="/data/number"), PAYLOAD, "evt_1") == "orders:4711"


@pytest.mark.parametrize("value", [True, None, 1.5, "", " x", "a b", "a/b", "-x", "x\n", "x" * 129, {}, ["x"]])
def test_what_cannot_name_a_workflow_is_refused(value: Any) -> None:
    with pytest.raises(InvalidDocument, match="is no id"):
        workflow_of(webhook(workflow="/id"), {"id": value}, "evt_1")


def test_a_start_by_webhook_says_whose_it_is_and_which_delivery_it_was() -> None:
    message = delivered(webhook(team="sales", tenant="acme", actions=["crm.write"], document="/data/customer"), PAYLOAD, "evt_1", 5)
    assert message.data == {"document": {"email": "zoe@example.com"}, "team": "sales", "tenant": "acme", "actions": ["crm.write"]}
    assert (message.source, message.correlation) == ("/loopwright/webhooks/orders", "evt_1")
    assert delivered(webhook(), PAYLOAD, "evt_1", 5).data == {"document": PAYLOAD}


def nightly(**more: Any) -> Schedule:
    document = {"day": "${date}", "list": ["$${date}", {"at": "at ${at}"}], "n": 1, "by": "${schedule}", "${date}": ""}
    return Schedule(name="nightly", cron="0 2 * * *", zone="Europe/Berlin", document=document, **more)


def test_a_start_by_the_clock_is_named_by_its_time_and_filled_with_it() -> None:
    message = scheduled(nightly(tenant="acme"), 1_774_746_000_000)
    assert message.workflow == "nightly:2026-03-29T01:00:00Z"
    assert message.data["document"] == {
        "day": "2026-03-29",
        "list": ["${date}", {"at": "at 2026-03-29T03:00:00+02:00"}],
        "n": 1,
        "by": "nightly",
        "${date}": "",
    }
    assert (message.data["tenant"], message.time_ms) == ("acme", 1_774_746_000_000)


@given(st.text("${}ab", max_size=12))
def test_any_text_can_be_written_into_a_template(text: str) -> None:
    written = re.sub(r"\$\{([^{}]*)\}", r"$${\1}", text)
    assert filled([{"a": written}], {}) == [{"a": text}]
    assert list(unknown(written)) == []


def read(message: Message) -> Message:
    emit = emitted("agent-messages", message)
    found = parse(Record(emit.topic, 0, 0, 0, emit.key, emit.value), Limits())
    assert isinstance(found, Message), found
    return found


def test_what_sources_write_is_what_the_job_reads() -> None:
    for message in (
        scheduled(nightly(), 0),
        delivered(webhook(), PAYLOAD, "!" * 256, 5),
        delivered(webhook(workflow="/id"), {"id": "x" * 128}, "e", 5),
    ):
        assert read(message).data == message.data


@pytest.mark.parametrize(
    "start",
    [
        lambda now_ms: delivered(webhook(team="sdr"), LEAD, "evt_1", now_ms),
        lambda now_ms: scheduled(Schedule(name="s", team="sdr", cron="* * * * *", document={**LEAD, "day": "${date}"}), 60_000),
    ],
    ids=["a webhook", "a schedule"],
)
def test_the_job_works_a_start_that_comes_three_times_once(start: Any) -> None:
    simulation = Simulation(SETTINGS, sdr_team(), answering, always(model_says("active-outreach")))
    for now_ms in (1, 2, 3):
        emit = emitted(SETTINGS.topics.messages, start(now_ms))
        simulation.write(emit.topic, emit.value, emit.key)
    simulation.run(random.Random(1))
    assert len(simulation.read(SETTINGS.topics.results)) == 1
    assert simulation.counts["duplicate_start"] == 2
    assert simulation.logs.get(SETTINGS.topics.dead_letters, []) == []
