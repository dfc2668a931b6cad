"""Signatures of callbacks: what fits, what does not, and what is a replay."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from loopwright.edges.secrets import SecretsFile, new_key
from loopwright.edges.signing import SignatureRefused, Signed, Signer, message_id, verify
from loopwright.web.replays import Replays, Standing

KEYS = [new_key(bytes([n]) * 32) for n in range(3)]
BODY = '{"output": {"x": "Zoë"}}'.encode()


def file(folder: Path, text: str, name: str = "secrets.yaml") -> SecretsFile:
    made = folder / name
    made.write_text(text)
    made.chmod(0o600)
    return SecretsFile(made)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> SecretsFile:
    return file(tmp_path_factory.mktemp("secrets"), f"callback: {KEYS[0]}\n")


def refusal(known: SecretsFile, headers: dict[str, str], body: bytes = BODY) -> str:
    with pytest.raises(SignatureRefused) as caught:
        verify(known, headers, body)
    assert caught.value.why
    assert caught.value.remedy
    return caught.value.cause


def test_what_an_agent_signed_is_known_as_its_own(secrets: SecretsFile) -> None:
    signed = verify(secrets, Signer(secrets, "sdr", "echo").headers(BODY, "msg_1"), BODY)
    assert (signed.sender, signed.message) == ("sdr/echo", "msg_1")


def test_any_implementation_of_standard_webhooks_can_make_and_check_the_signature(secrets: SecretsFile) -> None:
    headers = Signer(secrets, "sdr", "echo").headers(BODY, "msg_1")
    Webhook(secrets.callback_keys("sdr", "echo")[0]).verify(BODY, headers)


def test_without_a_secret_nothing_is_signed_and_the_sender_is_still_named(tmp_path: Path) -> None:
    assert Signer(None, "sdr", "echo").headers(BODY, "m") == {"loopwright-agent": "sdr/echo"}
    assert Signer(file(tmp_path, "a: b\n"), "sdr", "echo").headers(BODY, "m") == {"loopwright-agent": "sdr/echo"}


@pytest.mark.parametrize("left_out", ["webhook-id", "webhook-timestamp", "webhook-signature", "loopwright-agent"])
def test_a_request_without_a_part_of_the_signature_is_unsigned(secrets: SecretsFile, left_out: str) -> None:
    headers = Signer(secrets, "sdr", "echo").headers(BODY, "m")
    del headers[left_out]
    assert refusal(secrets, headers) == "unsigned"


@pytest.mark.parametrize("off_s", [-100_000, -310, 310, 100_000])
def test_an_old_signature_and_one_from_the_future_are_stale(secrets: SecretsFile, off_s: int) -> None:
    headers = Signer(secrets, "sdr", "echo").headers(BODY, "m", time.time() + off_s)
    assert refusal(secrets, headers) == "stale"


@pytest.mark.parametrize("stamp", ["soon", "nan", "inf", "-inf", "1e400", "99999999999999999999", "٣", "-1"])
def test_a_time_that_is_none_is_stale(secrets: SecretsFile, stamp: str) -> None:
    assert refusal(secrets, {**Signer(secrets, "sdr", "echo").headers(BODY, "m"), "webhook-timestamp": stamp}) == "stale"


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "other"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "nonsense"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1,a,b v2,c"},
        {"loopwright-agent": "sdr/other"},
        {"loopwright-agent": "other/echo"},
    ],
)
def test_a_signature_for_something_else_does_not_fit(secrets: SecretsFile, changed: dict[str, str]) -> None:
    assert refusal(secrets, {**Signer(secrets, "sdr", "echo").headers(BODY, "m"), **changed}) == "wrong-signature"


def test_another_body_does_not_fit(secrets: SecretsFile) -> None:
    headers = Signer(secrets, "sdr", "echo").headers(BODY, "m")
    assert refusal(secrets, headers, BODY + b" ") == "wrong-signature"
    assert refusal(secrets, headers, b"\xff") == "wrong-signature"


def test_several_secrets_are_valid_while_they_are_changed(tmp_path: Path) -> None:
    old, both, new = (file(tmp_path, f"callback: {value}\n", f"{n}") for n, value in enumerate([KEYS[0], KEYS[:0:-1] + KEYS[:1], KEYS[2]]))
    for signing in (old, both, new):
        assert verify(both, Signer(signing, "sdr", "echo").headers(BODY, "m"), BODY).sender == "sdr/echo"
    assert verify(new, Signer(both, "sdr", "echo").headers(BODY, "m"), BODY)
    assert refusal(new, Signer(old, "sdr", "echo").headers(BODY, "m")) == "wrong-signature"


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "loopwright-agent"]),
        st.text(max_size=30) | st.just("sdr/echo") | st.integers(0, 2**40).map(str),
    ),
    st.binary(max_size=20),
)
@settings(deadline=None)
def test_nobody_without_the_secret_is_let_in_whatever_is_sent(secrets: SecretsFile, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify(secrets, headers, body)
    good = Signer(secrets, "sdr", "echo").headers(BODY, "m")
    if any(good[name] != value for name, value in headers.items() if name in good):
        with pytest.raises(SignatureRefused):
            verify(secrets, {**good, **headers}, BODY)


def signed(message: str = "m", at_s: int = 1000, digest: bytes = b"d", agent: str = "echo") -> Signed:
    return Signed("sdr", agent, message, at_s, digest)


def test_a_copy_of_what_was_taken_is_a_replay_and_the_next_attempt_is_none() -> None:
    replays = Replays()
    assert replays.begin(signed(), 1000) is Standing.FRESH
    assert replays.begin(signed(), 1000) is Standing.UNDER_WAY
    replays.taken(signed())
    assert replays.begin(signed(), 1001) is Standing.REPLAYED
    assert replays.begin(signed(at_s=1001), 1001) is Standing.AGAIN
    assert replays.begin(signed(at_s=1001), 1001) is Standing.REPLAYED
    assert replays.begin(signed(at_s=1002, digest=b"other"), 1002) is Standing.REPLAYED
    assert replays.begin(signed(agent="other"), 1002) is Standing.FRESH


def test_what_came_to_nothing_may_be_sent_again_as_it_is() -> None:
    replays = Replays()
    replays.begin(signed(), 1000)
    replays.dropped(signed())
    assert replays.begin(signed(), 1000) is Standing.FRESH


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-300, 300), st.integers(0, 400)), max_size=40))
def test_no_copy_is_taken_twice_while_its_signature_is_fresh(steps: list[tuple[int, int, int]]) -> None:
    replays, now, taken = Replays(), 10_000, set()
    for message, off_s, passed_s in steps:
        now += passed_s
        copies = {one for one in taken if abs(now - one.at_s) <= 300}
        for copy in copies:
            assert replays.begin(copy, now) is Standing.REPLAYED
        one = signed(str(message), now + off_s)
        if replays.begin(one, now) in (Standing.FRESH, Standing.AGAIN):
            replays.taken(one)
            taken.add(one)


def test_two_deliveries_have_two_ids() -> None:
    assert message_id() != message_id()
