"""Signed callbacks, progress reports and webhooks. Source: Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over id.timestamp.body.

Headers: `webhook-id` (the same for every attempt at one delivery; the SDK's names the call), `webhook-timestamp` (of the attempt),
`webhook-signature`. An agent adds `loopwright-agent: TEAM/NAME`, who it is that signs: the key is that agent's, so nobody else's signature
fits. For a webhook its address says whose key it is.
"""

import hashlib
import math
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from standardwebhooks import Webhook, WebhookVerificationError

from loopwright.edges.secrets import SecretsFile
from loopwright.message import record_id

TOLERANCE_S = 300
SENDER = "loopwright-agent"
_SENDER = re.compile(r"([a-z0-9-]{1,64})/([a-z0-9-]{1,64})")
_OF_CALL = re.compile(r"call_([0-9a-f]{32})_[0-9a-f]{32}")
_MESSAGE_ID = re.compile(r"[!-~]{1,256}")
_SIGN = "sign the body as Standard Webhooks says"
_SDK = f"{_SIGN}; the SDK does it when LOOPWRIGHT_SECRETS_FILE holds the agent's callback secret"
Cause = Literal["unsigned", "wrong-signature", "stale", "replayed"]


@dataclass(frozen=True, slots=True)
class Signed:
    """What a valid signature says: who sent it, which delivery it is, the time of the attempt in s, and a digest of the body."""

    team: str
    agent: str
    message: str
    at_s: int
    digest: bytes

    @property
    def sender(self) -> str:
        """`team/name`."""
        return f"{self.team}/{self.agent}"


class SignatureRefused(Exception):
    """A request whose sender is not proven. `why` says what is wrong, `remedy` what to do."""

    def __init__(self, cause: Cause, why: str, remedy: str, sender: str = "") -> None:
        super().__init__(why)
        self.cause: Cause = cause
        self.why = why
        self.remedy = remedy
        self.sender = sender


class Signer:
    """Signs what one agent sends."""

    def __init__(self, secrets: SecretsFile | None, team: str, agent: str) -> None:
        self._secrets = secrets
        self._team = team
        self._agent = agent

    def headers(self, body: bytes, message: str, now_s: float | None = None) -> dict[str, str]:
        """The headers to send along with `body`. Without a secret the sender is named and nothing is signed."""
        named = {SENDER: f"{self._team}/{self._agent}"}
        keys = self._secrets.callback_keys(self._team, self._agent) if self._secrets is not None else ()
        if not keys:
            return named
        at = datetime.fromtimestamp(math.floor(time.time() if now_s is None else now_s), UTC)
        signature = Webhook(keys[0]).sign(message, at, body.decode())
        stamp = str(int(at.timestamp()))
        return {**named, "webhook-id": message, "webhook-timestamp": stamp, "webhook-signature": signature}


def message_id(call: str = "") -> str:
    """An id for one delivery: all attempts at it have the same. With `call` (see `call_of`) it can be delivered to that address alone."""
    return f"call_{call}_{uuid.uuid4().hex}" if call else f"msg_{uuid.uuid4().hex}"


def call_of(workflow: str, hop: int, branch: str = "") -> str:
    """What a delivery is about, as it stands in its id: the late reply for a branch, or the progress of a hop. 32 hex digits."""
    return record_id(workflow, hop, branch, "callback" if branch else "progress")


def is_for(message: str, call: str) -> bool:
    """Whether a delivery may go to the address of `call`. The id is signed and the address is not: a copy cannot be sent elsewhere."""
    named = _OF_CALL.fullmatch(message)
    return named is None or named[1] == call


def verify(secrets: SecretsFile, headers: Mapping[str, str], body: bytes) -> Signed:
    """What the signature of a request says; any of the agent's keys may have made it. Raises SignatureRefused."""
    claimed = _SENDER.fullmatch(headers.get(SENDER, ""))
    if claimed is None:
        _signature(headers, "", _SDK)
        raise SignatureRefused("unsigned", f"there is no {SENDER} (TEAM/NAME)", _SDK)
    sender = claimed[0]
    sent = _signature(headers, sender, _SDK)
    keys = secrets.callback_keys(claimed[1], claimed[2])
    at_s = _checked(keys, sent, body, sender, f"callback/{sender} or the common one, callback")
    return Signed(claimed[1], claimed[2], sent["webhook-id"], at_s, hashlib.sha256(body).digest())


def verify_delivery(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, webhook: str, secret: str) -> str:
    """The webhook-id of a delivery to `webhook` that one of `keys`, named `secret`, has signed. Raises SignatureRefused."""
    sent = _signature(headers, webhook, _SIGN)
    _checked(keys, sent, body, webhook, secret)
    return sent["webhook-id"]


def _signature(headers: Mapping[str, str], sender: str, remedy: str) -> dict[str, str]:
    """The three headers of a signature."""
    sent = {name: headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    missing = [name for name, value in sent.items() if not value]
    if missing:
        raise SignatureRefused("unsigned", f"there is no {', '.join(missing)}", remedy, sender)
    return sent


def _checked(keys: Sequence[bytes], sent: Mapping[str, str], body: bytes, sender: str, secret: str) -> int:
    """The time of the attempt, in s, where the signature is fresh and one of `keys` has made it."""
    at_s = _fresh(sent["webhook-timestamp"], sender)
    if not _MESSAGE_ID.fullmatch(sent["webhook-id"]) or not any(_fits(key, sent, body) for key in keys):
        why = f"no signature fits the body and a secret of {sender}"
        raise SignatureRefused("wrong-signature", why, f"give sender and gateway the same secret, {secret}", sender)
    return at_s


def _fresh(stamp: str, sender: str) -> int:
    try:
        at_s = math.floor(float(stamp))
        off_s = round(time.time() - at_s)
    except (ValueError, OverflowError):
        remedy = "send the seconds since 1970-01-01 as a whole number"
        raise SignatureRefused("stale", f"webhook-timestamp is {stamp[:40]!r}", remedy, sender) from None
    if abs(off_s) > TOLERANCE_S:
        why = f"it was signed {abs(off_s)} s {'ago' if off_s > 0 else 'ahead'}; {TOLERANCE_S} s are allowed"
        raise SignatureRefused("stale", why, "sign every attempt anew; set the clocks right", sender)
    return at_s


def _fits(key: bytes, sent: Mapping[str, str], body: bytes) -> bool:
    try:
        Webhook(key).verify(body, dict(sent), json_parse=False)
    except (WebhookVerificationError, ValueError):  # the library lets its parsing errors through
        return False
    return True
