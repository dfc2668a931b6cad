"""The systems that stand side by side in the benchmark, each behind the same small HTTP front (`serving`).

A peer is a module here that is run by `python -m bench.peers.NAME serve --simulators URL --port N --home DIR`. Its packages are no
dependencies of Loopwright: they are pinned in NAME.requirements.txt beside it, and `bench.install` puts them into an environment of their
own. In there it finds aiohttp and orjson, and of this repository it imports `bench.workload` and `bench.peers.serving` alone.
"""

ABSENT: dict[str, str] = {}  # systems that cannot be run here, with the reason, for the table
