"""Who sent a callback or a report of progress: proven by its signature, where the gateway has secrets; refused with 401 otherwise."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from loopwright.agent.problems import Refused, problem
from loopwright.audit import Refusal
from loopwright.edges.secrets import SecretsFile
from loopwright.edges.signing import SENDER, SignatureRefused, Signed, call_of, is_for, verify
from loopwright.web.refusals import Refusals
from loopwright.web.replays import Replays, Standing

TITLES = {
    "unsigned": "The request is not signed",
    "wrong-signature": "The signature does not fit",
    "stale": "The signature is too old, or from the future",
    "replayed": "The request was taken before",
}
_ANEW = "send a new delivery under a new webhook-id; sign every attempt at one delivery anew"


class Callers:
    """Knows the agents by their signatures. Without `secrets` everybody is let in, as on a machine of one's own."""

    def __init__(self, secrets: SecretsFile | None, refusals: Refusals) -> None:
        self._secrets = secrets
        self._refusals = refusals
        self._replays = Replays()

    def sender(self, request: Request, body: bytes) -> Signed | None:
        """Who signed `body`; None where signatures are not asked for. Raises Refused (401)."""
        if self._secrets is None:
            return None
        try:
            signed = verify(self._secrets, request.headers, body)
            found = request.path_params
            if not is_for(signed.message, call_of(str(found["workflow"]), int(found["hop"]), str(found.get("branch", "")))):
                why = f"{signed.message} of {signed.sender} was signed for another call"
                raise SignatureRefused("wrong-signature", why, "send it to the address that the call gave", signed.sender)
            return signed
        except SignatureRefused as refused:
            raise self._refused(request, refused) from refused

    async def once(self, request: Request, signed: Signed | None, write: Callable[[], Awaitable[None]]) -> bool:
        """Have a delivery written once; False for the next attempt at one that was taken. Raises Refused: 401 for a replay, 409."""
        if signed is None:
            await write()
            return True
        standing = self._replays.begin(signed, time.time())
        if standing is Standing.REPLAYED:
            why = f"{signed.message} of {signed.sender} was taken, or stands for other content"
            raise self._refused(request, SignatureRefused("replayed", why, _ANEW, signed.sender))
        if standing is Standing.UNDER_WAY:
            detail = f"{signed.message} is being taken. Ask again."
            raise Refused(problem(409, "in-progress", "The delivery is in progress", detail, headers={"retry-after": "1"}))
        if standing is Standing.AGAIN:
            return False
        try:
            await write()
        except BaseException:
            self._replays.dropped(signed)
            raise
        self._replays.taken(signed)
        return True

    def not_of(self, request: Request, signed: Signed, agent: str) -> Refused:
        """The 403 for a reply or a report in the name of another agent."""
        why = f"{signed.sender} speaks for {agent[:256]}"
        self._note(request, "foreign-agent", why, signed.sender)
        return Refused(problem(403, "foreign-agent", "An agent speaks for itself alone", f"{why}; name the agent that signs."))

    def _refused(self, request: Request, refused: SignatureRefused) -> Refused:
        self._note(request, refused.cause, refused.why, refused.sender or request.headers.get(SENDER, "")[:200])
        return Refused(problem(401, refused.cause, TITLES[refused.cause], f"{refused.why}; {refused.remedy}."))

    def _note(self, request: Request, cause: str, why: str, sender: str) -> None:
        found = request.path_params
        self._refusals.note(
            Refusal(
                "gateway",
                request.url.path.split("/", 2)[1],
                cause,
                why,
                {"agent": sender, "address": request.client.host if request.client else ""},
                str(found.get("workflow", ""))[:256],
                int(found.get("hop", 0)),
                str(found.get("branch", ""))[:256],
            )
        )
