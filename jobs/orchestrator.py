"""The orchestrator job: the loop from message to decision to call to message, and nothing else.

    agent-definitions ─── broadcast ────────┐
                          v                 v
    agent-messages ─> [route] ─> routing-decisions ─> [dispatch] ──HTTP──> agents
           ^                       agent-callbacks ────────┘ │
           └───────────── replies, failures, settled ────────┘

Run it with `flink run -py jobs/orchestrator.py` or `loopwright up`; settings come from the environment (docs/settings.md).
"""

from collections.abc import Callable
from functools import partial

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from loopwright.dispatch.decider import DispatchDecider
from loopwright.edges.access import check_access
from loopwright.edges.agents import AgentPerformer
from loopwright.edges.keyring import Keyring
from loopwright.edges.platform.code import JOB_NAME
from loopwright.edges.router import RoutePerformer
from loopwright.edges.values import values_of
from loopwright.intake import intake
from loopwright.routing.decider import RouteDecider
from loopwright.settings import Settings, read_settings
from loopwright.step import Decider
from udfs.definitions import definition_rows
from udfs.keyed_loop import DEFINITIONS, REJECTED, KeyedLoop, run_keyed
from udfs.planning import on_one_thread
from udfs.records import Cluster, kafka_sink, kafka_source, keyed_source


@on_one_thread()
def build(
    env: StreamExecutionEnvironment,
    settings: Settings,
    route: Callable[[Settings], Decider] = RouteDecider,
    dispatch: Callable[[Settings], Decider] = DispatchDecider,
) -> None:
    """Add the graph to `env`. Every operator has a uid that stays the same from release to release.

    Raises what `values_of` raises, where a schema registry is set.
    """
    values = values_of(settings)
    tables = StreamTableEnvironment.create(env)
    topics, limits = settings.topics, settings.limits
    cluster = Cluster(settings.kafka.bootstrap_servers, settings.kafka.client)

    published = kafka_source(tables, cluster, [topics.definitions], "loopwright-definitions", "definitions", from_start=True)
    definitions = definition_rows(published).broadcast(DEFINITIONS)
    messages = keyed_source(tables, cluster, [topics.messages], "loopwright-messages", "messages")
    decisions = keyed_source(tables, cluster, [topics.decisions, topics.callbacks], "loopwright-decisions", "decisions")

    parse = partial(intake, limits=limits, dead_letters=topics.dead_letters, decode=values.decode)
    loop = partial(
        KeyedLoop,
        parse=parse,
        frames=values.frames,
        max_in_flight=limits.in_flight,
        max_waiting=limits.waiting,
        keep_ms=limits.deduplication_ms,
        wakeup=settings.wakeup,
    )
    routing = loop("route", partial(route, settings), partial(RoutePerformer, settings))
    routed = run_keyed(messages, definitions, routing, "route")

    calling = loop("dispatch", partial(dispatch, settings), partial(AgentPerformer, settings))
    dispatched = run_keyed(decisions, definitions, calling, "dispatch")

    rejected = routed.get_side_output(REJECTED).union(dispatched.get_side_output(REJECTED))
    refusals = [topics.dead_letters, topics.audit]
    kafka_sink(tables, cluster, routed, [topics.decisions, topics.questions, topics.results, topics.messages, *refusals], "routed")
    kafka_sink(tables, cluster, dispatched, [topics.messages, *refusals], "dispatched")
    kafka_sink(tables, cluster, rejected, [topics.dead_letters, topics.messages, topics.decisions, topics.callbacks], "rejected")


def main() -> None:
    """Build the job and hand it to Flink. Raises InvalidSettings for what it could only fail over, again and again, once it ran."""
    settings = read_settings()
    Keyring(settings.keys_file).keys()  # a key file that cannot be used is said here, not by every call
    check_access(settings)  # a right on Kafka that it lacks, too
    env = StreamExecutionEnvironment.get_execution_environment()
    build(env, settings)
    env.execute(JOB_NAME)


if __name__ == "__main__":
    main()
