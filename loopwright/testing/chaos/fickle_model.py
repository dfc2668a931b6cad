"""A model that answers differently each time, on purpose: `python -m loopwright.testing.chaos.fickle_model --port 8899`.

Of the names that the schema allows it takes any. A job that asked it twice for one hop, and acted on both answers, would be found out.
"""

import argparse
import json
import random
from typing import Any

from loopwright.testing.foreground import stay_up
from loopwright.testing.keyword_model import enums_of, schema_of
from loopwright.testing.model_server import ModelServer
from loopwright.testing.schema_instance import instance


def fickle_policy(request: dict[str, Any]) -> str:
    """An answer within the schema that the request asks for, drawn anew for each request."""
    schema = schema_of(request)
    if schema is None:
        return "I can only answer where a schema says what is wanted."
    chosen: dict[str, Any] = {"confidence": round(random.random(), 2), "reason": "drawn by lot"}  # noqa: S311  # chance is the point
    for name, names in enums_of(schema).items():
        chosen[name] = random.choice([one for one in names if one != "none"] or names)  # noqa: S311
    return json.dumps(instance(schema, chosen))


def main() -> None:
    """Serve until interrupted. Prints the address as its first line."""
    parser = argparse.ArgumentParser(description="A model that answers differently each time.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    given = parser.parse_args()
    with ModelServer(fickle_policy, port=given.port, latency_s=0.05) as server:
        stay_up(server.base_url)


if __name__ == "__main__":
    main()
