"""lead-scoring: 0 to 100, pessimistically. Every point has a reason, and what is not said counts for nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.sdr.lead_ingestion import ORDERS_NOTE
from agents.sdr.prompting import Prompter, Unanswered
from loopwright.agent import Agent, Task

ENGAGE_FROM = 60
MOST_ABOVE_RULES = 20
SOURCES = {"demo request": 25, "case study": 12, "webinar": 8, "whitepaper": 6, "newsletter": 3}
SENIORITY = {"executive": 16, "vice-president": 16, "director": 13, "manager": 7, "specialist": 2}
EMAIL = {"company": (6, "writes from the company's own address"), "free-mail": (-10, "writes from a private address")}
SIGNALS = {
    "budget": (12, "speaks of a budget"),
    "deadline": (8, "names a time"),
    "problem": (6, "describes a need"),
    "evaluation": (5, "is comparing products"),
    "scale": (4, "says how large the matter is"),
    "asks-to-talk": (4, "asks for a talk"),
    "not-now": (-20, "says that it is not urgent"),
    "student": (-30, "is a study project"),
    "job-hunt": (-40, "is looking for work"),
    "selling": (-40, "wants to sell something"),
}
ROLE = (
    "You score sales leads from 0 to 100, pessimistically: 60 and more only where seniority, intent and timing are all stated. "
    f"next_step is Actively Engage from {ENGAGE_FROM} on, Nurture below. Give each reason as a sentence."
)


def lead_scoring(variables: Mapping[str, str], prompter: Prompter) -> Agent:
    """The agent."""
    agent = Agent(Path(__file__).with_name("lead-scoring.yaml"), variables)

    @agent.handler
    async def handle(task: Task) -> dict[str, Any]:
        scored = score_of(task.input["profile"], task.input["lead_source"])
        if not prompter.available or ORDERS_NOTE in task.input["profile"].get("notes", ()):
            return scored
        task.progress(1, 2, "asking the model")
        try:
            return held(scored, await prompter.ask(agent, task, ROLE, task.input))
        except Unanswered as error:
            reason = f"Scored by rules, not by the model: {error.what} ({error.why})."
            return scored | {"score_reasons": [*scored["score_reasons"], reason[:500]]}

    return agent


def score_of(profile: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The score by rules: points with reasons, summed and kept within 0 and 100."""
    seniority, kind = str(profile["seniority"]), str(profile["email_kind"])
    points = [
        (SOURCES.get(source.strip().casefold(), 0), f"came through: {source[:100]}"),
        (SENIORITY.get(seniority, 0), f"seniority: {seniority[:50]}"),
        EMAIL.get(kind, (0, "writes from another company's address")),
        *(SIGNALS[signal] for signal in dict.fromkeys(profile["intent_signals"]) if signal in SIGNALS),
    ]
    if ORDERS_NOTE in profile.get("notes", ()):
        points.append((-40, "its text gives orders to software"))
    return result(sum(number for number, _ in points), [f"{number:+d}: {reason}" for number, reason in points])


def result(score: int, reasons: list[str]) -> dict[str, Any]:
    """The output for a score: the next step follows from it."""
    score = min(100, max(0, score))
    return {"score": score, "score_reasons": reasons[:20], "next_step": "Actively Engage" if score >= ENGAGE_FROM else "Nurture"}


def held(rules: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The model's score, held to at most 20 points above the rules': a text may persuade a model, but not a sum."""
    most = int(rules["score"]) + MOST_ABOVE_RULES
    reasons = list(model["score_reasons"])[:19]
    if model["score"] > most:
        reasons.append(f"Held at {most}: the rules give {rules['score']}, and a model's score may be {MOST_ABOVE_RULES} above at most.")
    return result(min(int(model["score"]), most), reasons)
