"""A double of a model endpoint: OpenAI's protocol over real HTTP, honest by default, as bad as a test wants it.

    with ModelServer() as model:                                   # honest: picks by keywords, keeps the schema
        settings = read_settings(llm_base_url=model.base_url)
        model.script("http-429", "prose")                          # the next two calls go wrong; then it is honest again
        ...
        assert len(model.questions) == 3

As a process: python -m loopwright.testing.model_server --port 8899 [--behaviour prose] [--latency-ms 200]
"""

import argparse
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from loopwright.testing.foreground import stay_up
from loopwright.testing.http_double import Exchange, HttpDouble
from loopwright.testing.keyword_model import keyword_policy
from loopwright.testing.model_behaviours import BEHAVIOURS, Behaviour, saying

Policy = Callable[[dict[str, Any]], str | dict[str, Any]]


class ModelServer(HttpDouble):
    """Serves GET /v1/models and POST /v1/chat/completions, and records every request."""

    def __init__(
        self,
        policy: Policy = keyword_policy,
        behaviour: str | Behaviour = "ok",
        *,
        model: str = "loopwright-double",
        api_key: str = "",
        latency_s: float = 0.0,
        port: int = 0,
    ) -> None:
        """Answer as `policy` says (request JSON in; content, or a dict to be sent as JSON, out), or misbehave as `behaviour` says.

        `behaviour` is a name in `model_behaviours.BEHAVIOURS` or a function. With `api_key`, calls without it get 401. Each answer
        takes `latency_s` seconds.
        """
        super().__init__(self._serve, port)
        self._policy, self._model, self._api_key, self._latency_s = policy, model, api_key, latency_s
        self._behaviour = _behaviour(behaviour)
        self._script: deque[Behaviour] = deque()
        self._guard = threading.Lock()

    @property
    def base_url(self) -> str:
        """What LOOPWRIGHT_LLM_BASE_URL is to be set to."""
        return f"{self.url}/v1"

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The chat completions asked for so far, as JSON."""
        return [request.json() for request in list(self.requests) if request.path.endswith("/chat/completions")]

    def script(self, *behaviours: str | Behaviour) -> None:
        """Have the next calls answered so, one each; after them as before."""
        made = [_behaviour(one) for one in behaviours]
        with self._guard:
            self._script.extend(made)

    def behave(self, behaviour: str | Behaviour) -> None:
        """Answer so from now on."""
        self._behaviour = _behaviour(behaviour)

    def say(self, *contents: str | dict[str, Any]) -> None:
        """Have the next calls answered with these contents, one each."""
        self.script(*(saying(content if isinstance(content, str) else json.dumps(content)) for content in contents))

    def _serve(self, exchange: Exchange) -> None:
        request = exchange.request
        if self._api_key and request.headers.get("authorization") != f"Bearer {self._api_key}":
            exchange.reply(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
        elif request.path == "/v1/models":
            exchange.reply(200, {"object": "list", "data": [{"id": self._model, "object": "model", "owned_by": "loopwright"}]})
        elif request.path == "/v1/chat/completions" and request.method == "POST":
            self._complete(exchange)
        else:
            exchange.reply(404, {"error": {"message": f"no such path: {request.path}", "code": "not_found"}})

    def _complete(self, exchange: Exchange) -> None:
        try:
            asked = exchange.request.json()
        except ValueError:
            exchange.reply(400, {"error": {"message": "the body is not JSON", "code": "invalid_request_error"}})
            return
        with self._guard:
            behaviour = self._script.popleft() if self._script else self._behaviour
        said = self._policy(asked)
        if not exchange.wait(self._latency_s):
            behaviour(exchange, asked, said if isinstance(said, str) else json.dumps(said))


def _behaviour(given: str | Behaviour) -> Behaviour:
    if not isinstance(given, str):
        return given
    if given not in BEHAVIOURS:
        raise ValueError(f"no behaviour {given!r}; there are: {', '.join(BEHAVIOURS)}")
    return BEHAVIOURS[given]


def main() -> None:
    """Serve until interrupted. Prints the address as its first line."""
    parser = argparse.ArgumentParser(description="A double of an OpenAI-compatible model endpoint.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--behaviour", choices=list(BEHAVIOURS), default="ok")
    parser.add_argument("--api-key", default="", help="refuse calls without it")
    parser.add_argument("--latency-ms", type=int, default=0)
    given = parser.parse_args()
    with ModelServer(behaviour=given.behaviour, api_key=given.api_key, latency_s=given.latency_ms / 1000, port=given.port) as server:
        stay_up(server.base_url)


if __name__ == "__main__":
    main()
