"""The job's graph as a picture, drawn from the graph that Flink would run: what docs/architecture.md shows."""

import re

from pyflink.datastream import StreamExecutionEnvironment


def edges(env: StreamExecutionEnvironment) -> list[tuple[str, str]]:
    """Which named step feeds which, sorted. Operators that the table connectors add to a step (`uid-1`, ...) count as the step."""
    graph = env._generate_stream_graph(clear_transformations=False)
    nodes = {node.getId(): node for node in graph.getStreamNodes().toArray()}
    step = {number: re.sub(r"^Sink \w+: |-\d+$", "", str(node.getTransformationUID())) for number, node in nodes.items()}
    found = {(step[number], step[edge.getTargetId()]) for number, node in nodes.items() for edge in node.getOutEdges()}
    return sorted((source, target) for source, target in found if source != target)


def mermaid(env: StreamExecutionEnvironment) -> str:
    """The graph in Mermaid's notation."""
    return "\n".join(["flowchart LR", *(f"    {source} --> {target}" for source, target in edges(env))])
