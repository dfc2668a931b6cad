"""Secrets by name, from a file that its owner alone may read. They are in no definition, no record, no log and no state of the job.

    callback: whsec_...                            # what callbacks are signed with; each agent's key is derived from it
    callback/sdr/send-email: [whsec_new, whsec_old]  # or one of its own. Of a list the first is used and all are taken: rotation
    agent/sdr/lead-scoring: a-bearer-token         # what a call to that agent proves itself with
    partner: {certificate: client.pem, key: client.key, ca: ca.pem}  # or files for mutual TLS

YAML or JSON. A file that changes is read again when a secret is asked for; one that has become unusable leaves the values as they were.
"""

import base64
import binascii
import hmac
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from loopwright.errors import InvalidSettings

log = logging.getLogger(__name__)
CALLBACK = "callback"
SHORTEST_KEY = 24
_PREFIX = "whsec_"
_FORMS = "write a text, a list of texts, or a mapping of names to files"

Value = tuple[str, ...] | dict[str, Path]
Stamp = tuple[int, int, int]
T = TypeVar("T")


class Reloaded(Generic[T]):
    """What `read` makes of a file, made anew when the file changes; a change that cannot be used is logged and leaves it as it was."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._stamp = _stamp(path)
        self._value = read(path)

    def value(self) -> T:
        """It, as the file stands now."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._value = self._read(self._path)
            except InvalidSettings as error:
                log.error("%s is not taken over: %s: %s; %s", self._path.name, error.what, error.why, error.remedy)
        return self._value


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


def new_key(random: bytes) -> str:
    """A secret of these random bytes, as Standard Webhooks writes it."""
    return _PREFIX + base64.b64encode(random).decode()


def read_private(path: Path, what: str) -> Mapping[str, Any]:
    """The mapping in a YAML or JSON file that its owner alone may read. Raises InvalidSettings, without a word of its content."""
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidSettings(f"{what} cannot be read", f"{path}: {why}", "correct its path, or make it readable for this user") from error
    if mode & 0o077:
        raise InvalidSettings(f"{what} can be read by others", f"{path} has mode {mode:04o}", f"chmod 600 {path}")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise InvalidSettings(f"{what} cannot be read", f"{where}: it is neither YAML nor JSON", "correct the line") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InvalidSettings(f"{what} cannot be used", f"{path} is not a mapping of names", "write NAME: VALUE, one a line")
    return content


def _read(path: Path) -> dict[str, Value]:
    what = "the secrets file"
    values: dict[str, Value] = {}
    for name, value in read_private(path, what).items():
        try:
            values[name] = _value(value, path.parent)
            if name.partition("/")[0] == CALLBACK:
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


def _stamp(path: Path) -> Stamp:
    """What tells one content of the file from another; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino
