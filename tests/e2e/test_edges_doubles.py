"""The test doubles do what their documentation says, over real HTTP."""

import subprocess
import sys

import pytest
import requests

from loopwright.testing import agent_behaviours as behave
from loopwright.testing.agent_server import AgentServer
from loopwright.testing.model_behaviours import BEHAVIOURS
from loopwright.testing.model_server import ModelServer

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TIMEOUT = 10


@pytest.fixture
def agents():
    with AgentServer() as server:
        yield server


def post(url, body=None, key="k1", **headers):
    return requests.post(url, json=body or {}, headers={"Idempotency-Key": f'"{key}"', **headers}, timeout=TIMEOUT, allow_redirects=False)


def test_an_agent_fails_as_often_as_told_for_each_key(agents):
    url = agents.agent("a", behave.failing(2, then=behave.answering({"score": 82})))
    assert [post(url, key="k1").status_code for _ in range(4)] == [503, 503, 200, 200]
    assert [post(url, key="k2").status_code for _ in range(3)] == [503, 503, 200]
    assert {key: len(calls) for key, calls in agents.by_key("a").items()} == {"k1": 4, "k2": 3}


def test_an_agent_answers_later_by_callback(agents):
    url = agents.agent("later", behave.calling_back({"output": {"score": 1}}, times=2))
    agents.agent("inbox", behave.echoing())
    assert post(url, **{"Loopwright-Callback": agents.endpoint("inbox")}).status_code == 202
    agents.wait_for(3)
    assert [call.json() for call in agents.calls("inbox")] == [{"output": {"score": 1}}] * 2
    assert post(url).status_code == 422, "no callback address was given"


def test_an_idempotent_agent_checks_its_keys(agents):
    url = agents.agent("a", behave.idempotent(behave.echoing()))
    assert post(url, {"a": 1}).json() == {"a": 1}
    assert post(url, {"a": 1}).status_code == 200
    assert post(url, {"a": 2}).status_code == 422
    assert requests.post(url, json={}, timeout=TIMEOUT).status_code == 400


def test_an_agent_that_was_not_described_is_not_there_and_others_are_untouched(agents):
    agents.agent("a", behave.answering(lambda given: {"twice": given["n"] * 2}, loopwright_next="complete"))
    answer = post(agents.endpoint("a"), {"n": 4})
    assert (answer.json(), answer.headers["loopwright-next"]) == ({"twice": 8}, "complete")
    assert post(agents.endpoint("b")).status_code == 404
    assert requests.get(agents.endpoint("a"), timeout=TIMEOUT).status_code == 405


def test_a_redirect_goes_out_as_one(agents):
    answer = post(agents.agent("a", behave.redirecting("http://169.254.169.254/latest")))
    assert (answer.status_code, answer.headers["location"]) == (307, "http://169.254.169.254/latest")


@pytest.mark.parametrize("behaviour", [behave.resetting(), behave.breaking_off()])
def test_a_connection_is_reset_after_the_work_was_done(agents, behaviour):
    with pytest.raises(requests.exceptions.RequestException):
        post(agents.agent("a", behaviour), {"n": 1})
    assert agents.calls("a")[0].json() == {"n": 1}


def test_a_server_that_hangs_can_be_stopped():
    with AgentServer() as server, pytest.raises(requests.exceptions.RequestException):
        requests.post(server.agent("a", behave.hanging()), json={}, timeout=0.2)
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url


def test_a_scripted_model_goes_back_to_being_honest():
    with ModelServer() as model:
        model.script("http-429", "prose")
        model.say({"agent": "a"}, "text")
        answers = [requests.post(f"{model.base_url}/chat/completions", json=ASK, timeout=TIMEOUT) for _ in range(5)]
    assert answers[0].status_code == 429
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers[1:]]
    assert said[1:3] == ['{"agent": "a"}', "text"]
    assert "schema" in said[3]
    assert len(model.questions) == 5


def test_a_model_may_ask_for_its_key():
    with ModelServer(api_key="right", policy=lambda asked: {"said": asked["messages"][0]["content"]}) as model:
        url = f"{model.base_url}/chat/completions"
        assert requests.post(url, json=ASK, timeout=TIMEOUT).status_code == 401
        answer = requests.post(url, json=ASK, headers={"Authorization": "Bearer right"}, timeout=TIMEOUT)
    assert answer.json()["choices"][0]["message"]["content"] == '{"said": "hello"}'


def test_a_behaviour_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ValueError, match=r"no behaviour 'rude'.*slow-drip"):
        ModelServer(behaviour="rude")
    assert len(BEHAVIOURS) > 15


@pytest.mark.parametrize(
    ("module", "path"), [("model_server", "/models"), ("agent_server", "/agents/any")], ids=["model server", "agent server"]
)
def test_a_double_runs_as_a_process_of_its_own(module, path):
    with subprocess.Popen([sys.executable, "-m", f"loopwright.testing.{module}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            answer = requests.get(address + path, timeout=TIMEOUT) if module == "model_server" else post(address + path, {"n": 1})
            assert answer.status_code == 200
        finally:
            process.terminate()
