"""What the shell stores for a key, and how it chooses its wake-up: no cluster needed."""

import pytest

from udfs.host import ProcessHost, ThreadHost
from udfs.keyed_state import Stored, pack, unpack
from udfs.wakeup import Wakeup, open_wakeup


@pytest.mark.parametrize("state", [None, b"", b"\x00\xffstate"])
@pytest.mark.parametrize("due_ms", [1, 1_800_000_000_000])
def test_what_is_stored_for_a_key_reads_back(state: bytes | None, due_ms: int) -> None:
    assert unpack(pack(Stored(due_ms, 7, state))) == (due_ms, 7, state)


def test_nothing_is_stored_for_a_forgotten_key() -> None:
    assert pack(Stored(0, 7, None)) is None
    assert unpack(None) == (0, 0, None)


def test_the_stored_form_is_the_one_that_savepoints_hold() -> None:
    assert pack(Stored(258, 259, b"{}")) == bytes.fromhex("02 01 0000000000000102 0000000000000103") + b"{}"


def test_what_an_earlier_release_stored_is_read() -> None:
    assert unpack(bytes.fromhex("01 01 0000000000000102") + b"{}") == (258, 0, b"{}")
    assert unpack(bytes.fromhex("01 00 0000000000000102")) == (258, 0, None)


def test_state_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 9"):
        unpack(bytes.fromhex("09 01 0000000000000000 0000000000000000"))


def test_without_a_mailbox_timers_poll() -> None:
    host = ThreadHost.__new__(ThreadHost)
    host.operator = object()  # an operator of a Flink whose internals are others
    assert open_wakeup("auto", host, "route", 7) == Wakeup(None, False, 7)


def test_process_mode_has_no_mailbox() -> None:
    assert open_wakeup("mailbox", ProcessHost.__new__(ProcessHost), "route", 7) == Wakeup(None, False, 7)
