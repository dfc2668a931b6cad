"""`loopwright audit` as a process, against librdkafka's mock broker."""

import time

from loopwright.audit import Refusal, refused
from loopwright.edges import kafka
from tests.e2e.test_cli_kafka import TOPICS, Broker, broker

__all__ = ["broker"]


def note(broker: Broker, refusal: Refusal, name: str = "", unwritten: int = 0) -> None:
    with kafka.Producer(broker.settings) as producer:
        producer.send_many([refused(refusal, TOPICS.audit, int(time.time() * 1000), name, unwritten)])


def test_refusals_are_listed_safely_and_by_tenant(broker):
    assert broker.json("audit") == {"refusals": [], "causes": {}, "unwritten": 0}
    who = {"tenant": "acme", "token": "acme-web", "address": "10.0.0.1", "agent": ""}
    note(broker, Refusal("gateway", "workflows", "foreign-tenant", "it asked for \x1b[2J other; token=hunter2hunter2", who), "1", 5)
    late = Refusal("dispatch", "callback", "foreign-agent", "sdr/b replied to the call of sdr/a", {"agent": "sdr/b"}, "w", 3, "0")
    for _ in range(2):
        note(broker, late)
    with kafka.Producer(broker.settings) as producer:
        for junk in (b"no json", b'{"a": 1}', None):
            producer.send(TOPICS.audit, b"x", junk)
    everything = broker.json("audit")
    assert everything["causes"] == {"foreign-tenant": 1, "foreign-agent": 1}, "written twice, it is one refusal"
    assert everything["unwritten"] == 5
    first, second = everything["refusals"]
    assert first["who"] == {"tenant": "acme", "token": "acme-web", "address": "10.0.0.1"}
    assert (first["workflow"], second["workflow"], second["hop"], second["branch"]) == ("", "w", 3, "0")
    assert len(broker.json("audit", "--tenant", "acme")["refusals"]) == 1
    assert broker.json("audit", "--since", "1h")["causes"] == everything["causes"]
    text = broker.run("audit").stdout.decode()
    assert "foreign-agent" in text
    assert "\\x1b[2J" in text
    assert "\x1b" not in text
    assert "hunter2" not in text
    assert "5 more were too many" in text
