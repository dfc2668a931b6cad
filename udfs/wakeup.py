"""How a finished call reaches its operator: through the task's mailbox, or by polling with timers.

Whoever uses a wake-up asks it for `pipe` (the writing end of a pipe whose reader goes away with the task, or None), `rings` (whether a byte
written there wakes the task) and `poll_ms` (how often a timer has to look into the inbox while calls are in flight; None: never). Both ways
end in the operator draining its inbox.
"""

import logging
from dataclasses import dataclass
from typing import Literal

from udfs.host import Host, ThreadHost

log = logging.getLogger(__name__)

Kind = Literal["auto", "mailbox", "timer"]


@dataclass(frozen=True, slots=True)
class Wakeup:
    """What was chosen in the end; see the module for the fields."""

    pipe: int | None
    rings: bool
    poll_ms: int | None


def open_wakeup(kind: Kind, host: Host, name: str, poll_ms: int) -> Wakeup:
    """The wake-up asked for; `auto` is the mailbox where it can be had. A mailbox that cannot be had is logged, and timers poll instead."""
    if not isinstance(host, ThreadHost):
        if kind == "mailbox":
            log.warning("%s: there is no mailbox in process mode; polling every %d ms instead", name, poll_ms)
        return Wakeup(None, False, poll_ms)
    return _open_in_thread_mode(kind, host, name, poll_ms)


def _open_in_thread_mode(kind: Kind, host: ThreadHost, name: str, poll_ms: int) -> Wakeup:
    from udfs import mailbox

    pipe = None
    try:
        channel, pipe = mailbox.watch(host)
        if kind != "timer":
            mailbox.deliver(host, channel, name)
            return Wakeup(pipe, True, None)
    except Exception:
        log.exception("%s: no wake-up through the mailbox on this Flink; polling every %d ms instead", name, poll_ms)
    return Wakeup(pipe, False, poll_ms)
