"""A double of agents: any number of them behind one port, each as good or bad as a test wants it.

    with AgentServer() as agents:
        agents.agent("lead-scoring", failing(2, then=answering({"score": 82})))
        url = agents.endpoint("lead-scoring")                       # for the definition's `endpoint`
        ...
        assert len(agents.calls("lead-scoring")) == 3               # every attempt
        assert len(agents.by_key("lead-scoring")) == 1              # with one Idempotency-Key

As a process: python -m loopwright.testing.agent_server --port 8801 [--latency-ms 200]   (every agent echoes its input)
"""

import argparse
from urllib.parse import unquote, urlsplit

from loopwright.testing.agent_behaviours import KEY, Behaviour, echoing, slow
from loopwright.testing.foreground import stay_up
from loopwright.testing.http_double import Exchange, HttpDouble, Received

PREFIX = "/agents/"


class AgentServer(HttpDouble):
    """Serves POST /agents/{name} as each agent's behaviour says, and records every request."""

    def __init__(self, default: Behaviour | None = None, port: int = 0) -> None:
        """`default` is how an agent behaves that was not described; without it, there is none (404)."""
        super().__init__(self._serve, port)
        self._default = default
        self._agents: dict[str, Behaviour] = {}

    def agent(self, name: str, behaviour: Behaviour) -> str:
        """Have the agent behave so from now on. Returns its endpoint, once the server is started."""
        self._agents[name] = behaviour
        return self.endpoint(name)

    def endpoint(self, name: str) -> str:
        """The agent's address."""
        return f"{self.url}{PREFIX}{name}"

    def calls(self, name: str) -> list[Received]:
        """The requests that the agent was sent, in order."""
        return [request for request in list(self.requests) if _name(request) == name]

    def by_key(self, name: str) -> dict[str, list[Received]]:
        """The agent's requests by their Idempotency-Key (as the header has it, without quotation marks; empty where there is none)."""
        found: dict[str, list[Received]] = {}
        for request in self.calls(name):
            found.setdefault(request.headers.get(KEY, "").strip('"'), []).append(request)
        return found

    def _serve(self, exchange: Exchange) -> None:
        behaviour = self._agents.get(_name(exchange.request), self._default)
        if exchange.request.method != "POST":
            exchange.reply(405, {"title": "agents are called with POST", "status": 405}, {"Allow": "POST"})
        elif behaviour is None:
            exchange.reply(404, {"title": f"no agent at {exchange.request.path}", "status": 404})
        else:
            behaviour(exchange)


def _name(request: Received) -> str:
    return unquote(urlsplit(request.path).path.removeprefix(PREFIX))


def main() -> None:
    """Serve until interrupted. Prints the address as its first line."""
    parser = argparse.ArgumentParser(description="Agents that echo their input.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--latency-ms", type=int, default=0)
    given = parser.parse_args()
    with AgentServer(slow(given.latency_ms / 1000, echoing()), given.port) as server:
        stay_up(server.url)


if __name__ == "__main__":
    main()
