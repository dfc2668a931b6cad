"""The systems that stand side by side in the benchmark, each behind the same small HTTP front (`serving`).

A peer is a module here that is run by `python -m bench.peers.NAME serve --simulators URL --port N --home DIR`. Its packages are no
dependencies of Loopwright: they are pinned in NAME.requirements.txt beside it, and `bench.install` puts them into an environment of their
own. In there it finds aiohttp and orjson, and of this repository it imports `bench.workload` and `bench.peers.serving` alone.
"""

# systems that do not take part, with the reason, for the table
ABSENT: dict[str, str] = {
    "flink_agents": "not measured yet: 0.2.1 to 0.3.1 build with jars that the Maven repository in use did not have (404); "
    "0.2.0 brings its own, for Flink 1.20 to 2.2, and is to be run with Flink 2.2",
}
