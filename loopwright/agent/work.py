"""Doing the work of one call: the handler runs on a checked input, and what it gives is checked before anybody sees it."""

import logging
from typing import Any

import orjson

from loopwright.agent.agent import Agent
from loopwright.agent.answer import Answer
from loopwright.agent.incoming import Incoming
from loopwright.agent.problems import problem
from loopwright.agent.task import Report, Task
from loopwright.errors import LoopwrightError, Retryable

log = logging.getLogger(__name__)


def input_problem(agent: Agent, incoming: Incoming) -> Answer | None:
    """The 422 for an input that breaks the contract, or None."""
    if agent.input.accepts(incoming.payload):
        return None
    errors = agent.input.errors(incoming.payload)
    return problem(422, "input-contract", "The input breaks the contract", f"{agent.definition.ref}: {errors[0]}", errors)


async def do(agent: Agent, incoming: Incoming, report: Report) -> Answer:
    """Run the handler once. 200 with the output; 422 and 503 as the handler's errors say; 500 where the agent itself is at fault."""
    task = Task(
        input=agent.input.project(incoming.payload),
        workflow=incoming.workflow,
        hop=incoming.hop,
        branch=incoming.branch,
        idempotency_key=incoming.key,
        traceparent=incoming.traceparent,
        timeout_ms=incoming.timeout_ms,
        agent=agent.name,
        actions=agent.definition.actions,
        report=report,
    )
    try:
        output: Any = await agent.run(task)
    except Retryable as error:
        return problem(503, "try-again", error.what, _detail(error), headers={"retry-after": "1"})
    except LoopwrightError as error:
        return problem(422, "refused", error.what, _detail(error))
    except Exception as error:
        log.exception("%s failed on %s", agent.definition.ref, incoming.key)
        detail = f"{agent.definition.ref} raised {type(error).__name__}; its log says more."
        return problem(500, "agent-failed", "The agent failed", detail)
    return _checked(agent, task, output)


def _checked(agent: Agent, task: Task, output: Any) -> Answer:
    errors = agent.output.errors(output) if isinstance(output, dict) else [f"$: a JSON object was expected; it is {type(output).__name__}"]
    try:
        body = orjson.dumps(output)
    except (TypeError, ValueError) as error:
        errors, body = [f"$: it is not JSON: {error}"], b""
    if errors:
        log.error("%s broke its output contract: %s", agent.definition.ref, "; ".join(errors))
        return problem(500, "output-contract", "The agent broke its own contract", f"{agent.definition.ref}: {errors[0]}", errors)
    headers = {"content-type": "application/json"}
    if task.completes:
        headers["loopwright-next"] = "complete"
    if task.used:
        headers["loopwright-usage"] = orjson.dumps(task.used).decode()
    if task.acted:
        headers["loopwright-actions"] = ", ".join(task.acted)
    return Answer(200, body, headers)


def _detail(error: LoopwrightError) -> str:
    return "; ".join(part for part in (error.why, error.remedy) if part)
