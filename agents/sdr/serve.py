"""Serves the five SDR agents in one process: `python -m agents.sdr.serve --port 8801 --outbox DIR --state DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.sdr.lead_ingestion import lead_ingestion
from agents.sdr.lead_scoring import lead_scoring
from agents.sdr.prompting import Prompter
from agents.sdr.send_email import send_email
from agents.sdr.writing import active_outreach, nurture_campaign
from loopwright.agent import Agent, serve
from loopwright.errors import LoopwrightError
from loopwright.masking import masked
from loopwright.process_log import log_to_stderr
from loopwright.settings import Settings, read_settings


def team(settings: Settings, prompter: Prompter, outbox: Path) -> list[Agent]:
    """The five agents, in the order of their work."""
    variables = settings.variables()
    writers = [make(variables, prompter) for make in (lead_ingestion, lead_scoring, active_outreach, nurture_campaign)]
    return [*writers, send_email(variables, outbox)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Exit code 0, or the error's."""
    parser = argparse.ArgumentParser(prog="python -m agents.sdr.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8801)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--outbox", type=Path, default=None, help="where the mails go (default: outbox in the state folder)")
    parser.add_argument(
        "--state", type=Path, default=None, help="where the Idempotency-Key store is (default: run/agents in the state folder)"
    )
    options = parser.parse_args(arguments)
    log_to_stderr()
    try:
        settings = read_settings()
        outbox = (options.outbox or settings.home / "outbox").resolve()
        state = options.state or settings.home / "run" / "agents"
        prompter = Prompter(settings)
        serve(team(settings, prompter, outbox), options.port, options.host, state, closing=prompter.close)
    except LoopwrightError as error:
        sys.stderr.write(f"{masked(str(error))}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
