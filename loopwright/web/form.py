"""The lead form: its fields, and what is wrong with what somebody typed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from loopwright.registry.contract import Contract

SOURCES = ("demo request", "whitepaper", "webinar", "case study", "newsletter")
_EMAIL = Contract({"type": "object", "properties": {"email": {"type": "string", "format": "email"}}})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form. `autocomplete` is the HTML token by which a browser fills it in."""

    name: str
    label: str
    longest: int
    required: bool = False
    kind: str = "text"
    autocomplete: str = "off"
    hint: str = ""


FIELDS = (
    Field("name", "Your name", 200, required=True, autocomplete="name"),
    Field("email", "E-mail", 254, required=True, kind="email", autocomplete="email"),
    Field("company_name", "Company", 200, required=True, autocomplete="organization"),
    Field("lead_source", "How did you find us?", 100, required=True, kind="select"),
    Field("job_title", "Job title", 200, autocomplete="organization-title"),
    Field("company_website", "Company website", 500, autocomplete="url"),
    Field(
        "project_description",
        "What is it about?",
        10_000,
        kind="textarea",
        hint="Goals, size, time frame: whatever helps us to answer well.",
    ),
)


def read_form(body: bytes) -> dict[str, str]:
    """What was typed, by field, without blanks around it; unknown fields are left out. Raises ValueError for what no browser sends."""
    typed = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50, errors="strict"))
    known = {field.name for field in FIELDS} | {"form_id"}
    return {name: value.replace("\r\n", "\n").strip() for name, value in typed.items() if name in known}


def complaints(typed: Mapping[str, str]) -> dict[str, str]:
    """By field: what is wrong and what to do about it. Empty where the lead can be sent."""
    found = {field.name: complaint for field in FIELDS if (complaint := _complaint(field, typed.get(field.name, "")))}
    if "email" not in found and not _EMAIL.accepts({"email": typed.get("email")}):
        found["email"] = "This is not an e-mail address. Write it as in name@example.com."
    return found


def _complaint(field: Field, value: str) -> str:
    if field.required and not value:
        return "Choose one of the list." if field.kind == "select" else "Please fill this in."
    if len(value) > field.longest:
        return f"This is too long: {len(value)} characters, {field.longest} at most."
    if field.kind == "select" and value not in SOURCES:
        return "Choose one of the list."
    allowed = "\n\t" if field.kind == "textarea" else ""
    if any(ord(letter) < 32 and letter not in allowed for letter in value):
        return "There are control characters in this. Type it again."
    return ""


def lead_of(typed: Mapping[str, str]) -> dict[str, str]:
    """The lead as a workflow document: the fields that were filled in."""
    return {field.name: typed[field.name] for field in FIELDS if typed.get(field.name)}
