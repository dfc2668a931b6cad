"""One order for the records of a workflow, whatever the order in which the topics were read."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.history.order import in_order
from loopwright.history.reading import read_entry
from loopwright.step import Record
from tests.unit.history_log import LIMITS, TOPICS, Log, timeline_of, worked_lead


def kinds(records: list[Record]) -> list[str]:
    entries = [read_entry(record, TOPICS, LIMITS) for record in records]
    return [f"{e.message.type.rpartition('.')[2]} {e.message.hop}" for e in in_order(e for e in entries if e) if e.message]


STORY = ["started 0", "decided 1", "replied 1", "decided 2", "replied 2", "decided 3", "settled 3", "completed 3"]


def test_a_decision_stands_between_the_reply_before_and_the_reply_after_it():
    assert kinds(worked_lead().records) == STORY


def test_hops_decide_where_the_clocks_of_two_topics_disagree():
    log = Log()
    log.started()
    reply = log.replied(1, "a")
    log.now_ms -= 5000
    log.decided(1, "a")
    assert reply.timestamp_ms > log.records[-1].timestamp_ms
    assert kinds(log.records) == ["started 0", "decided 1", "replied 1"]


def test_a_late_decision_stands_where_time_puts_it():
    log = worked_lead()
    log.decided(2, "late")
    assert kinds(log.records) == [*STORY, "decided 2"]


def test_a_record_comes_after_the_one_that_caused_it_even_with_an_older_timestamp():
    log = Log()
    log.started()
    signal = log.say(TOPICS.messages, "loopwright.workflow.cancelled", {"reason": "enough"})
    result = log.say(TOPICS.results, "loopwright.workflow.failed", {"hops": 0}, cause=log_id(signal))
    early = Record(result.topic, result.partition, 0, 1, result.key, result.value)
    assert kinds([early, signal, log.records[0]]) == ["started 0", "cancelled 0", "failed 0"]


def log_id(record: Record) -> str:
    entry = read_entry(record, TOPICS, LIMITS)
    assert entry is not None
    assert entry.message is not None
    return entry.message.id


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Logs in which anything may happen, sensible or not."""
    log = Log()
    log.started()
    for _ in range(draw(st.integers(0, 12))):
        hop, agent = draw(st.integers(1, 3)), draw(st.sampled_from(["a", "b"]))
        what = draw(st.integers(0, 6))
        log.now_ms += draw(st.integers(-40, 40))
        if what == 0:
            log.decided(hop, agent)
        elif what == 1:
            log.replied(hop, agent)
        elif what == 2:
            log.failed(hop, agent)
        elif what == 3:
            log.settled(hop, draw(st.sampled_from(["complete", "park", "unroutable"])), "because")
        elif what == 4:
            log.completed(hop, {"x": 1})
        elif what == 5:
            log.dead_letter(log.put(TOPICS.messages, b"not json", b"w1"), "w1")
        else:
            log.say(TOPICS.messages, "loopwright.workflow.resumed", {})
    return log


@given(logs(), st.randoms(use_true_random=False))
def test_the_view_does_not_depend_on_the_order_of_reading(log, random):
    shuffled = list(log.records)
    random.shuffle(shuffled)
    assert timeline_of(shuffled).view("w1") == log.view()


@given(logs())
def test_the_order_within_a_topic_is_kept_and_nothing_is_lost(log):
    view = log.view()
    for topic in {record.topic for record in log.records}:
        offsets = [step.at.offset for step in view.steps if step.at and step.at.topic == topic]
        assert offsets == list(range(sum(record.topic == topic for record in log.records)))


@given(logs())
def test_a_record_that_is_read_twice_counts_once(log):
    assert timeline_of([*log.records, *log.records]).view("w1") == log.view()


@given(logs())
def test_at_most_one_decision_per_hop_counts(log):
    counted = [step.hop for step in log.view().steps if step.kind == "decision" and not step.ignored]
    assert len(counted) == len(set(counted))
