"""What the contract mask saves: model calls and tokens per lead, against one call for every message: `python -m bench.model_calls`.

The leads of the demo are worked in the simulation, by the team that ships and its agents' rules, twice: by the routing chain as it is, and
by a chain of one step that asks the model whenever a message comes, with every agent of the team in the prompt (the reference design: join
each message with all definitions, predict the next agent). The model is one that always chooses right, so both take the same path; that
they did is checked. Agents write by their rules, and so ask no model here.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson
import requests
from rich.console import Console
from rich.table import Table

from agents.sdr.lead_ingestion import profile_of
from agents.sdr.lead_scoring import score_of
from agents.sdr.mails import nurture_mails, outreach_mail
from bench.machine import machine
from loopwright.message import Message, encode
from loopwright.registry.loading import load_team
from loopwright.routing.answer import NOBODY
from loopwright.routing.decider import RouteDecider
from loopwright.routing.model import ask_model
from loopwright.routing.request import Ask, Candidate, Decision, Masked, RouteRequest, RoutingStep
from loopwright.schemas import STARTED
from loopwright.settings import Settings
from loopwright.testing.local_model import LocalModel
from loopwright.testing.simulation import Simulation
from loopwright.workflow.document import fingerprint

TEAM = Path(__file__).resolve().parents[1] / "agents" / "sdr"
OUT = Path(".loopwright") / "bench" / "model_calls.json"
CONTRACTS, EVERY_MESSAGE = "contracts first", "one call per message"
Document = dict[str, Any]
WORK: dict[str, Callable[[Document], Document]] = {
    "lead-ingestion": lambda given: {"profile": profile_of(given)},
    "lead-scoring": lambda given: score_of(given["profile"], given["lead_source"]),
    "active-outreach": lambda given: {"emails": [outreach_mail(given)]},
    "nurture-campaign": lambda given: {"emails": nurture_mails(given)},
    "send-email": lambda given: {"sent": [f"<{number}@example.com>" for number, _ in enumerate(given["emails"])]},
}


@dataclass
class Cost:
    """What the model was asked for one lead, how the workflow ended, and which way it took."""

    path: tuple[str, ...] = ()
    end: str = ""
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class RightModel:
    """A model that always chooses right, and counts what it reads and writes. `count` gives the tokens of a text."""

    count: Callable[[str], int]
    cost: Cost = field(default_factory=Cost)

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer one question of the router."""
        said = payload["messages"][-1]["content"]
        content = json.dumps({"agent": right(said), "confidence": 1, "reason": "it is what the document needs next"})
        prompt, completion = sum(self.count(message["content"]) for message in payload["messages"]), self.count(content)
        self.cost.calls += 1
        self.cost.prompt_tokens += prompt
        self.cost.completion_tokens += completion
        return {"ok": True, "content": content, "model": "right", "tokens": {"prompt": prompt, "completion": completion}}


def right(prompt: str) -> str:
    """Who is next by the descriptions of the SDR team. What has run stands in the prompt, also where the document was cut."""
    ran = re.search(r"^Has run: (.*)$", prompt, re.MULTILINE)
    path = ran.group(1).split(", ") if ran else []
    if "lead-ingestion" not in path:
        return "lead-ingestion"
    if "lead-scoring" not in path:
        return "lead-scoring"
    if "send-email" in path:
        return NOBODY
    if "active-outreach" in path or "nurture-campaign" in path:
        return "send-email"
    return "active-outreach" if '"next_step":"Actively Engage"' in prompt else "nurture-campaign"


def ask_every_time(request: RouteRequest) -> Decision | Ask | None:
    """Ask the model, whatever the contracts say: every agent is a candidate and sees the whole document."""
    given = request.state.document
    everybody = tuple(Candidate(agent, given, fingerprint(given)) for agent in request.agents.values())
    asked = RouteRequest(request.state, request.agents, request.routing, request.limits, request.model_attempts, request.answers)
    asked.__dict__["masked"] = Masked(everybody, {})  # the place where the property keeps it
    return ask_model(asked)


