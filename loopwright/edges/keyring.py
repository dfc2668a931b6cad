"""The key file: read where it is needed, read again when it changed, and written by `loopwright keys`.

A YAML or JSON file that its owner alone may read: `active: ID` and `keys: {ID: base64 of 32 bytes}`. Keys stand there and nowhere else:
in no record, no definition, no environment and no log.
"""

import base64
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

import yaml

from loopwright.edges.private_file import Stamp, read_private, stamp, write_private
from loopwright.errors import Conflict, InvalidSettings
from loopwright.sealing import KEY_BYTES, KEY_ID, Keys, keys_in


class Keyring:
    """The keys in a file; None where no file is set. Safe to share between threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path.expanduser() if path is not None else None
        self._seen: Stamp | None = None
        self._keys: Keys | None = None
        self._lock = threading.Lock()

    def keys(self) -> Keys | None:
        """The keys as they stand in the file now. Raises InvalidSettings where it cannot be used."""
        if self._path is None:
            return None
        with self._lock:
            seen = stamp(self._path)
            if seen != self._seen:
                self._keys, self._seen = read_keys(self._path), seen
            return self._keys


def read_keys(path: Path) -> Keys:
    """The keys in the file `path`. Raises InvalidSettings where others may read it, or where it holds something else; never shows a key."""
    content = read_private(path, "the key file (LOOPWRIGHT_KEYS_FILE)")
    try:
        return keys_in(content)
    except InvalidSettings as error:
        raise InvalidSettings(error.what, f"{path}: {error.why}", error.remedy) from None


def new_key(kid: str, present: Keys | None, activate: bool = True) -> Keys:
    """`present` and a new key of that id, which is the active one with `activate`. Raises Conflict for an id that is taken."""
    if not KEY_ID.fullmatch(kid):
        remedy = "use letters, digits, dots, hyphens and underscores, 64 at most"
        raise InvalidSettings("the key's id cannot be used", f"it is {kid!r:.80}", remedy)
    known = dict(present.keys) if present else {}
    if kid in known:
        raise Conflict(f"there is a key {kid!r} already", "a key never changes: what it sealed could not be opened", "choose another id")
    return Keys(kid if activate or present is None else present.active, {**known, kid: secrets.token_bytes(KEY_BYTES)})


def write_keys(path: Path, keys: Keys) -> None:
    """Write the file, for its owner's eyes alone. Raises InvalidSettings."""
    content = {"active": keys.active, "keys": {kid: base64.b64encode(key).decode("ascii") for kid, key in keys.keys.items()}}
    try:
        write_private(path, _yaml(content))
    except OSError as error:
        raise InvalidSettings(
            "the keys cannot be written", f"{path}: {error.strerror or error}", "name a file in a folder of yours"
        ) from error


def _yaml(content: Mapping[str, object]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False)
    return "# keys of sensitive fields; keep it safe, and keep old keys as long as there is anything that they sealed\n" + text
