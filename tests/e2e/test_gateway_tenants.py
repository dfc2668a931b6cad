"""The gateway with a tokens file: who may start workflows, for whom, and what is on record of who may not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from loopwright.agent import Task, create_app
from loopwright.errors import InvalidSettings
from loopwright.settings import read_settings
from loopwright.web import gateway as web
from tests.e2e.http_here import running, until
from tests.e2e.test_agents_http import Inbox, echo, inbox, later, posting
from tests.e2e.test_gateway_http import LEAD
from tests.e2e.test_signed_callbacks import Audited

__all__ = ["inbox"]
ACME, BATCH, OLD, GLOBEX = (f"{name}-token-0123456789" for name in ("acme", "batch", "old", "globex"))
TOKENS = {
    "acme-web": {"token": ACME, "tenant": "acme"},
    "acme-batch": {"token": [BATCH, OLD], "tenant": "acme", "teams": ["other"], "actions": ["crm.write"]},
    "globex": {"token": GLOBEX, "tenant": "globex"},
}


def tokens_file(folder: Path, content: Any = TOKENS, mode: int = 0o600) -> Path:
    file = folder / "tokens.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    file.chmod(mode)
    return file


@pytest.fixture
def log() -> Audited:
    return Audited()


@pytest.fixture
def base(log: Audited, tmp_path: Path) -> Iterator[str]:
    with running(web.create_app(read_settings(gateway_tokens_file=tokens_file(tmp_path)), log)) as url:
        yield url


def start(base: str, token: str = "", query: str = "", key: str = "") -> requests.Response:
    headers = ({"authorization": f"Bearer {token}"} if token else {}) | ({"idempotency-key": key} if key else {})
    return requests.post(f"{base}/workflows{query}", json={"a": 1}, headers=headers, timeout=20)


def test_a_token_says_for_which_tenant_a_workflow_is(base: str, log: Audited) -> None:
    assert start(base, ACME).status_code == 202
    assert start(base, ACME, "?tenant=acme&team=any").status_code == 202
    assert start(base, OLD, "?team=other").status_code == 202
    plain, named, limited = log.kept("agent-messages")
    assert plain["data"] == {"document": {"a": 1}, "tenant": "acme"}
    assert named["data"]["team"] == "any"
    assert limited["data"] == {"document": {"a": 1}, "team": "other", "tenant": "acme", "actions": ["crm.write"]}


@pytest.mark.parametrize(
    ("token", "query", "status", "cause", "who"),
    [
        ("", "", 401, "no-token", {}),
        ("nobody's-token-012345", "", 401, "unknown-token", {}),
        (ACME.upper(), "", 401, "unknown-token", {}),
        (ACME, "?tenant=globex", 403, "foreign-tenant", {"token": "acme-web", "tenant": "acme"}),
        (ACME, "?tenant=", 403, "foreign-tenant", {"token": "acme-web", "tenant": "acme"}),
        (BATCH, "", 403, "foreign-team", {"token": "acme-batch", "tenant": "acme"}),
        (BATCH, "?team=sdr", 403, "foreign-team", {"token": "acme-batch", "tenant": "acme"}),
    ],
)
def test_who_may_not_is_refused_and_on_record(
    base: str, log: Audited, token: str, query: str, status: int, cause: str, who: dict[str, str]
) -> None:
    answer = start(base, token, query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"urn:loopwright:{cause}"
    (record,) = until(lambda: log.kept("agent-audit"), "the audit record")
    assert (record["data"]["cause"], record["data"]["what"], record["workflowid"]) == (cause, "workflows", "-")
    assert record["data"]["who"] == who | {"address": "127.0.0.1"}
    assert not token or token not in json.dumps(record) + answer.text
    assert log.kept("agent-messages") == []


def test_the_form_needs_a_token_too(base: str, log: Audited) -> None:
    assert requests.post(f"{base}/leads", data=LEAD, timeout=20).status_code == 401
    given = requests.post(f"{base}/leads", data=LEAD, headers={"authorization": f"Bearer {ACME}"}, timeout=20, allow_redirects=False)
    assert given.status_code == 303
    assert log.kept("agent-messages")[0]["data"]["tenant"] == "acme"


def test_the_same_key_of_two_tenants_is_two_workflows_and_neither_can_tell(base: str, log: Audited) -> None:
    names = [start(base, token, key="order-1").json()["workflow"] for token in (ACME, GLOBEX, ACME)]
    assert names[0] == names[2] != names[1]
    answers = [start(base, token, key="order-1") for token in (ACME, GLOBEX)]
    assert len({answer.status_code for answer in answers}) == 1
    without = web.workflow_id("order-1")
    assert without not in names
    assert web.workflow_id("acme\x1forder-1") not in names


def test_a_token_is_taken_in_and_out_without_a_restart(base: str, tmp_path: Path) -> None:
    tokens_file(tmp_path, {"acme-web": {"token": [GLOBEX + "2", ACME], "tenant": "acme"}})
    assert [start(base, token).status_code for token in (GLOBEX + "2", ACME, GLOBEX)] == [202, 202, 401]
    tokens_file(tmp_path, "broken: [")
    assert start(base, ACME).status_code == 202, "a file that cannot be used changes nothing"


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"token": ACME}},
        {"a": {"tenant": "acme"}},
        {"a": {"token": "short", "tenant": "acme"}},
        {"a": {"token": [], "tenant": "acme"}},
        {"a": {"token": ACME, "tenant": "a b"}},
        {"a": {"token": ACME, "tenant": "acme", "team": "sdr"}},
        {"a": {"token": ACME, "tenant": "acme", "teams": "sdr"}},
        {"a": {"token": ACME, "tenant": "acme"}, "b": {"token": ACME, "tenant": "globex"}},
        {"a": ACME},
        [ACME],
    ],
)
def test_a_tokens_file_that_cannot_be_used_stops_the_gateway_without_a_word_of_its_content(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InvalidSettings) as caught:
        web.create_app(read_settings(gateway_tokens_file=tokens_file(tmp_path, content)), Audited())
    assert ACME not in str(caught.value)


def test_a_tokens_file_that_others_may_read_stops_the_gateway(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="chmod 600"):
        web.create_app(read_settings(gateway_tokens_file=tokens_file(tmp_path, mode=0o644)), Audited())


def acting(task: Task) -> dict[str, object]:
    task.action("email.send")
    return {"said": task.input["text"]}


def test_the_sdk_reports_the_actions_of_an_agent(tmp_path: Path, inbox: tuple[Inbox, str]) -> None:
    box, gateway = inbox
    with running(create_app([echo(acting, actions=["email.send"])], tmp_path / "1")) as agent:
        assert posting(agent)({"text": "hi"}).headers["loopwright-actions"] == "email.send"
        assert posting(agent)({"text": "hi"}).headers["loopwright-actions"] == "email.send", "a repeat tells the same"
    with running(create_app([echo(acting, actions=["email.send"], reply="callback")], tmp_path / "2")) as agent:
        posting(agent)({"text": "hi"}, **later(gateway))
        (reply,) = until(box.replies, "the reply")
    assert reply["actions"] == ["email.send"]


def test_the_sdk_stops_an_agent_before_an_action_that_its_definition_does_not_list(tmp_path: Path) -> None:
    with running(create_app([echo(acting, actions=["crm.write"])], tmp_path)) as agent:
        answer = posting(agent)({"text": "hi"})
    assert (answer.status_code, "email.send is not allowed" in answer.json()["title"]) == (422, True)
