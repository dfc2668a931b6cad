"""`python -m loopwright.testing.chaos [--seconds 600] [--seed N]`: exit code 0 only if everything held, 1 otherwise."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from loopwright.cli import show
from loopwright.cli.progress import Screen
from loopwright.errors import LoopwrightError
from loopwright.settings import read_settings
from loopwright.testing.chaos.ending import INTERRUPTED, ended_by_signals
from loopwright.testing.chaos.report import ChaosReport
from loopwright.testing.chaos.run import ChaosOptions, chaos, remove
from loopwright.testing.chaos.show import print_report
from loopwright.testing.chaos.team import SDR, own_team


def main() -> int:
    """Run, report, and clean up where it held; where it did not, the state folder stays, for its logs."""
    given = _arguments()
    home = (given.home or Path(tempfile.mkdtemp(prefix="loopwright-chaos-"))).resolve()
    screen = show.console(stderr=given.json)
    try:
        with ended_by_signals(), Screen(screen, live=False) as progress:
            report = chaos(home, _options(given), lambda said: screen.print(said, markup=False, soft_wrap=True), progress.tell)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; the state folder: {home}\n")
        return INTERRUPTED
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n  the state folder, with all logs: {home}\n")
        return error.exit_code
    _say(report, home, screen, given.json)
    if report.holds and given.home is None:
        remove(home)
    return 0 if report.holds else 1


def _say(report: ChaosReport, home: Path, screen: Console, as_json: bool) -> None:
    if as_json:
        show.print_json(report.as_dict())
        return
    print_report(screen, report)
    if not report.holds:
        remedy = f"the state folder stays for a closer look: {home}; the same kills again: --seed {report.seed}"
        screen.print(f"\n{remedy}", markup=False, soft_wrap=True)


def _options(given: argparse.Namespace) -> ChaosOptions:
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    team = own_team(given.team, given.documents, read_settings().variables()) if given.team else SDR
    return ChaosOptions(seed, given.seconds, given.gap, given.in_flight, given.pause, given.drain, given.mode == "process", team)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loopwright.testing.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long parts are killed (600)")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; default: a new one, which is printed")
    parser.add_argument("--gap", type=float, default=15, help="seconds between two kills, on average (15)")
    parser.add_argument("--in-flight", type=int, default=220, help="workflows in flight (220)")
    parser.add_argument("--pause", type=float, default=3, help="seconds that an agent takes for a call (3)")
    parser.add_argument("--drain", type=float, default=600, help="seconds that the last workflows may take (600)")
    parser.add_argument("--mode", choices=("thread", "process"), default="thread", help="how Python runs in the TaskManager")
    parser.add_argument("--team", type=Path, default=None, help="definitions of a team of yours, whose agents you run; with --documents")
    parser.add_argument("--documents", default="", help="what its workflows start with, in turn: JSON, an array, or JSON lines")
    parser.add_argument("--home", type=Path, default=None, help="a new state folder that is kept; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout; everything else on stderr")
    given = parser.parse_args()
    if bool(given.team) != bool(given.documents):
        parser.error("--team and --documents go together")
    return given


if __name__ == "__main__":
    sys.exit(main())
