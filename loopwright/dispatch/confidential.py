"""A call of an agent in a team that marks fields as sensitive: opened right before it is sent, sealed before anybody learns its outcome.

Pure. What is opened here exists in the performer's memory and on the wire to the agent, and nowhere else: no record, no state and no log
holds it. An agent's refusal may quote what it was given, so of such a refusal only the status and the kind of problem are kept.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from loopwright.errors import InvalidDocument, InvalidSettings, KeyMissing, SealBroken, Terminal
from loopwright.json_strict import JsonRefused, read_object
from loopwright.masking import MASK
from loopwright.registry.catalogue import Agent
from loopwright.registry.contract import Contract
from loopwright.sealing import Keys, any_sealed, is_sealed, keys_for, seal, unseal

NESTING = 64
WITHHELD = "what the agent said is left out, since this call carries sensitive fields; the agent's own log says more"
_PROBLEM = re.compile(r"urn:loopwright:[a-z-]{1,64}")
_HOP = re.compile(r"[0-9]{1,10}")
_KEPT_HEADERS = ("content-type", "retry-after", "loopwright-next", "loopwright-usage", "loopwright-actions", "idempotent-replayed")


class Withheld(Exception):
    """The call has no outcome but this error: its class and what is said of it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind)
        self.outcome: dict[str, Any] = {"error": {"class": kind, "message": message}}


def terms(workflow: str, agent: Agent, fields: frozenset[str], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the performer has to know to open and to seal, as part of a call's payload; None where nothing about the call is sensitive.

    `fields` are all that the team marks, `given` is the input as it stands in the decision.
    """
    if not any_sealed(given) and fields.isdisjoint(agent.input.properties) and fields.isdisjoint(agent.output.properties):
        return None
    definition = agent.definition
    return {"workflow": workflow, "fields": sorted(fields), "input": definition.input, "output": definition.output}


def opened(body: str, sealing: Mapping[str, Any], keys: Keys | None) -> str:
    """The body as the agent is to get it: of the sealed fields those that its input contract names, in clear; the others are left out.

    Raises Withheld: KeyMissing, SealBroken, NoKeys, or InputContractViolation where what was sealed breaks the input contract.
    """
    given, contract = orjson.loads(body), _contract(orjson.dumps(sealing["input"]))
    seen = {name: value for name, value in given.items() if name in contract.properties or not is_sealed(value)}
    try:
        if sealing["fields"]:
            keys_for(keys, sealing["fields"][0])
        clear = unseal(seen, keys, sealing["workflow"])
    except (KeyMissing, SealBroken, InvalidSettings) as error:
        raise _refused(error) from None
    if not contract.accepts(clear):
        raise Withheld("InputContractViolation", "; ".join(contract.errors(clear, _hide(sealing, seen))[:3]))
    return orjson.dumps(clear).decode()


def sealed(outcome: Mapping[str, Any], sealing: Mapping[str, Any], keys: Keys | None) -> dict[str, Any]:
    """The outcome of the call with the sensitive fields of its output sealed, and with nothing else that may hold one.

    Raises Withheld: ContractViolation, InvalidReply, KeyMissing, NoKeys.
    """
    if "error" in outcome:
        return dict(outcome)
    status = int(outcome["status"])
    headers = _headers(outcome["headers"], sealing["workflow"])
    if not 200 <= status < 300 or status == 202:
        return {**outcome, "headers": headers, "body": _refusal(str(outcome["body"])) if status != 202 else ""}
    try:
        output = read_object(str(outcome["body"]).encode("utf-8", "replace"), NESTING)
    except JsonRefused as refused:
        raise Withheld("InvalidReply", f"the body is not one JSON object ({refused.cause})") from None
    return {**outcome, "headers": headers, "body": orjson.dumps(sealed_output(output, sealing, keys)).decode()}


def _headers(given: Mapping[str, str], workflow: str) -> dict[str, str]:
    """The headers that the dispatcher reads. One that should name the call and does not is not quoted."""
    headers = {name: value for name, value in given.items() if name in _KEPT_HEADERS}
    named, hop = given.get("ce-workflowid"), given.get("ce-hop")
    if named is not None:
        headers["ce-workflowid"] = named if workflow in (named, unquote(named)) else MASK
    if hop is not None:
        headers["ce-hop"] = hop if _HOP.fullmatch(hop.strip()) else MASK
    return headers


def sealed_output(output: dict[str, Any], sealing: Mapping[str, Any], keys: Keys | None) -> dict[str, Any]:
    """An agent's output in clear, checked against its contract, with its sensitive fields sealed. Raises Withheld."""
    contract = _contract(orjson.dumps(sealing["output"]))
    if any_sealed(output):
        raise Withheld("ContractViolation", "the reply holds an encrypted value; an agent gives its output in clear")
    if not contract.accepts(output):
        why = "; ".join(contract.errors(output, sealing["fields"])[:3])
        raise Withheld("ContractViolation", f"the reply breaks the output contract: {why}")
    try:
        return seal(contract.project(output), frozenset(sealing["fields"]), keys, sealing["workflow"])
    except (KeyMissing, InvalidSettings, InvalidDocument) as error:
        raise _refused(error) from None


def _hide(sealing: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    return [*sealing["fields"], *(name for name, value in seen.items() if is_sealed(value))]


def _refused(error: Terminal) -> Withheld:
    kind = "NoKeys" if isinstance(error, InvalidSettings) else type(error).__name__
    return Withheld(kind, "; ".join(part for part in (f"{error.what}: {error.why}", error.remedy) if part))


def _refusal(body: str) -> str:
    """A refusal's body without the agent's own words: a problem of the kind that it names, where that is one of ours."""
    try:
        said = orjson.loads(body)
    except ValueError:
        said = None
    kind = str(said.get("type", "")) if isinstance(said, dict) else ""
    title = kind.removeprefix("urn:loopwright:") if _PROBLEM.fullmatch(kind) else "the agent refused"
    return orjson.dumps({"title": title, "detail": WITHHELD}).decode()


@lru_cache(256)
def _contract(schema: bytes) -> Contract:
    return Contract(orjson.loads(schema))
