"""A file that is for its reader alone: secrets, keys, callers' tokens. YAML or JSON; errors name a line, never what stands in it."""

import logging
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from loopwright.errors import InvalidSettings, Terminal

log = logging.getLogger(__name__)
Stamp = tuple[int, int, int]
T = TypeVar("T")


def write_private(path: Path, text: str) -> Path:
    """Write a file that its owner alone may read, in place of any that was there; its folder is made.

    Who reads it meanwhile sees the old one or the new one, each whole. Raises OSError, and then leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def open_to_others(mode: int, owner: int, reader: int) -> bool:
    """Whether a file of that mode and owner (a uid) may be read or changed by others than its reader (the uid of this process).

    Its owner's eyes alone is the rule. A file of root's is handed to a reader without root's rights through a group, which may then read
    it and no more: so Kubernetes mounts a Secret for `fsGroup`, as root:GROUP 0440. PostgreSQL has this rule for its server's key
    (`ssl_key_file`), for the same reason.
    """
    handed_on = owner == 0 and reader != 0
    return bool(mode & (0o037 if handed_on else 0o077))


def read_private(path: Path, what: str) -> Mapping[str, Any]:
    """The mapping in a YAML or JSON file that is not `open_to_others`. Raises InvalidSettings, without a word of its content."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InvalidSettings(f"{what} cannot be read", f"{path} is no regular file", "name a file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidSettings(f"{what} cannot be read", f"{path}: {why}", "correct its path, or make it readable for this user") from error
    if open_to_others(found.st_mode, found.st_uid, os.geteuid()):
        said = f"{path} has mode {stat.S_IMODE(found.st_mode):04o}"
        raise InvalidSettings(f"{what} can be read by others", said, f"chmod 600 {path}")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise InvalidSettings(f"{what} cannot be read", f"{where}: it is neither YAML nor JSON", "correct the line") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InvalidSettings(f"{what} cannot be used", f"{path} is not a mapping of names", "write NAME: VALUE, one a line")
    return content


class Reloaded(Generic[T]):
    """What `read` makes of a file, made anew when the file changes; a change that cannot be used is logged and leaves it as it was."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._stamp = stamp(path)
        self._value = read(path)

    def value(self) -> T:
        """It, as the file stands now."""
        now = stamp(self._path)
        if now != self._stamp:
            self._stamp = now
            try:
                self._value = self._read(self._path)
            except Terminal as error:
                log.error("%s is not taken over: %s: %s; %s", self._path.name, error.what, error.why, error.remedy)
        return self._value


def stamp(path: Path) -> Stamp:
    """What tells one content of the file from another; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino
