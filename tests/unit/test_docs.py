"""What the docs claim about the repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


FAILURES = (ROOT / "docs" / "failures.md").read_text()
CASES = 66


def rows() -> list[list[str]]:
    """The cells of each numbered row of the table of failures: number, case, what holds, tests, observed."""
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in FAILURES.splitlines() if re.match(r"\| \d+ \|", row)]


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`((?:test_|Test)\w+)`", text))


def test_every_test_that_the_failure_table_names_exists() -> None:
    defined = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"^(?:(?:async )?def (?=test_)|class (?=Test)|(?=Test\w+ = ))(\w+)", path.read_text(), re.MULTILINE))
    assert named_in(FAILURES) - defined == set()


def test_every_failure_stands_in_its_table_once_and_in_order() -> None:
    assert [int(number) for number, *_ in rows()] == list(range(1, CASES + 1))


def test_every_failure_says_what_holds_which_test_runs_it_and_what_was_observed_or_that_it_is_open() -> None:
    for number, case, holds, tests, observed in rows():
        is_open, not_run = observed.startswith("**Open**"), observed.startswith("not run: ")
        assert case, number
        assert observed, f"{number}: nothing was observed"
        assert holds or is_open, f"{number}: it does not say what holds"
        assert named_in(tests) or is_open or not_run, f"{number}: no test, and no reason why there is none"


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_every_link_in_the_docs_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []
