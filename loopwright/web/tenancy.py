"""Who may start workflows, and for which tenant: by a bearer token, from a file that its owner alone may read.

acme-web: {token: TOKEN, tenant: acme}                                   # the name is the token's id: it stands in logs and audit
acme-batch: {token: [NEW, OLD], tenant: acme, teams: [sdr], actions: [crm.write]}
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request

from loopwright.agent.problems import Refused, problem
from loopwright.audit import Refusal
from loopwright.edges.private_file import Reloaded, read_private
from loopwright.errors import InvalidSettings
from loopwright.registry.definition import TENANT
from loopwright.web.refusals import Refusals

SHORTEST_TOKEN = 16
_WHAT = "the tokens file"
_FIELDS = {"token", "tenant", "teams", "actions"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who starts a workflow: the token's id, its tenant, the teams it may use and the actions it allows (None: all)."""

    token: str = ""
    tenant: str = ""
    teams: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None


ANYBODY = Caller()
Known = list[tuple[bytes, Caller]]


class Tenancy:
    """Knows callers by their tokens. Without a file everybody may start workflows, for no tenant. Raises InvalidSettings."""

    def __init__(self, path: Path | None, refusals: Refusals) -> None:
        self._known: Reloaded[Known] | None = None if path is None else Reloaded(path.expanduser(), _read)
        self._refusals = refusals

    def caller(self, request: Request, team: str) -> Caller:
        """Who asks to start a workflow in `team`. Raises Refused: 401 without a token that is known, 403 for another's tenant or team."""
        if self._known is None:
            return ANYBODY
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not sent.strip():
            raise self._refused(request, 401, "no-token", "there is no bearer token", "Send the header Authorization: Bearer TOKEN.")
        found = _found(self._known.value(), sent.strip())
        if found is None:
            raise self._refused(request, 401, "unknown-token", "the bearer token is not known", "Send one that the tokens file holds.")
        asked = request.query_params.get("tenant", found.tenant)
        if asked != found.tenant:
            why = f"token {found.token} is for tenant {found.tenant}, not for {asked[:64]!r}"
            raise self._refused(request, 403, "foreign-tenant", why, "Leave the tenant out: the token says it.", found)
        if found.teams is not None and team not in found.teams:
            why = f"token {found.token} may use {', '.join(found.teams) or 'no team'}, not {team[:64]!r}"
            raise self._refused(request, 403, "foreign-team", why, "Name one of these with ?team=.", found)
        return found

    def _refused(self, request: Request, status: int, cause: str, why: str, remedy: str, caller: Caller = ANYBODY) -> Refused:
        who = {"token": caller.token, "tenant": caller.tenant, "address": request.client.host if request.client else ""}
        self._refusals.note(Refusal("gateway", request.url.path.split("/", 2)[1], cause, why, who))
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        return Refused(problem(status, cause, "The workflow may not be started", f"{why}. {remedy}", headers=headers))


def _found(known: Known, sent: str) -> Caller | None:
    """The caller with this token. Digests are compared, all of them: how long it takes says nothing of a token."""
    digest, found = _digest(sent), None
    for expected, caller in known:
        if hmac.compare_digest(digest, expected):
            found = caller
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _read(path: Path) -> Known:
    known: Known = []
    for name, entry in read_private(path, _WHAT).items():
        try:
            tokens, caller = _entry(name, entry)
        except ValueError as error:
            raise InvalidSettings(f"{_WHAT} cannot be used", f"{path}: {name} {error}", "correct that entry") from None
        known += [(_digest(token), caller) for token in tokens]
    if len({digest for digest, _ in known}) < len(known):
        raise InvalidSettings(f"{_WHAT} cannot be used", f"{path}: a token is there twice", "give every caller a token of its own")
    return known


def _entry(name: str, entry: Any) -> tuple[list[str], Caller]:
    if not isinstance(entry, Mapping) or not entry.keys() <= _FIELDS:
        raise ValueError(f"has to be {{token: ..., tenant: ...}}, and may have {', '.join(sorted(_FIELDS - {'token', 'tenant'}))}")
    tokens = entry.get("token")
    tokens = [tokens] if isinstance(tokens, str) else tokens
    if not isinstance(tokens, list) or not tokens or not all(isinstance(one, str) and len(one) >= SHORTEST_TOKEN for one in tokens):
        raise ValueError(f"needs a token, a text of at least {SHORTEST_TOKEN} letters, or a list of such")
    tenant = entry.get("tenant")
    if not isinstance(tenant, str) or not re.fullmatch(TENANT, tenant):
        raise ValueError("needs a tenant: letters, digits, dots, hyphens and underscores, at most 64")
    return tokens, Caller(name, tenant, _names(entry, "teams"), _names(entry, "actions"))


def _names(entry: Mapping[str, Any], field: str) -> tuple[str, ...] | None:
    found = entry.get(field)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise ValueError(f"has {field} that are no list of names")
    return tuple(found)
