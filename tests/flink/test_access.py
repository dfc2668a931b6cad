"""Who may do what on the job: tokens, tenants and signed callbacks from the gateway to the topics, and every refusal in the audit topic."""

import time
from pathlib import Path
from typing import Any

import orjson
import requests

from loopwright import schemas
from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.secrets import SecretsFile, new_key
from loopwright.edges.signing import Signer, message_id
from loopwright.registry.definition import AgentDefinition, Auth
from loopwright.web import gateway
from tests.e2e.http_here import free_port, running
from tests.flink.minicluster import until
from tests.flink.orchestra import Orchestra
from tests.unit.sdr_team import LEAD, OUTPUTS

TOKEN, START, COMMON = "t0ken-of-the-agent", "t0ken-of-the-caller", new_key(bytes(32))


def private(file: Path, content: dict[str, Any]) -> Path:
    file.write_bytes(orjson.dumps(content))
    file.chmod(0o600)
    return file


def guarded(definition: AgentDefinition) -> AgentDefinition:
    """lead-ingestion asks for a token, lead-scoring replies later, active-outreach is another tenant's."""
    changes: dict[str, dict[str, Any]] = {
        "lead-ingestion": {"auth": Auth(type="bearer")},
        "lead-scoring": {"reply": "callback"},
        "active-outreach": {"tenants": ("globex",)},
    }
    return definition.model_copy(update=changes.get(definition.name, {}))


def test_a_workflow_of_a_tenant_goes_its_way_and_what_was_tried_on_it_is_on_record(orchestra: Orchestra, tmp_path: Path) -> None:
    callbacks: list[str] = []

    def later(exchange: Any) -> None:
        callbacks.append(exchange.request.headers["loopwright-callback"])
        exchange.reply(202, {})

    port = free_port()
    orchestra.settings = orchestra.settings.model_copy(
        update={
            "secrets_file": private(tmp_path / "secrets", {"callback": COMMON, "agent/sdr/lead-ingestion": TOKEN}),
            "gateway_tokens_file": private(tmp_path / "tokens", {"acme-web": {"token": START, "tenant": "acme"}}),
            "gateway_url": f"http://127.0.0.1:{port}",
        }
    )
    orchestra.agents.agent("lead-scoring", later)
    orchestra.define(*map(guarded, orchestra.team()))
    orchestra.run()
    with running(gateway.create_app(orchestra.settings, Producer(orchestra.settings)), port) as base:
        assert requests.post(f"{base}/workflows", json=LEAD, timeout=60).status_code == 401
        name = requests.post(f"{base}/workflows", json=LEAD, headers={"authorization": f"Bearer {START}"}, timeout=60).json()["workflow"]
        until("the agent has accepted", lambda: callbacks)
        assert send_back(callbacks[0], {}) == 401
        assert send_back(callbacks[0], signed("send-email", tmp_path)) == 202, "a valid signature, of an agent that was not called"
        assert send_back(callbacks[0], signed("lead-scoring", tmp_path)) == 202
        (result,) = orchestra.results(1)
        refused = until("the audit records", lambda: audit(orchestra) if len(audit(orchestra)) >= 4 else None)
    assert result.data["path"] == ["lead-ingestion", "lead-scoring", "nurture-campaign", "send-email"]
    assert sorted((where, cause) for where, cause, _ in refused) == [
        ("dispatch", "foreign-agent"),
        ("gateway", "no-token"),
        ("gateway", "unsigned"),
        ("route", "foreign-tenant"),
    ]
    assert all(workflow == name for where, _, workflow in refused if where != "gateway")
    assert orchestra.agents.calls("lead-ingestion")[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert orchestra.agents.calls("active-outreach") == []
    everything = b"".join(
        record.value or b"" for record in read_all(orchestra.settings, list(orchestra.settings.topics.model_dump().values()))
    )
    assert not [secret for secret in (TOKEN, START, COMMON) if secret.encode() in everything], "no secret is in any topic"


def signed(agent: str, folder: Path) -> dict[str, str]:
    return Signer(SecretsFile(folder / "secrets"), "sdr", agent).headers(BODY, message_id(), time.time())


BODY = orjson.dumps({"output": OUTPUTS["lead-scoring"]})


def send_back(url: str, headers: dict[str, str]) -> int:
    return requests.post(url, data=BODY, headers={"content-type": "application/json", **headers}, timeout=60).status_code


def audit(orchestra: Orchestra) -> set[tuple[str, str, str]]:
    """Where, why and about which workflow something was refused."""
    said = orchestra.said(orchestra.settings.topics.audit)
    assert all(message.type == schemas.ACCESS_REFUSED for message in said)
    return {(message.data["where"], message.data["cause"], message.workflow) for message in said}
