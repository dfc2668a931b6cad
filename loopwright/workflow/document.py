"""The workflow document: one JSON object that all agents of a workflow share. Replies are merged into it."""

import hashlib
from typing import Any

import orjson

from loopwright.sealing import is_sealed


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """`target` with `patch` applied: objects are merged, null removes a field, all else replaces. Neither argument is changed. RFC 7386.

    A sealed value is one value: it replaces and is replaced as a whole.
    """
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and not is_sealed(value):
            present = merged.get(name)
            merged[name] = merge_patch(present if isinstance(present, dict) and not is_sealed(present) else {}, value)
        else:
            merged[name] = value
    return merged


def fingerprint(value: dict[str, Any]) -> str:
    """A short hash of a JSON object that does not depend on the order of its keys: 16 hex digits of SHA-256."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def size_of(document: dict[str, Any]) -> int:
    """Bytes of the document as compact JSON."""
    return len(orjson.dumps(document))
