"""`python -m loopwright.testing.soak [--minutes 30]`: exit code 0 only if everything held, 1 otherwise."""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from loopwright.cli import show
from loopwright.cli.progress import Screen
from loopwright.errors import LoopwrightError
from loopwright.testing.chaos.ending import INTERRUPTED, ended_by_signals
from loopwright.testing.chaos.run import remove
from loopwright.testing.chaos.show import print_checks
from loopwright.testing.soak.report import SoakReport
from loopwright.testing.soak.run import SoakOptions, soak


def main() -> int:
    """Run, report, and clean up where it held; where it did not, the state folder stays, for its logs."""
    given = _parser().parse_args()
    home = (given.home or Path(tempfile.mkdtemp(prefix="loopwright-soak-"))).resolve()
    screen = show.console(stderr=given.json)
    try:
        with ended_by_signals(), Screen(screen, live=False) as progress:
            options = SoakOptions(given.minutes, given.in_flight)
            report = soak(home, options, lambda said: screen.print(said, markup=False, soft_wrap=True), progress.tell)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; the state folder: {home}\n")
        return INTERRUPTED
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n  the state folder, with all logs: {home}\n")
        return error.exit_code
    if given.json:
        show.print_json(report.as_dict())
    else:
        _print(report, screen)
    if report.holds and given.home is None:
        remove(home)
    elif not report.holds:
        sys.stderr.write(f"the state folder stays for a closer look: {home}\n")
    return 0 if report.holds else 1


def _print(report: SoakReport, screen: Console) -> None:
    done = report.done
    screen.print(Text(f"\n{report.minutes:g} minutes: {done['restarts']} restarts of the job, ", "bold"), end="")
    screen.print(Text(f"{done['collections']} garbage collections, {done['dumps']} thread dumps", "bold"))
    screen.print(Text("workflows: " + ", ".join(f"{count} {name}" for name, count in report.workflows.items())), soft_wrap=True)
    print_checks(screen, report.checks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loopwright.testing.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--in-flight", type=int, default=100, help="workflows in flight (100)")
    parser.add_argument("--home", type=Path, default=None, help="a new state folder that is kept; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout; everything else on stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
