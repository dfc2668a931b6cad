"""How long to wait before another attempt: what a server asks for, and what the policy says."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.retry import backoff_ms, retry_after_ms

NOW_MS = 1_790_000_000_000


@given(st.integers(1, 200), st.text(max_size=20), st.integers(1, 10_000), st.integers(1, 100_000))
def test_a_pause_lies_between_half_its_ceiling_and_its_ceiling(attempt: int, key: str, initial: int, longest: int) -> None:
    ceiling = min(longest, initial * 2.0 ** min(attempt - 1, 64))
    pause = backoff_ms(attempt, key.encode("utf-8", "replace").decode(), initial_ms=initial, max_ms=longest)
    assert int(ceiling / 2) <= pause <= ceiling


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2000),
        ({"retry-after": "0.5"}, 500),
        ({"retry-after-ms": "250", "retry-after": "9"}, 250),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW_MS / 1000 + 90, UTC), usegmt=True)}, 90_000),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW_MS / 1000 - 90, UTC), usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], expected: int | None) -> None:
    assert retry_after_ms(headers, NOW_MS) == expected


@given(st.text())
def test_retry_after_of_any_text_is_a_wait_or_nothing(text: str) -> None:
    wait = retry_after_ms({"retry-after": text}, NOW_MS)
    assert wait is None or wait >= 0
