"""The SDR team for tests of the core: its real definitions, answers as its agents would give them, and sample leads."""

from pathlib import Path
from typing import Any

import orjson

from loopwright.registry.definition import AgentDefinition
from loopwright.registry.loading import load_team

ROOT = Path(__file__).resolve().parents[2]
LEAD = {"name": "Ada Park", "email": "ada@example.com", "company_name": "Example Ltd", "lead_source": "webinar"}
MAIL = {"subject": "Hello", "body": "Hello Ada", "send_after_days": 0}
OUTPUTS: dict[str, dict[str, Any]] = {
    "lead-ingestion": {
        "profile": {"seniority": "manager", "email_kind": "company", "intent_signals": [], "summary": "A manager.", "notes": []}
    },
    "lead-scoring": {"score": 70, "score_reasons": ["+70: because"], "next_step": "Actively Engage"},
    "active-outreach": {"emails": [MAIL]},
    "nurture-campaign": {"emails": [MAIL, MAIL, MAIL]},
    "send-email": {"sent": ["<1@example.com>"], "outbox": "outbox"},
}


def sdr_team() -> list[AgentDefinition]:
    """The five definitions that ship with the repository."""
    return load_team(ROOT / "agents" / "sdr", {})


def ok(output: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The outcome of a call that was answered 200 with this output."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"status": 200, "headers": named, "body": orjson.dumps(output).decode(), "duration_ms": 5}


def answering(payload: dict[str, Any]) -> dict[str, Any]:
    """An agent call performed as the SDR agents would."""
    return ok(OUTPUTS[payload["url"].rsplit("/", 1)[1]])


def model_says(agent: str, reason: str = "it fits") -> dict[str, Any]:
    """The outcome of a question that the model answered validly."""
    content = orjson.dumps({"agent": agent, "confidence": 0.9, "reason": reason}).decode()
    return {"ok": True, "content": content, "model": "m", "tokens": {"prompt": 100, "completion": 10}, "duration_ms": 7}
