"""Python functions for Flink SQL: `route`, `contract_check`, `redact`. None raises: what cannot be processed says so in its result.

They take and give JSON as text, and know the agents that were published when the query began. `sql/functions.sql` makes them known.
"""

import asyncio
from typing import Any, Union

import orjson
import pandas as pd
from pyflink.table import DataTypes, FunctionContext, ScalarFunction
from pyflink.table.udf import udf

from loopwright.clock import now_ms
from loopwright.edges.entrance import published
from loopwright.edges.one_decision import NoDecision, one_decision
from loopwright.edges.router import RoutePerformer
from loopwright.errors import LoopwrightError
from loopwright.json_strict import JsonRefused, read_object
from loopwright.masking import MASK, masked
from loopwright.registry.catalogue import Agent
from loopwright.routing.decider import RouteDecider
from loopwright.settings import read_settings

LONGEST_S = 60.0
Column = Union["pd.Series[str]", str, None]


class _WithAgents(ScalarFunction):  # type: ignore[misc]  # pyflink is untyped
    """A function that knows the published agents."""

    def open(self, function_context: FunctionContext) -> None:  # noqa: ARG002  # the interface
        """Called by Flink when the task starts."""
        self._settings = read_settings()
        self._catalogue = published(self._settings)

    def is_deterministic(self) -> bool:
        """Agents and models change."""
        return False

    def _read(self, document: str) -> dict[str, Any]:
        """Raises JsonRefused."""
        return read_object(document.encode(), self._settings.limits.nesting)


class Route(_WithAgents):
    """`route(team, document)`: the decision that the router would take first, as JSON, or {"error": why}. Team '' is the default team.

    A whole batch of rows is asked about at once.
    """

    def open(self, function_context: FunctionContext) -> None:
        """Called by Flink when the task starts."""
        super().open(function_context)
        self._runner, self._performer = asyncio.Runner(), RoutePerformer(self._settings)
        by_itself = self._settings.routing.model_copy(update={"elsewhere": ()})  # whatever the job leaves to others
        self._decider = RouteDecider(self._settings.model_copy(update={"routing": by_itself}), catalogue=self._catalogue)

    def close(self) -> None:
        """Called by Flink when the task ends."""
        self._runner.run(self._performer.close())
        self._runner.close()

    def eval(self, teams: Column, documents: Column) -> "pd.Series[str]":
        """One decision for each row."""
        rows = max(len(column) for column in (teams, documents, [None]) if not isinstance(column, str | None))
        return pd.Series(self._runner.run(self._all(_values(teams, rows), _values(documents, rows))), dtype=object)

    async def _all(self, teams: list[str | None], documents: list[str | None]) -> list[str | None]:
        return await asyncio.gather(*(self._one(*row) for row in zip(teams, documents, strict=True)))

    async def _one(self, team: str | None, document: str | None) -> str | None:
        if document is None:
            return None
        try:
            async with asyncio.timeout(LONGEST_S):
                read, topic = self._read(document), self._settings.topics.decisions
                found = await one_decision(self._decider, self._performer, topic, read, now_ms, team or "")
        except TimeoutError:
            found = {"error": f"no decision within {LONGEST_S:.0f} s"}
        except JsonRefused as refused:
            found = {"error": refused.why}
        except (NoDecision, LoopwrightError) as error:
            found = {"error": str(error)}
        except Exception as error:
            found = {"error": masked(f"{type(error).__name__}: {error}")}
        return orjson.dumps(found).decode()


class ContractCheck(_WithAgents):
    """`contract_check(agent, document)`: NULL where the document keeps the agent's input contract, else what is wrong with it.

    The agent is `name` (of the default team), `team/name` (its newest version) or `team/name@version`.
    """

    def eval(self, agent: str | None, document: str | None) -> str | None:
        """One row."""
        if agent is None or document is None:
            return None
        found = self._agent(agent)
        if found is None:
            return f"there is no agent {agent}"
        try:
            wrong = found.input.errors(self._read(document))
        except JsonRefused as refused:
            return refused.why
        except Exception as error:
            return f"it cannot be checked: {masked(str(error))}"
        return "; ".join(wrong) or None

    def _agent(self, named: str) -> Agent | None:
        team, _, name = named.rpartition("/")
        name, _, version = name.partition("@")
        if version:
            return self._catalogue.get(team or self._settings.team, name, int(version)) if version.isdecimal() else None
        return self._catalogue.team(team or self._settings.team).get(name)


class Redact(_WithAgents):
    """`redact(document)`: the same text with `***` for what looks like a secret, and for the fields that any contract marks sensitive."""

    def open(self, function_context: FunctionContext) -> None:
        """Called by Flink when the task starts."""
        super().open(function_context)
        self._sensitive = frozenset[str]().union(*(agent.sensitive for agent in self._catalogue.agents))

    def eval(self, document: str | None) -> str | None:
        """One row."""
        if document is None:
            return None
        try:
            return masked(orjson.dumps(_without(self._read(document), self._sensitive)).decode())
        except JsonRefused:
            return masked(document)
        except Exception:
            return MASK  # rather too much than too little


def _values(column: Column, rows: int) -> list[str | None]:
    """A column as Flink hands it over: a constant comes as one value."""
    return [column] * rows if isinstance(column, str | None) else list(column)


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: MASK if name in names else _without(one, names) for name, one in value.items()}
    return [_without(one, names) for one in value] if isinstance(value, list) else value


route = udf(Route(), result_type=DataTypes.STRING(), func_type="pandas")
contract_check = udf(ContractCheck(), result_type=DataTypes.STRING())
redact = udf(Redact(), result_type=DataTypes.STRING())
