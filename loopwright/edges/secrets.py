"""Secrets by name, from a file that its owner alone may read. They are in no definition, no record, no log and no state of the job.

    callback: whsec_...                            # what callbacks are signed with; each agent's key is derived from it
    callback/sdr/send-email: [whsec_new, whsec_old]  # or one of its own. Of a list the first is used and all are taken: rotation
    agent/sdr/lead-scoring: a-bearer-token         # what a call to that agent proves itself with
    webhook/orders: whsec_...                      # what the sender of a webhook signs its deliveries with
    partner: {certificate: client.pem, key: client.key, ca: ca.pem}  # or files for mutual TLS

YAML or JSON. A file that changes is read again when a secret is asked for; one that has become unusable leaves the values as they were.
"""

import base64
import binascii
import hmac
import json
import os
from pathlib import Path

from loopwright.edges.private_file import Reloaded, read_private, write_private
from loopwright.errors import InvalidSettings

CALLBACK, WEBHOOK = "callback", "webhook"
SHORTEST_KEY = 24
_PREFIX = "whsec_"
_FORMS = "write a text, a list of texts, or a mapping of names to files"

Value = tuple[str, ...] | dict[str, Path]


class SecretsFile:
    """The secrets in the file `path`. Raises InvalidSettings where it cannot be used, without saying what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._values = Reloaded(self.path, _read)

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of the secret `name`, the one to use first; none where there is no such text."""
        value = self._values.value().get(name, ())
        return value if isinstance(value, tuple) else ()

    def files(self, name: str) -> dict[str, Path]:
        """The files that the secret `name` stands for, by what they are; none where it is no mapping."""
        value = self._values.value().get(name, {})
        return value if isinstance(value, dict) else {}

    def callback_keys(self, team: str, agent: str) -> tuple[bytes, ...]:
        """The keys that callbacks of an agent are signed with, the newest first: its own, or those derived from the common secret.

        A derived key is HMAC-SHA256(common secret, "callback/TEAM/AGENT"), so that no agent can sign as another with its key alone.
        """
        name = f"{CALLBACK}/{team}/{agent}"
        own = self.texts(name)
        if own:
            return tuple(map(key_bytes, own))
        return tuple(hmac.digest(key_bytes(common), name.encode(), "sha256") for common in self.texts(CALLBACK))

    def signing_keys(self, name: str) -> tuple[bytes, ...]:
        """The keys that the secret `name` stands for, the newest first. Raises InvalidSettings where there is none or one is no key."""
        what, values = "the signing secret cannot be used", self.texts(name)
        if not values:
            why = f"there is no secret {name!r} in {self.path}"
            raise InvalidSettings(what, why, f"write it there: {name}: whsec_... (the one that its sender signs with)")
        try:
            return tuple(map(key_bytes, values))
        except ValueError as error:
            raise InvalidSettings(what, f"{self.path}: {name} {error}", "correct that secret") from None


def key_bytes(secret: str) -> bytes:
    """The key that a secret stands for: `whsec_` and base64 (Standard Webhooks), or the text itself. ValueError for a short one."""
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX) + "==")
        except binascii.Error as error:
            raise ValueError("is no base64 after whsec_") from error
    else:
        key = secret.encode()
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"is a key of {len(key)} bytes; {SHORTEST_KEY} at least are needed")
    return key


def make_secrets(path: Path) -> Path:
    """A secrets file with a random secret that callbacks are signed with; one that is there stays as it is. Raises OSError."""
    if not path.exists():
        write_private(path, json.dumps({CALLBACK: new_key(os.urandom(32))}) + "\n")
    return path


def new_key(random: bytes) -> str:
    """A secret of these random bytes, as Standard Webhooks writes it."""
    return _PREFIX + base64.b64encode(random).decode()


def _read(path: Path) -> dict[str, Value]:
    what = "the secrets file"
    values: dict[str, Value] = {}
    for name, value in read_private(path, what).items():
        try:
            values[name] = _value(value, path.parent)
            if name.partition("/")[0] in (CALLBACK, WEBHOOK):
                _check_keys(values[name])
        except ValueError as error:
            raise InvalidSettings(f"{what} cannot be used", f"{path}: {name} {error}", "correct that secret") from None
    return values


def _check_keys(value: Value) -> None:
    if isinstance(value, dict):
        raise ValueError("is a mapping; a key is a text")
    for text in value:
        key_bytes(text)


def _value(value: object, folder: Path) -> Value:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    if isinstance(value, dict) and value and all(isinstance(one, str) and one for one in value.values()):
        return {str(name): folder / Path(one).expanduser() for name, one in value.items()}
    raise ValueError(f"cannot be used; {_FORMS} (a number in quotes)")
