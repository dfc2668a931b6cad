"""The documents in a file: one JSON object, an array of them, or one to a line. What cannot be read is said with file, line and column."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from loopwright.errors import InvalidDocument, NotFound

REMEDY = "give one JSON object, a JSON array of objects, or one JSON object on each line"


def read_input(name: str) -> bytes:
    """The bytes of the file `name`, or of standard input for `-`. Raises NotFound."""
    if name == "-":
        if sys.stdin.isatty():
            sys.stderr.write("reading JSON from the terminal; end with Ctrl-D\n")
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise NotFound(
            f"{name} cannot be read", error.strerror or str(error), "name a file with JSON in it, or - for standard input"
        ) from error


def documents_in(raw: bytes, name: str) -> list[dict[str, Any]]:
    """The documents in `raw`. `name` is what errors call it. Raises InvalidDocument with line and column."""
    name = "standard input" if name == "-" else name
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = raw.count(b"\n", 0, error.start) + 1, error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        why = f"{name}, line {line}, column {column}: byte 0x{raw[error.start]:02x} is not UTF-8"
        raise InvalidDocument("the input is not text", why, "save it as UTF-8") from error
    if not text.strip():
        raise InvalidDocument("there is no document to send", f"{name} is empty", REMEDY)
    try:
        value = _loads(text, name, 0)
    except json.JSONDecodeError as error:
        if _first_line_is_json(text) and "\n" in text.strip():
            return _lines(text, name)
        _refuse(name, error, 0)
    if isinstance(value, list):
        if not value:
            raise InvalidDocument("there is no document to send", f"{name} holds an empty array", REMEDY)
        return [_object(item, f"{name}, item {number} of the array") for number, item in enumerate(value, 1)]
    return [_object(value, name)]


def _first_line_is_json(text: str) -> bool:
    try:
        json.loads(text.strip().split("\n", 1)[0])
    except json.JSONDecodeError:
        return False
    return True


def _lines(text: str, name: str) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            try:
                value = _loads(line, name, number)
            except json.JSONDecodeError as error:
                _refuse(name, error, number)
            found.append(_object(value, f"{name}, line {number + 1}"))
    return found


def _refuse(name: str, error: json.JSONDecodeError, lines_before: int) -> NoReturn:
    why = f"{name}, line {error.lineno + lines_before}, column {error.colno}: {error.msg}"
    raise InvalidDocument("the input is not JSON", why, REMEDY) from error


def _loads(text: str, name: str, lines_before: int) -> Any:
    where = f"{name}, line {lines_before + 1}" if lines_before else name

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [key for key, _ in pairs]
        twice = next((key for key in names if names.count(key) > 1), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise InvalidDocument(
                "the input can be read in two ways", f"{where}: the key {twice!r} stands twice in one object", "remove one"
            )
        return dict(pairs)

    def constant(word: str) -> NoReturn:
        raise InvalidDocument("the input is not JSON", f"{where}: {word} is not JSON", "write a number, or null")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise InvalidDocument("the input is nested too deeply", where, "flatten the document") from error
    except ValueError as error:
        raise InvalidDocument("a number in the input is too long", f"{where}: {error}", "send large numbers as strings") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        word = {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
        raise InvalidDocument("a document is not a JSON object", f"{where} is a JSON {word}: {value!r:.60}", REMEDY)
    return value
