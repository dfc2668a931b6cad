"""The orchestrator job: the loop from message to decision to call to message, and nothing else.

    agent-definitions ─────────── broadcast ───────────┐
                                 v                     v
    agent-messages ─> parse ─> [route] ─> routing-decisions ─> parse ─> [dispatch] ──HTTP──> agents
           ^                                agent-callbacks ─────┘          │
           └────────────────── replies, failures, settled ──────────────────┘

Run it with `flink run -py jobs/orchestrator.py` or `loopwright up`; settings come from the environment (docs/settings.md).
"""

from collections.abc import Callable
from functools import partial

from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from loopwright.dispatch.decider import DispatchDecider
from loopwright.edges.access import check_access
from loopwright.edges.agents import AgentPerformer
from loopwright.edges.keyring import Keyring
from loopwright.edges.router import RoutePerformer
from loopwright.routing.decider import RouteDecider
from loopwright.settings import Settings, read_settings
from loopwright.step import Decider
from udfs.definitions import definition_rows
from udfs.keyed_loop import DEFINITIONS, KeyedLoop, run_keyed
from udfs.parse import REJECTED, ParseRecords, intake_with
from udfs.planning import on_one_thread
from udfs.records import Cluster, kafka_sink, kafka_source
from udfs.rows import KEYED


@on_one_thread()
def build(
    env: StreamExecutionEnvironment,
    settings: Settings,
    route: Callable[[Settings], Decider] = RouteDecider,
    dispatch: Callable[[Settings], Decider] = DispatchDecider,
) -> None:
    """Add the graph to `env`. Every operator has a uid that stays the same from release to release."""
    tables = StreamTableEnvironment.create(env)
    topics, limits = settings.topics, settings.limits
    cluster = Cluster(settings.kafka.bootstrap_servers, settings.kafka.client)
    parse = partial(intake_with, limits, topics.dead_letters)

    def read(names: list[str], uid: str, from_start: bool = False) -> DataStream:
        return kafka_source(tables, cluster, names, f"loopwright-{uid}", uid, from_start)

    def parsed(names: list[str], uid: str) -> DataStream:
        return read(names, uid).process(ParseRecords(parse), KEYED).name(f"parse {uid}").uid(f"parse-{uid}")

    definitions = definition_rows(read([topics.definitions], "definitions", from_start=True)).broadcast(DEFINITIONS)
    messages = parsed([topics.messages], "messages")
    decisions = parsed([topics.decisions, topics.callbacks], "decisions")

    keep_ms = limits.deduplication_ms
    loop = partial(KeyedLoop, max_in_flight=limits.in_flight, max_waiting=limits.waiting, keep_ms=keep_ms, wakeup=settings.wakeup)
    routing = loop("route", partial(route, settings), partial(RoutePerformer, settings))
    routed = run_keyed(messages, definitions, routing, "route")

    calling = loop("dispatch", partial(dispatch, settings), partial(AgentPerformer, settings))
    dispatched = run_keyed(decisions, definitions, calling, "dispatch")

    rejected = messages.get_side_output(REJECTED).union(decisions.get_side_output(REJECTED))
    refusals = [topics.dead_letters, topics.audit]
    kafka_sink(tables, cluster, routed, [topics.decisions, topics.results, topics.messages, *refusals], "routed")
    kafka_sink(tables, cluster, dispatched, [topics.messages, *refusals], "dispatched")
    kafka_sink(tables, cluster, rejected, [topics.dead_letters, topics.messages, topics.decisions, topics.callbacks], "rejected")


def main() -> None:
    """Build the job and hand it to Flink. Raises InvalidSettings for what it could only fail over, again and again, once it ran."""
    settings = read_settings()
    Keyring(settings.keys_file).keys()  # a key file that cannot be used is said here, not by every call
    check_access(settings)  # a right on Kafka that it lacks, too
    env = StreamExecutionEnvironment.get_execution_environment()
    build(env, settings)
    env.execute("loopwright orchestrator")


if __name__ == "__main__":
    main()
