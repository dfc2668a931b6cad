"""The workflow that Temporal runs. It has a module of its own, as Temporal loads that anew for each workflow, in a sandbox."""

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.workload import is_last, lead

DECIDE, CALL = "decide", "call"
LIMIT = timedelta(seconds=60)


@workflow.defn
class LeadWorkflow:
    """Ask the model and call the agent that it names, until the last agent has answered."""

    @workflow.run  # type: ignore[untyped-decorator]  # mypy runs where temporalio is not installed
    async def run(self, number: int) -> str:
        """Work this lead; the name of the last agent."""
        document, agent = lead(number), ""
        while not is_last(agent):
            agent = await workflow.execute_local_activity(DECIDE, document, result_type=str, start_to_close_timeout=LIMIT)
            document |= await workflow.execute_local_activity(
                CALL, args=[agent, document], result_type=dict[str, Any], start_to_close_timeout=LIMIT
            )
        return agent
