"""The mails by rules. Of a stranger's words only the name and the company get into a mail, and only where they look like such."""

import re
from collections.abc import Mapping
from typing import Any

SIGN_OFF = "Kind regards,\nthe sales team"
ABOUT = {
    "budget": "the budget you have set aside",
    "deadline": "your time frame",
    "problem": "what you want to change",
    "evaluation": "how you are comparing the options",
    "scale": "the size of what you have in mind",
    "asks-to-talk": "the questions you have",
}
_ODD = re.compile(r"://|www\.|[<>{}\[\]|\\@]|\.(com|net|org|io|ru|info)\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str, longest: int = 120) -> str:
    """The text on one line, without control characters, cut."""
    return " ".join(_CONTROL.sub(" ", text).split())[:longest]


def as_name(text: str, otherwise: str) -> str:
    """The text if it can be a name in a greeting; `otherwise` if it holds an address or markup."""
    line = one_line(text, 80)
    return otherwise if not line or _ODD.search(line) else line


def mail(subject: str, body: str, send_after_days: int = 0) -> dict[str, Any]:
    """A mail as the output contracts have it."""
    return {"subject": one_line(subject, 200), "body": body, "send_after_days": send_after_days}


def outreach_mail(lead: Mapping[str, Any]) -> dict[str, Any]:
    """The one personal mail."""
    name, company = as_name(lead["name"], "there"), as_name(lead["company_name"], "your company")
    about = [ABOUT[signal] for signal in lead["profile"]["intent_signals"] if signal in ABOUT]
    topics = joined(about) or "what you are looking for"
    body = (
        f"Hello {name},\n\nthank you for getting in touch on behalf of {company}.\n\n"
        f"I would like to talk with you about {topics}. Would twenty minutes this week suit you? "
        f"Answer with two times that work, and I will send an invitation.\n\n{SIGN_OFF}\n"
    )
    return mail(f"{company}: twenty minutes about your project?", body)


def nurture_mails(lead: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sequence of three."""
    name, company = as_name(lead["name"], "there"), as_name(lead["company_name"], "your company")
    came = one_line(str(lead.get("lead_source", "")), 60).lower()
    thanks = f"thank you for your interest ({came})." if came and not _ODD.search(came) else "thank you for your interest."
    parts = (
        (0, f"A good place to start for {company}", f"{thanks} We have put together what teams ask us first, in ten minutes of reading."),
        (
            7,
            f"What others in the place of {company} did",
            "here is how three teams went about it, what it cost them, and what they would skip.",
        ),
        (
            21,
            f"Is it of use to {company}?",
            "should the matter become concrete, answer this mail and we will find a time. If not, one word stops it.",
        ),
    )
    return [mail(subject, f"Hello {name},\n\n{text}\n\n{SIGN_OFF}\n", days) for days, subject, text in parts]


def joined(parts: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def presentable(emails: list[dict[str, Any]]) -> bool:
    """Whether a model's mails may go out: no address in them that we did not put there."""
    return not any(re.search(r"://|www\.|\bhttps?\b", item["subject"] + item["body"], re.IGNORECASE) for item in emails)
