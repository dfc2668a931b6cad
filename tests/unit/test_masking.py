"""Secrets do not get into what people and models read; everything else does, as it was."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sdr.prompting import shown
from loopwright.agent import Agent
from loopwright.deadletter import dead_letter, original_bytes
from loopwright.edges.outcome import said
from loopwright.masking import MASK, is_secret, masked, unmarked
from loopwright.message import Message, Rejected, read
from loopwright.routing.model import render
from loopwright.schemas import CALLED_BACK
from loopwright.step import Emit, Record
from tests.unit.sealed_team import PHONE_FOUND, sealed_team
from tests.unit.test_dispatch import NOW, called, carried, decider

SECRET = "hunter2hunter2hunter2"
KEYS = ["sk-proj-Ab3_dEf9hIjKlMnOp", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAIOSFODNN7EXAMPLE", "xoxb-2345678901-abcdefgh"]
KEYS += ["github_pat_11ABCDEFG0abcdefghij", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4"]
KEYS += ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
NAMES = ["password", "secret", "token", "api_key", "authorization", "client_secret", "Access-Token", "x-api-key", "apiKey"]
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nhunter2\n-----END RSA PRIVATE KEY-----"
PIECES = [
    '"',
    "'",
    "\\",
    ":",
    "=",
    " ",
    "@",
    "/",
    "://",
    "***",
    "*",
    "{",
    "}",
    "[",
    "12",
    "\n",
    "bearer ",
    "authorization: ",
    "a",
    "é",
    "sk-",
]
PIECES += [*NAMES, *KEYS, PEM, PEM[:40], f'"password":"{SECRET}"', f"'token': '{SECRET}'", f"http://u:{SECRET}@h/", '"token":12']


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"Authorization: Basic {SECRET}==",
        f"authorization={SECRET}",
        f"sent with bearer {SECRET} to",
        f'{{"Authorization": "Digest a={SECRET}"}}',
        f"https://user:{SECRET}@example.com/a?b",
        f"redis://:{SECRET}@cache:6379",
        f"https://user:p@{SECRET}@example.com/",
        f"GET /v1/a?x=1&api_key={SECRET}&y=2",
        f"password: {SECRET}",
        f'password="{SECRET}"',
        f"run --api-key='{SECRET}'",
        f'"password" : "ab\\"{SECRET}"',
        f'{{"a": {{"secret": ["{SECRET}", 1]}}}}',
        f"{{'token': '{SECRET}'}}",
        f'"password": "{SECRET}',
        json.dumps({"log": json.dumps({"password": f'a"\\{SECRET}'})}),
        json.dumps({"log": json.dumps({"log": json.dumps({"password": SECRET})})}),
        PEM.replace("hunter2", SECRET),
        PEM.replace("hunter2", SECRET)[:-20],
    ],
)
def test_a_secret_is_masked_by_where_it_stands(text: str) -> None:
    assert SECRET not in masked(text)
    assert MASK in masked(text)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "the key {} is wrong", "({})", "--{}", "key={}.", "'{}'", '{{"note":"{}"}}'])
def test_a_key_of_a_well_known_shape_is_masked_wherever_it_stands(key: str, around: str) -> None:
    assert masked(around.format(key)).rstrip(".") == around.format(MASK).rstrip(".")


@given(st.sampled_from(NAMES), st.text(min_size=1), st.integers(0, 3))
def test_the_value_of_a_secret_field_is_masked_and_the_rest_stays(name: str, value: str, depth: int) -> None:
    document: Any = {"before": 1, name: value, "after": "stays"}
    for _ in range(min(depth, 1)):
        document = {"log": json.dumps(document)}
    found = json.loads(masked(json.dumps(document)))
    inner = json.loads(found["log"]) if depth else found
    assert inner == {"before": 1, name: MASK, "after": "stays"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a plain reason",
        "no token is left of the budget",
        "max_tokens: 5",
        '"tokens":{"prompt":5}',
        "the risk-management-process-of-2024",
        "http://127.0.0.1:8801/agents/a",
        "mail a@b.example",
        "Bearer authentication is needed",
        "the secret of success",
        "ASIA and asiatic",
        "password is missing",
        "sk-SK",
        '"token":true',
        '"secret":null',
        "see ://, or https://a:80/b@c",
        "a == b, token == c",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert masked(text) == text


@given(st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join))
@settings(max_examples=500)
def test_masking_twice_is_masking_once(text: str) -> None:
    assert masked(masked(text)) == masked(text)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_a_key_between_blanks_never_gets_through(before: str, after: str) -> None:
    key = "sk-proj-0nly8H3re7Yz6Xw5V"
    assert key not in masked(f"{before} {key} {after}")


@pytest.mark.parametrize(
    "piece", [*PIECES, '"password":"', "\\\\", '\\"', "a-", "eyJ-", "://a:", "-----BEGIN PRIVATE KEY-----", "token", "token="]
)
def test_no_text_takes_long(piece: str) -> None:
    text = "token" + piece * (200_000 // len(piece))
    started = time.process_time()
    masked(text)
    assert time.process_time() - started < 3


def test_names_of_secrets() -> None:
    assert all(is_secret(name) for name in NAMES)
    assert not any(is_secret(name) for name in ["tokens", "name", "", "secretary", "password_hint", "keyboard"])


@given(st.sampled_from(NAMES), st.recursive(st.just(SECRET), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_prompt_shows_no_secret_of_the_document_and_stays_json(name: str, value: Any) -> None:
    text = render({"lead": {name: value, "note": f"my key is {KEYS[0]}, call me"}}, 10_000)
    assert orjson.loads(text) == {"lead": {name: MASK, "note": f"my key is {MASK}, call me"}}


def test_a_key_that_the_cut_would_shorten_is_masked_before() -> None:
    assert "AKIA" not in render({"note": "x" * 385 + " " + KEYS[2]}, 10_000)


def test_a_dead_letter_masks_its_reason_and_keeps_its_original_whole() -> None:
    raw = f'{{"password":"{SECRET}"'.encode()
    rejected = Rejected(Record("agent-messages", 0, 7, 1, None, raw), "invalid-json", f'near "password":"{SECRET}"', "mend it", "w")
    letter = dead_letter(rejected, "agent-dead-letters", "route")
    assert letter.headers["__connect.errors.exception.message"] == b'near "password":"***"'
    data = data_of(letter)
    assert data["why"] == 'near "password":"***"'
    assert original_bytes(data) == raw, "or it could not be tried again"


def data_of(letter: Emit) -> dict[str, Any]:
    return read(Record(letter.topic, 0, 0, 0, letter.key, letter.value)).data


@pytest.mark.parametrize("key", KEYS)
def test_a_late_error_tells_no_secret_not_even_as_its_class(key: str) -> None:
    made = decider(reply="callback")
    accepted = made.on_outcome("w", called(made)[0].state, "1/0/1", b'{"status": 202, "headers": {}, "body": ""}', NOW)
    error = {"class": f"Bad-{key}", "message": f"the key {key} is wrong", "retryable": False}
    back = Message("c", CALLED_BACK, "/gateway", "w", {"branch": "0", "error": error}, 1)
    step = made.on_record("w", accepted.state, carried(back), NOW)
    assert len(step.emits) == 2
    assert not [emit for emit in step.emits if key.encode() in emit.value or key.encode() in b"".join(emit.headers.values())]


def test_a_reference_agent_s_prompt_shows_neither_sensitive_fields_nor_secrets() -> None:
    caller = next(definition for definition in sealed_team() if definition.name == "caller")
    told = shown(Agent(caller), {"phone": PHONE_FOUND, "filed": f"with {KEYS[0]}", "password": SECRET})
    assert orjson.loads(told) == {"phone": MASK, "filed": f"with {MASK}", "password": MASK}


@pytest.mark.parametrize("key", KEYS)
def test_what_is_said_of_an_error_is_masked_before_it_is_cut(key: str) -> None:
    assert "".join(key[:9]) not in said(f"{'x' * 285} {key}")


MARKS = [
    "passwd",
    "password",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "authorization",
    "bearer",
    "private key-----",
    "eyj",
    "sk_",
]
MARKS += ["sk-", "rk_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "akia", "asia", "aiza", "xox", "://"]


@pytest.mark.parametrize("mark", MARKS)
def test_each_mark_is_seen_wherever_it_stands_and_no_part_of_it_is(mark: str) -> None:
    assert not any(unmarked(text) for text in (mark, mark.upper(), f"a{mark}b", f"{mark[:-1]}{mark}", f"é{mark}"))
    assert unmarked(mark[:-1])
    assert unmarked(mark[1:])
