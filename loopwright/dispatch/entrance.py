"""What enters from outside is sealed before it is written to Kafka: starts, corrections, late replies. Pure.

The fields to seal are those that the team's agents mark. Where the team cannot be told, they are those that any agent marks: a value that
is sealed without need is opened for whoever's contract names it, and harms nobody.
"""

import re
from dataclasses import replace
from typing import Any

from loopwright import schemas
from loopwright.dispatch.confidential import WITHHELD, Withheld, sealed_output
from loopwright.errors import InvalidDocument, Retryable
from loopwright.message import Message
from loopwright.registry.catalogue import Agent, Catalogue
from loopwright.sealing import Keys, any_sealed, keys_for, seal

_CLASS = re.compile(r"[A-Za-z0-9._-]{1,80}")


def sealed_message(message: Message, catalogue: Catalogue, keys: Keys | None, default_team: str, agent: str = "") -> Message:
    """`message` with its sensitive fields sealed. `agent` is the `team/name@version` that a late reply is from, where that is known.

    Raises Retryable where keys are set and the team of a start is not published: nobody can tell what is sensitive there. Raises what
    `loopwright.sealing.seal` raises; InvalidSettings where keys are needed and there are none.
    """
    data = message.data
    if message.type == schemas.STARTED:
        team = str(data.get("team") or default_team)
        return _with(message, "document", start_fields(team, catalogue, keys), keys)
    if message.type == schemas.HUMAN_DECIDED and "edit" in data:
        return _with(message, "edit", everywhere(catalogue), keys)
    if message.type == schemas.REPLIED:
        return _with(message, "output", everywhere(catalogue), keys)
    return replace(message, data=_late_reply(message, catalogue, keys, agent)) if message.type == schemas.CALLED_BACK else message


def start_fields(team: str, catalogue: Catalogue, keys: Keys | None) -> frozenset[str]:
    """The fields that a start of `team` must not hold in clear. Raises Retryable where keys are set and the team is not published."""
    roster = catalogue.roster(team)
    if not roster and keys is not None:
        why = f"team {team!r:.80} is not published, and keys are set (LOOPWRIGHT_KEYS_FILE)"
        remedy = "publish the team first, with `loopwright agents apply FOLDER`, or name another team"
        raise Retryable("it cannot be told which fields are sensitive", why, remedy)
    return catalogue.sensitive(team, roster)


def everywhere(catalogue: Catalogue) -> frozenset[str]:
    """The fields that any agent of any team marks."""
    return frozenset[str]().union(*(agent.sensitive for agent in catalogue.agents))


def refuse_bare(team: str, catalogue: Catalogue) -> None:
    """Raise InvalidDocument where a bare record of `team` might hold a sensitive field: it has no workflow id yet to be sealed for."""
    fields = catalogue.sensitive(team, catalogue.roster(team))
    if fields:
        why = f"team {team!r:.80} marks {', '.join(sorted(fields))} as sensitive, and a bare record has no workflow id to be encrypted for"
        raise InvalidDocument("a bare record would hold sensitive fields in clear", why, "send it with an envelope: leave out --raw")


def _with(message: Message, part: str, fields: frozenset[str], keys: Keys | None) -> Message:
    content = message.data.get(part)
    if not isinstance(content, dict) or not (fields or any_sealed(content)):
        return message
    return replace(message, data={**message.data, part: seal(content, fields, keys, message.workflow)})


def _late_reply(message: Message, catalogue: Catalogue, keys: Keys | None, ref: str) -> dict[str, Any]:
    data = message.data
    signed_by = str(data.get("sender") or "")  # team/name, as the gateway has verified it
    known = _agent(catalogue, ref) if not signed_by or ref.startswith(f"{signed_by}@") else None
    team = known.definition.team if known else signed_by.partition("/")[0]
    fields = catalogue.sensitive(team) if team else everywhere(catalogue)
    if not fields:
        return data
    if "error" in data:
        return {**data, "error": _error(data["error"])}
    keys_for(keys, min(fields))
    output = data["output"]
    if known is None:
        return {**data, "output": seal(output, fields, keys, message.workflow)}
    sealing = {"workflow": message.workflow, "fields": sorted(fields), "output": known.definition.output}
    try:
        return {**data, "output": sealed_output(output, sealing, keys)}
    except Withheld as withheld:
        kept = {name: value for name, value in data.items() if name != "output"}
        return {**kept, "error": withheld.outcome["error"] | {"retryable": False}}


def _agent(catalogue: Catalogue, ref: str) -> Agent | None:
    return next((agent for agent in catalogue.agents if agent.ref == ref), None)


def _error(said: Any) -> dict[str, Any]:
    """An agent's error without its own words, which may quote what it was given."""
    kind = str(said.get("class", "")) if isinstance(said, dict) else ""
    retryable = isinstance(said, dict) and said.get("retryable") is True
    return {"class": kind if _CLASS.fullmatch(kind) else "AgentError", "message": WITHHELD, "retryable": retryable}
