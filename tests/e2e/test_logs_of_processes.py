"""Secrets through every door of the gateway and of an agent, as processes: nothing that they write to stdout or stderr holds one."""

from pathlib import Path

import pytest
import requests

from tests.e2e.http_here import free_port, process
from tests.e2e.telling_agent import WAYS
from tests.unit.test_process_log import SHAPES, TELLING


def told(captured: "pytest.CaptureResult[str]") -> list[str]:
    said = captured.out + captured.err
    return [line for line in said.splitlines() if any(secret in line for secret in TELLING)]


def test_an_agent_s_log_holds_no_secret_whatever_its_handler_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with process("-m", "tests.e2e.telling_agent", "--state", str(tmp_path), port=port):
        for number, secret in enumerate(SHAPES):
            for how in WAYS if number < 6 else WAYS[:1]:
                headers = {"idempotency-key": f'"{number}-{how}"', "ce-workflowid": "w", "traceparent": secret.split("\n")[0]}
                url = f"http://127.0.0.1:{port}/agents/telling"
                requests.post(url, json={"how": how, "text": secret}, headers=headers, timeout=60)
            requests.post(url, data=secret.encode(), headers={"content-type": "application/json", "idempotency-key": "x"}, timeout=60)
    captured = capfd.readouterr()
    assert told(captured) == []
    assert "RuntimeError: ***" in captured.err, "nothing was logged at all"
    assert "was given ***" in captured.err


def test_the_gateway_s_log_holds_no_secret_whatever_it_is_sent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with process(
        "-m", "loopwright.web.gateway", port=port, LOOPWRIGHT_HOME=str(tmp_path), LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"
    ):
        base = f"http://127.0.0.1:{port}"
        for secret in SHAPES:
            line = secret.split("\n")[0]
            headers = {"idempotency-key": line[:200], "authorization": f"Bearer {line}", "traceparent": line}
            for path in ("/callbacks/w/1/0", "/progress/w/1", "/nowhere"):
                answer = requests.post(
                    base + path, params={"agent": secret}, json={"text": secret, "output": secret}, headers=headers, timeout=60
                )
                assert answer.status_code in (404, 422), path
            requests.post(base + "/leads", data={"name": secret, "email": secret}, headers=headers, timeout=60)
        requests.post(base + "/workflows", json={"text": SHAPES[0]}, headers={"idempotency-key": SHAPES[0]}, timeout=60)
    captured = capfd.readouterr()
    assert told(captured) == []
    assert "listening on" in captured.err, "nothing was logged at all"
