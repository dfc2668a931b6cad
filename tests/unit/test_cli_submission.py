"""What `submit` and `upgrade` take where nothing is said."""

import pytest

from loopwright.cli.submission import Wish

OWN = {"parallelism.default": "3", "python.execution-mode": "thread", "python.executable": "/opt/python"}
SENT = {
    "parallelism.default": "2",
    "python.execution-mode": "process",
    "python.executable": "environment/bin/python",
    "python.archives": "a#b",
}


@pytest.mark.parametrize(
    ("wish", "before", "parallelism", "mode", "python"),
    [
        (Wish("x"), {}, 1, "process", ""),
        (Wish("x", python="/opt/python"), {}, 1, "thread", "/opt/python"),
        (Wish("x", mode="thread"), {}, 1, "thread", ""),
        (Wish("x", 4, "process", "/opt/python"), {}, 4, "process", "/opt/python"),
        (Wish("x"), OWN, 3, "thread", "/opt/python"),
        (Wish("x", 1, python=""), OWN, 1, "thread", ""),
        (Wish("x"), SENT, 2, "process", ""),
        (Wish("x", python="/opt/python"), SENT, 2, "process", "/opt/python"),
    ],
)
def test_a_release_is_like_the_one_before_unless_told_otherwise(
    wish: Wish, before: dict[str, str], parallelism: int, mode: str, python: str
) -> None:
    settled = wish.settled(before)
    assert (settled.parallelism, settled.mode, settled.python) == (parallelism, mode, python)
    assert settled.settled({}) == settled
