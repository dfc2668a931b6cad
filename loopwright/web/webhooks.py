"""Webhooks: what an outside system POSTs becomes the start of a workflow. Signed by Standard Webhooks, mapped as its definition says.

A delivery that comes again, here or at another gateway, gives the same workflow id, and the job drops the second start: nothing of it is
kept here.
"""

import math
from pathlib import Path

from starlette.requests import Request

from loopwright.agent.incoming import check_content_type, json_of, read_body
from loopwright.agent.problems import Refused, problem
from loopwright.audit import Refusal
from loopwright.clock import now_ms
from loopwright.edges.private_file import Reloaded
from loopwright.edges.rates import Rates
from loopwright.edges.secrets import SecretsFile
from loopwright.edges.signing import SignatureRefused, verify_delivery
from loopwright.errors import InvalidSettings
from loopwright.message import Message
from loopwright.registry.definition import Rate
from loopwright.sources.definition import Webhook
from loopwright.sources.loading import load_sources
from loopwright.sources.starts import delivered
from loopwright.web.callers import TITLES
from loopwright.web.records import trace_in
from loopwright.web.refusals import Refusals


class Webhooks:
    """The webhooks of the sources file, as it stands now; none without a file. Raises InvalidDefinition where it cannot be used."""

    def __init__(self, path: Path | None, secrets: SecretsFile | None, refusals: Refusals) -> None:
        self._sources = None if path is None else Reloaded(path.expanduser(), load_sources)
        self._secrets = secrets
        self._refusals = refusals
        self._rates = Rates()

    async def start(self, request: Request, limit: int) -> Message:
        """The start that a delivery of at most `limit` bytes stands for. Raises Refused: 401, 404, 413, 415, 422, 429; InvalidDocument."""
        webhook = self._webhook(str(request.path_params["name"]))
        check_content_type(request)
        body = await read_body(request, limit)
        delivery = self._delivery(webhook, request, body)
        if webhook.rate is not None and not await self._rates.take(webhook.name, webhook.rate.model_dump()):
            raise _too_many(webhook.name, webhook.rate)
        return delivered(webhook, json_of(body), delivery, now_ms(), trace_in(request.headers))

    def _webhook(self, name: str) -> Webhook:
        found = None if self._sources is None else self._sources.value().webhooks.get(name)
        if found is None:
            raise Refused(problem(404, "webhook", "There is no such webhook", "Its name is one under webhooks: in the sources file."))
        return found

    def _delivery(self, webhook: Webhook, request: Request, body: bytes) -> str:
        """The id of the delivery, which is signed."""
        if self._secrets is None:
            why = f"the webhook {webhook.name} has deliveries signed, and no secrets file is set"
            raise InvalidSettings("deliveries cannot be checked", why, "set LOOPWRIGHT_SECRETS_FILE (docs/sources.md)")
        keys = self._secrets.signing_keys(webhook.secret_name)
        try:
            return verify_delivery(keys, request.headers, body, f"the webhook {webhook.name}", webhook.secret_name)
        except SignatureRefused as refused:
            who = {"source": webhook.name, "address": request.client.host if request.client else ""}
            self._refusals.note(Refusal("gateway", "webhooks", refused.cause, refused.why, who))
            raise Refused(problem(401, refused.cause, TITLES[refused.cause], f"{refused.why}; {refused.remedy}.")) from refused


def _too_many(name: str, rate: Rate) -> Refused:
    detail = f"The webhook {name} takes {rate.per_second:g} a second. Send it again later."
    headers = {"retry-after": str(math.ceil(1 / rate.per_second))}
    return Refused(problem(429, "rate", "There are too many deliveries", detail, headers=headers))
