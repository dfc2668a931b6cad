"""A team that marks fields as sensitive: `email` comes with the start, `phone` out of an agent; one agent is given each, one neither."""

from typing import Any

from loopwright.registry.definition import AgentDefinition

TEXT: dict[str, Any] = {"type": "string"}
PHONE = {"type": "string", "pattern": r"^\+[0-9 ]{5,20}$", "x-sensitive": True}
EMAIL = {"type": "string", "format": "email", "x-sensitive": True}
EMAIL_GIVEN, PHONE_FOUND = "ada.park.7391@engines.example", "+49 30 9018 2073"
DOCUMENT = {"name": "Ada", "email": EMAIL_GIVEN}
OUTPUTS: dict[str, dict[str, Any]] = {
    "finder": {"customer": "c-17", "phone": PHONE_FOUND},
    "clerk": {"filed": "yes"},
    "caller": {"reached": "yes"},
    "mailer": {"mailed": "yes"},
}


def _agent(name: str, given: dict[str, Any], gives: dict[str, Any], base: str, **more: Any) -> AgentDefinition:
    return AgentDefinition.model_validate(
        {
            "name": name,
            "team": "sealed",
            "version": 1,
            "description": f"The {name}.",
            "endpoint": f"{base}/agents/{name}",
            "input": {"type": "object", "required": list(given), "properties": given},
            "output": {"type": "object", "required": list(gives), "properties": gives},
            **more,
        }
    )


def sealed_team(base: str = "http://agents", **caller: Any) -> list[AgentDefinition]:
    """finder (name -> customer, phone), clerk (customer -> filed), caller (phone -> reached), mailer (email -> mailed, the end)."""
    return [
        _agent("finder", {"name": TEXT}, {"customer": TEXT, "phone": PHONE}, base),
        _agent("clerk", {"customer": TEXT}, {"filed": TEXT}, base, after=["finder"]),
        _agent("caller", {"phone": PHONE, "filed": TEXT}, {"reached": TEXT}, base, after=["clerk"], **caller),
        _agent("mailer", {"email": EMAIL, "reached": TEXT}, {"mailed": TEXT}, base, after=["caller"], terminal=True),
    ]
