"""Places in a JSON value: JSON pointers. Source: RFC 6901."""

import re
from typing import Any

_STEP = re.compile(r"(?:[^~]|~[01])*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def check_pointer(pointer: str) -> str:
    """The pointer as it is. Raises ValueError, saying what form is wanted, for what is none."""
    if pointer and not pointer.startswith("/"):
        raise ValueError("is not a JSON pointer; write it as in /data/customer/email")
    if not _STEP.fullmatch(pointer):
        raise ValueError("has a ~ in it that is neither ~0 (for ~) nor ~1 (for /)")
    return pointer


def steps_of(pointer: str) -> list[str]:
    """The names and numbers on the way, unescaped; none for the empty pointer, which is the whole value."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def resolve(value: Any, pointer: str) -> Any:
    """What stands at `pointer` in `value`. Raises LookupError, saying how far the way goes, where nothing does."""
    way = ""
    for step in steps_of(pointer):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            raise LookupError(f"there is no {step!r:.80} in {way or 'the payload'}")
        way += f"/{step}"
    return value
