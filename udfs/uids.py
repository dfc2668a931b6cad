"""Stable operator ids: what ties state in a savepoint to an operator of the job.

Flink derives an id from the shape of the graph where none is set, so an added operator would take another's state. The table connectors and
`key_by` add operators of their own; `name_all` reaches these too. `without_uid` lists what was forgotten.
"""

from typing import Any

from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.util.java_utils import get_field_value

# Rows flow through these without an operator of their own: they have no state and no id in the stream graph.
_VIRTUAL = {"PartitionTransformation", "SideOutputTransformation", "UnionTransformation"}
_WITH_STATE = {"SourceTransformation", "SinkTransformation"}


def name_all(last: Any, uid: str) -> None:
    """Give each transformation from `last` (a Java Transformation) up to the first named ones the uid `uid`, `uid-1`, `uid-2`, ...

    The plain `uid` goes to the source or the sink where one is among them: they have state, what the planner puts beside them has none.
    """
    unnamed: list[Any] = []
    _collect(last, unnamed)
    unnamed.sort(key=lambda found: found.getClass().getSimpleName() not in _WITH_STATE)
    for position, transformation in enumerate(unnamed):
        transformation.setUid(f"{uid}-{position}" if position else uid)


def named(stream: DataStream, uid: str) -> DataStream:
    """`stream`, with uids on it and on everything above it that has none yet."""
    name_all(stream._j_data_stream.getTransformation(), uid)
    return stream


def transformations(env: StreamExecutionEnvironment) -> list[Any]:
    """The Java transformations that were added to the job so far."""
    return list(get_field_value(env._j_stream_execution_environment, "transformations"))


def without_uid(env: StreamExecutionEnvironment) -> list[str]:
    """Names of the operators that have no uid in the job's graph as it would be run. The job can still be run afterwards."""
    nodes = env._generate_stream_graph(clear_transformations=False).getStreamNodes().toArray()
    return sorted(node.getOperatorName() for node in nodes if node.getTransformationUID() is None)


def uids(env: StreamExecutionEnvironment) -> list[str]:
    """The uids in the job's graph as it would be run, sorted."""
    nodes = env._generate_stream_graph(clear_transformations=False).getStreamNodes().toArray()
    return sorted(str(node.getTransformationUID()) for node in nodes)


def _collect(transformation: Any, found: list[Any]) -> None:
    virtual = transformation.getClass().getSimpleName() in _VIRTUAL
    if not virtual:
        if transformation.getUid() is not None or any(transformation.equals(other) for other in found):
            return
        found.append(transformation)
    for above in transformation.getInputs():
        _collect(above, found)
