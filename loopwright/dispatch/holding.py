"""Calls that are put off and use up no attempt: an agent whose circuit is open is not called at all, and one that answers 409 is at work on
this very call already. The branch waits under its timer, for so long as the patience lasts and the workflow has time left.
"""

from dataclasses import replace
from typing import Any

from loopwright.dispatch.outcome import Failure
from loopwright.dispatch.state import HELD, Branch
from loopwright.registry.definition import RetryPolicy
from loopwright.retry import backoff_ms, retry_after_ms, spread_ms

NOT_CALLED = "CircuitOpen"


def put_off(outcome: dict[str, Any], now_ms: int) -> Failure | None:
    """Why the call is put off, with the wait that was asked for; None where the outcome is one of a call that was made and answered."""
    error = outcome.get("error")
    if error is not None:
        wait_ms = int(error.get("retry_after_ms") or 0)
        return Failure(NOT_CALLED, str(error.get("message"))[:500], True, None, wait_ms) if error.get("class") == NOT_CALLED else None
    if outcome.get("status") != 409:
        return None
    asked_ms = retry_after_ms(outcome.get("headers", {}), now_ms)
    return Failure("Status409", "it says that it is at work on this call already", True, 409, asked_ms)


def held(branch: Branch, why: Failure, key: str, policy: RetryPolicy, until_ms: int, now_ms: int) -> Branch | None:
    """The branch, waiting; None at `until_ms`, when nothing is waited for any more. `key` is what the jitter depends on."""
    if now_ms >= until_ms:
        return None
    holds = branch.holds + 1
    if why.kind == NOT_CALLED:
        wait_ms = spread_ms(why.retry_after_ms or 0, f"{key}/{holds}")
    else:
        pauses = {"initial_ms": policy.initial_ms, "max_ms": policy.max_ms}
        wait_ms = backoff_ms(holds, key, **pauses, multiplier=policy.multiplier, retry_after_ms=why.retry_after_ms)
    since_ms = branch.held_since_ms or now_ms
    return branch.altered(status=HELD, due_ms=min(now_ms + wait_ms, until_ms), held_since_ms=since_ms, holds=holds)


def given_up(branch: Branch, why: Failure, now_ms: int) -> Failure:
    """The failure of a call that was put off for too long."""
    waited_s = max(0, now_ms - (branch.held_since_ms or now_ms)) / 1000
    return replace(why, message=f"{why.message}; waited {waited_s:.0f} s for it", retryable=False)


def too_late() -> Failure:
    """The failure of a call that was put off until the workflow's time was up."""
    return Failure(NOT_CALLED, "it was not called before the workflow's deadline passed", False)
