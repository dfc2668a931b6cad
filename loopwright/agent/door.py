"""Who may call an agent: whoever has its token (definition `auth: {type: bearer}`), or a certificate of an authority that it trusts."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from loopwright.agent.agent import Agent
from loopwright.agent.problems import Refused, problem
from loopwright.edges.secrets import SecretsFile
from loopwright.errors import InvalidSettings

_CHALLENGE = {"www-authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class Tls:
    """What an agent is served with over https: its certificate and key, and the authorities whose clients may call (None: anybody's)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Door:
    """Lets in the calls of one agent. Raises InvalidSettings where the agent asks for a token that is not known here."""

    def __init__(self, agent: Agent, secrets: SecretsFile | None) -> None:
        self._name = agent.definition.auth_secret if agent.definition.auth.type == "bearer" else ""
        self._secrets = secrets
        if self._name and not self._tokens():
            why = f"{agent.definition.ref} is called with the token {self._name}, which is in no secrets file"
            remedy = f"write {self._name}: TOKEN into the file that LOOPWRIGHT_SECRETS_FILE names, here and where the job runs"
            raise InvalidSettings("an agent does not know who may call it", why, remedy)

    def _tokens(self) -> tuple[str, ...]:
        return self._secrets.texts(self._name) if self._secrets is not None else ()

    def check(self, request: Request) -> None:
        """Raise Refused (401) for a call without the agent's token. How long it takes says nothing of the token. Source: RFC 6750."""
        if not self._name:
            return
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not sent:
            detail = "Send the header Authorization: Bearer TOKEN."
            raise Refused(problem(401, "unauthorized", "The call proves no identity", detail, headers=_CHALLENGE))
        if not any(hmac.compare_digest(sent.strip().encode(), known.encode()) for known in self._tokens()):
            detail = "The token is not the agent's. Give both sides the same secret."
            headers = {"www-authenticate": 'Bearer error="invalid_token"'}
            raise Refused(problem(401, "unauthorized", "The call proves no identity", detail, headers=headers))


def check_certificates(agents: Sequence[Agent], tls: Tls | None) -> None:
    """Raise InvalidSettings where an agent is called with a client certificate that nobody would look at."""
    for agent in agents:
        if agent.definition.auth.type == "mtls" and (tls is None or tls.client_ca is None):
            why = f"{agent.definition.ref} has auth.type mtls, but no authority is named whose certificates are taken"
            remedy = "serve(..., tls=Tls(certificate, key, client_ca)); behind a proxy that checks them, serve create_app(...) yourself"
            raise InvalidSettings("an agent does not know who may call it", why, remedy)
