"""active-outreach and nurture-campaign: one personal mail, or a sequence of three."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.sdr.mails import mail, nurture_mails, outreach_mail, presentable
from agents.sdr.prompting import Prompter, Unanswered
from loopwright.agent import Agent, Task

Rules = Callable[[Mapping[str, Any]], list[dict[str, Any]]]
OUTREACH = "You write one short personal sales mail to a lead who is ready to talk, proposing a call. No links."
NURTURE = "You write a sequence of three short helpful mails, sent after 0, 7 and 21 days, to a lead who is not ready to buy. No links."


def active_outreach(variables: Mapping[str, str], prompter: Prompter) -> Agent:
    """The agent that writes one personal mail."""
    return _writer("active-outreach.yaml", OUTREACH, lambda lead: [outreach_mail(lead)], variables, prompter)


def nurture_campaign(variables: Mapping[str, str], prompter: Prompter) -> Agent:
    """The agent that writes three mails."""
    return _writer("nurture-campaign.yaml", NURTURE, nurture_mails, variables, prompter)


def _writer(file: str, role: str, rules: Rules, variables: Mapping[str, str], prompter: Prompter) -> Agent:
    agent = Agent(Path(__file__).with_name(file), variables)

    @agent.handler
    async def handle(task: Task) -> dict[str, Any]:
        task.progress(1, 1, "writing")
        if prompter.available:
            try:
                emails = (await prompter.ask(agent, task, role, task.input))["emails"]
                if presentable(emails):
                    return {"emails": [mail(item["subject"], item["body"], item["send_after_days"]) for item in emails]}
            except Unanswered:
                pass  # the contract has no place for it; the mails by rules say the same to every lead
        return {"emails": rules(task.input)}

    return agent
