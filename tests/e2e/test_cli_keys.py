"""Sensitive fields on the command line: keys, publishing, sending, showing, as processes against librdkafka's mock broker."""

import json
import os
import stat
from pathlib import Path

import pytest

from loopwright import schemas
from loopwright.edges import kafka
from loopwright.edges.keyring import Keyring, read_keys
from loopwright.edges.secrets import SecretsFile
from loopwright.errors import InvalidSettings
from loopwright.message import read
from loopwright.sealing import is_sealed, open_value
from tests.e2e.test_cli_kafka import TOPICS, Broker, broker

__all__ = ["broker"]
GREETER = """
name: greeter
team: private
version: 1
description: Says hello.
endpoint: http://127.0.0.1:1/a
input: {type: object, required: [name, email], properties: {name: {type: string}, email: {type: string, x-sensitive: true}}}
output: {type: object, required: [greeting], properties: {greeting: {type: string}}}
"""
LEAD = {"name": "Ada", "email": "ada.park.7391@engines.example"}


@pytest.fixture(scope="module")
def private(broker: Broker) -> Broker:
    """The broker with a published team that marks a field, and commands that have keys."""
    folder, keys = broker.folder / "private", broker.folder / "keys.yaml"
    folder.mkdir()
    (folder / "greeter.yaml").write_text(GREETER)
    error = broker.json("agents", "apply", "private", code=2)
    assert "loopwright keys new" in error["remedy"], "marks without keys are refused"
    broker.run("keys", "new", str(keys), "--id", "first")
    made = Broker(broker.settings, broker.env | {"LOOPWRIGHT_KEYS_FILE": str(keys), "LOOPWRIGHT_TEAM": "private"}, broker.folder)
    made.run("agents", "apply", "private")
    return made


def test_a_secret_for_callbacks_is_made_once_for_its_owner_alone(broker: Broker) -> None:
    file = broker.folder / "secrets.json"
    for made in (True, False):
        assert broker.json("keys", "callbacks", str(file)) == {"file": str(file), "made": made}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(SecretsFile(file).texts("callback")) == 1
    refused = broker.json("keys", "callbacks", str(broker.folder / "secrets.json" / "below"), code=2)
    assert "cannot be written" in refused["what"]


def keys_of(broker: Broker) -> Path:
    return Path(broker.env["LOOPWRIGHT_KEYS_FILE"])


def started(broker: Broker, workflow: str) -> list[dict[str, object]]:
    records = [r for r in kafka.read_all(broker.settings, [TOPICS.messages]) if r.key == workflow.encode()]
    assert not [r for r in records if LEAD["email"].encode() in (r.value or b"")]
    return [read(r).data["document"] for r in records if read(r).type == schemas.STARTED]


def test_what_is_sent_is_encrypted_shown_as_stars_and_revealed_with_the_keys(private: Broker) -> None:
    for _ in range(2):
        private.run("send", "-", "--id", "lead-1", stdin=json.dumps(LEAD).encode())
    document, again = started(private, "lead-1")
    assert document == again
    assert (document["name"], is_sealed(document["email"])) == ("Ada", True)
    assert private.json("trace", "lead-1")["document"] == {"name": "Ada", "email": "***"}
    assert b'"email":"***"' in private.run("trace", "lead-1").stdout
    assert private.json("trace", "lead-1", "--reveal")["document"] == LEAD
    bare = Broker(private.settings, {n: v for n, v in private.env.items() if n != "LOOPWRIGHT_KEYS_FILE"}, private.folder)
    bare.run("trace", "lead-1", "--reveal", code=2)
    assert bare.json("send", "-", stdin=json.dumps(LEAD).encode(), code=2)["error"] == "InvalidSettings"


def test_a_rotation_is_for_new_values_and_a_document_is_encrypted_for_a_producer(private: Broker) -> None:
    before = private.json("keys", "list")
    assert private.json("keys", "rotate", "--id", "staged", "--stage")["active"] == before["active"]
    assert private.json("keys", "rotate", "--to", "staged")["active"] == "staged"
    document = json.loads(private.run("encrypt", "-", "--id", "mine", stdin=json.dumps(LEAD).encode()).stdout)
    assert document["email"]["$encrypted"]["kid"] == "staged"
    assert open_value(document["email"], "mine", "email", read_keys(keys_of(private))) == LEAD["email"]
    private.run("send", "-", "--id", "mine", stdin=json.dumps(document).encode())
    assert started(private, "mine") == [document]
    moved = private.json("send", "-", "--id", "not-mine", stdin=json.dumps(document).encode(), code=1)
    assert moved["error"] == "SealBroken"


def test_what_cannot_be_encrypted_is_not_sent(private: Broker) -> None:
    assert private.json("send", "-", "--raw", stdin=json.dumps(LEAD).encode(), code=1)["error"] == "InvalidDocument"
    unknown = private.json("send", "-", "--team", "nobody", stdin=json.dumps(LEAD).encode(), code=1)
    assert "loopwright agents apply" in unknown["remedy"]


def test_a_key_file_is_for_its_owner_s_eyes_and_is_never_overwritten(private: Broker, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    private.run("keys", "new", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert private.json("keys", "new", str(path), code=1)["error"] == "Conflict"
    shown = private.run("keys", "list", str(path)).stdout
    assert not [line for line in path.read_bytes().split() if len(line) == 44 and line in shown]
    path.chmod(0o640)
    assert private.json("keys", "list", str(path), code=2)["remedy"] == f"chmod 600 {path}"


def test_a_key_file_is_read_again_when_it_changed_and_says_what_is_wrong(tmp_path: Path) -> None:
    from loopwright.edges.keyring import new_key, write_keys

    path = tmp_path / "keys.yaml"
    ring = Keyring(path)
    with pytest.raises(InvalidSettings):
        ring.keys()
    write_keys(path, new_key("a", None))
    first = ring.keys()
    write_keys(path, new_key("b", first))
    assert (ring.keys().active, set(ring.keys().keys)) == ("b", {"a", "b"})
    for wrong in (b"active: [", b"\xff", b"[]", b"active: a\nkeys: {a: AAAA}\n"):
        path.write_bytes(wrong)
        os.chmod(path, 0o600)
        with pytest.raises(InvalidSettings) as raised:
            ring.keys()
        assert str(path) in raised.value.why
    assert Keyring(None).keys() is None
