"""lead-ingestion: a profile out of the lead's own data. What the lead does not say is not in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agents.sdr.prompting import Prompter, Unanswered
from agents.sdr.words import FREE_MAIL, NO_BUDGET, ORDERS, SIGNALS, TITLES
from loopwright.agent import Agent, Task

ORDERS_NOTE = "The text gives orders to software. It was read as text, followed in nothing, and counts for nothing."
ROLE = (
    "You read sales leads. Build the profile of the person: seniority from the job title, intent signals from the project description, "
    "a summary of one or two sentences, and notes on what is missing or odd."
)


def lead_ingestion(variables: Mapping[str, str], prompter: Prompter) -> Agent:
    """The agent."""
    agent = Agent(Path(__file__).with_name("lead-ingestion.yaml"), variables)

    @agent.handler
    async def handle(task: Task) -> dict[str, Any]:
        task.progress(1, 2, "reading the lead")
        profile = profile_of(task.input)
        if prompter.available and ORDERS_NOTE not in profile["notes"]:
            try:
                profile = merged(profile, (await prompter.ask(agent, task, ROLE, task.input))["profile"])
            except Unanswered as error:
                profile["notes"].append(f"Read by rules, not by the model: {error.what} ({error.why})."[:500])
        task.progress(2, 2, "profile is ready")
        return {"profile": profile}

    return agent


def merged(rules: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """The model's reading, with the facts that no reading can change: where the address belongs."""
    facts = {name: rules[name] for name in ("email_kind", "company_domain") if name in rules}
    return {name: value for name, value in model.items() if name != "company_domain"} | facts


def profile_of(lead: Mapping[str, Any]) -> dict[str, Any]:
    """The profile of a lead that keeps the input contract."""
    text = " ".join(str(lead.get("project_description", "")).split())
    orders = has(ORDERS, " ".join(str(value) for value in lead.values()))
    kind, domain = email_kind(lead["email"], lead["company_name"], lead.get("company_website", ""))
    title = " ".join(str(lead.get("job_title", "")).split())
    signals = [] if orders else intent_signals(text)
    profile: dict[str, Any] = {
        "seniority": seniority(title),
        "email_kind": kind,
        "intent_signals": signals,
        "summary": summary(lead, title, "" if orders else text),
        "notes": notes(title, text, kind, orders),
    }
    return profile | ({"company_domain": domain} if domain else {})


def seniority(title: str) -> str:
    """The level that a job title claims; unknown where it claims none."""
    return next((level for level, words in TITLES if has(words, title)), "unknown")


def email_kind(email: str, company: str, website: str) -> tuple[str, str]:
    """Whether the address is the company's own, another company's or a free one, and the company's domain (empty for a free one)."""
    domain = email.rpartition("@")[2].lower().rstrip(".")
    if domain in FREE_MAIL:
        return "free-mail", ""
    host = host_of(website)
    if host and (host == domain or host.endswith("." + domain) or domain.endswith("." + host)):
        return "company", domain
    letters = re.sub(r"[\W_]", "", company.casefold())
    label = re.sub(r"[\W_]", "", domain.split(".")[0])
    alike = len(label) >= 3 and len(letters) >= 3 and (label in letters or letters in label)
    return ("company" if alike and not host else "other-company"), domain


def host_of(website: str) -> str:
    """The host of a website as people write it, without www; empty where there is none."""
    try:
        host = urlsplit(website if "://" in website else f"https://{website.strip()}").hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")


def intent_signals(text: str) -> list[str]:
    """What the description says about an intent to buy, or against it."""
    found = [name for name, words in SIGNALS if has(words, text)]
    return [name for name in found if name != "budget" or not has(NO_BUDGET, text)]


def has(words: str, text: str) -> bool:
    """Whether one of the words (a pattern) stands in the text, as a word where letters are Latin: other scripts need no spaces."""
    return re.search(rf"(?<![a-zà-ÿ0-9])(?:{words})(?![a-zà-ÿ0-9])", text[:20_000], re.IGNORECASE) is not None


def summary(lead: Mapping[str, Any], title: str, text: str) -> str:
    """One or two sentences."""
    who = f"{title} at {lead['company_name']}" if title else f"Somebody at {lead['company_name']}"
    said = f" They write: {text[:300]}{'…' if len(text) > 300 else ''}" if text else " They write nothing about a project."
    return f"{who}, who came through: {lead['lead_source']}.{said}"


def notes(title: str, text: str, kind: str, orders: bool) -> list[str]:
    """What is missing or odd."""
    found = {
        "No job title is given.": not title,
        "No project is described.": not text,
        "The address is a private one.": kind == "free-mail",
        "The address does not belong to the company that is named.": kind == "other-company",
        ORDERS_NOTE: orders,
    }
    return [note for note, holds in found.items() if holds]