def work(lead: Document, count: Callable[[str], int], steps: Sequence[RoutingStep] | None = None) -> Cost:
    """Work one lead to its end, by `steps` or by the chain as it is."""
    settings, model = Settings(llm_base_url="http://model/v1"), RightModel(count)
    simulation = Simulation(settings, load_team(TEAM, {"AGENTS_URL": "http://agents"}), agent, model)
    if steps is not None:
        simulation.route.make = lambda: RouteDecider(settings, steps)
        simulation.route.restart()
    start = Message("start", STARTED, "/bench", "lead", {"document": lead}, time_ms=simulation.now_ms)
    simulation.write(settings.topics.messages, encode(start), b"lead")
    simulation.run(random.Random(1), within_ms=60_000)  # noqa: S311  # it has to be the same each time
    ends = simulation.read(settings.topics.results)
    model.cost.end = ends[0].type
    model.cost.path = tuple(ends[0].data["path"])
    return model.cost


def agent(payload: dict[str, Any]) -> dict[str, Any]:
    """A call to an agent of the team, which works by its rules."""
    output = WORK[payload["url"].rsplit("/", 1)[1]](orjson.loads(payload["body"]))
    return {"status": 200, "headers": {}, "body": orjson.dumps(output).decode(), "duration_ms": 1}


def summed_up(costs: Sequence[Cost]) -> dict[str, float]:
    """Means per lead, of the leads that were worked to the end."""
    names = ("calls", "prompt_tokens", "completion_tokens")
    return {name: round(fmean(getattr(cost, name) for cost in costs), 2) for name in names}


def differences(found: dict[str, dict[str, Cost]]) -> list[str]:
    """The leads that did not take the same path by both."""
    ours, theirs = found[CONTRACTS], found[EVERY_MESSAGE]
    return [name for name, cost in theirs.items() if (cost.path, cost.end) != (ours[name].path, ours[name].end)]


def compare(leads: dict[str, Document], count: Callable[[str], int]) -> dict[str, dict[str, Cost]]:
    """Every lead by both. A lead that no agent takes is left out of the second: there the model would be asked until the hops run out."""
    ours = {name: work(lead, count) for name, lead in leads.items()}
    theirs = {name: work(lead, count, (ask_every_time,)) for name, lead in leads.items() if ours[name].path}
    return {CONTRACTS: ours, EVERY_MESSAGE: theirs}


def leads_of(folder: Path) -> dict[str, Document]:
    """The leads of the demo by name."""
    return {file.stem: orjson.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))}


def tokenizer() -> Callable[[str], int]:
    """Tokens of a text by a real tokenizer: that of the model that the development packages bring. Raises NotFound."""
    server = LocalModel(threads=1)  # it serves for as long as somebody holds it

    def count(text: str) -> int:
        url = server.base_url.removesuffix("/v1") + "/tokenize"
        return len(requests.post(url, json={"content": text}, timeout=30).json()["tokens"])

    return count


def table(found: dict[str, dict[str, Cost]]) -> Table:
    """The figures."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("per lead worked to its end", "leads", "model calls", "prompt tokens", "completion tokens"):
        shown.add_column(column)
    for name, costs in found.items():
        worked = [cost for cost in costs.values() if cost.path]
        means = summed_up(worked)
        shown.add_row(name, str(len(worked)), *(f"{value:g}" for value in means.values()))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures. Exit code 1 where the paths differ: then nothing was compared."""
    parser = argparse.ArgumentParser(prog="python -m bench.model_calls", description=__doc__)
    parser.add_argument("--leads", type=Path, default=TEAM / "leads", help="a folder with one JSON document per lead")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go as JSON ({OUT})")
    given = parser.parse_args(arguments)
    found = compare(leads_of(given.leads), tokenizer())
    different, screen = differences(found), Console()
    refused = [name for name, cost in found[CONTRACTS].items() if not cost.path]
    said = {"machine": machine(), "different_paths": different, "refused_by_contract": refused}
    said["means"] = {name: summed_up([cost for cost in costs.values() if cost.path]) for name, costs in found.items()}
    said["leads"] = {name: {lead: asdict(cost) for lead, cost in costs.items()} for name, costs in found.items()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    screen.print(table(found))
    screen.print(f"the same path by both: {'no: ' + ', '.join(different) if different else 'yes'}", markup=False)
    screen.print(f"refused by the contracts, without a call: {', '.join(refused) or 'none'}; written to {given.out}", markup=False)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
