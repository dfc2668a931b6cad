"""What the shell round a decider stores for a key, byte by byte: savepoints of earlier releases hold it too."""

import struct
from typing import NamedTuple

_VERSION = 2
_LAYOUT = struct.Struct(">BBQQ")  # version, whether the decider has a state, due_ms, touched_ms; then the decider's bytes
_LAYOUT_1 = struct.Struct(">BBQ")  # version 1: without touched_ms


class Stored(NamedTuple):
    """`due_ms`: when the key's timer is due (0: none). `touched_ms`: when something came for the key, by the steady clock of the process
    that it came to (0: an earlier release did not say). `state`: the decider's bytes."""

    due_ms: int = 0
    touched_ms: int = 0
    state: bytes | None = None


def pack(stored: Stored) -> bytes | None:
    """The bytes for Flink; None where there is nothing to store."""
    if stored.state is None and not stored.due_ms:
        return None
    return _LAYOUT.pack(_VERSION, stored.state is not None, stored.due_ms, stored.touched_ms) + (stored.state or b"")


def unpack(raw: bytes | None) -> Stored:
    """What `pack` packed, in this release or an earlier one. Raises ValueError for a version from the future."""
    if raw is None:
        return Stored()
    if raw[0] == 1:
        _, present, due_ms = _LAYOUT_1.unpack_from(raw)
        return Stored(due_ms, 0, raw[_LAYOUT_1.size :] if present else None)
    if raw[0] != _VERSION:
        raise ValueError(f"keyed state of version {raw[0]}; this code reads versions 1 to {_VERSION}")
    _, present, due_ms, touched_ms = _LAYOUT.unpack_from(raw)
    return Stored(due_ms, touched_ms, raw[_LAYOUT.size :] if present else None)
