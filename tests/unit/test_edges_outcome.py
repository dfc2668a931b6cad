from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.outcome import LONGEST_MESSAGE, retry_after_ms, said

NOW_S = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2000),
        ({"retry-after": "0.5"}, 500),
        ({"retry-after-ms": "250", "retry-after": "9"}, 250),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW_S + 90, UTC), usegmt=True)}, 90_000),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW_S - 90, UTC), usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers, expected):
    assert retry_after_ms(headers, NOW_S) == expected


@given(st.text())
def test_retry_after_of_any_text_is_a_wait_or_nothing(text):
    wait = retry_after_ms({"retry-after": text}, NOW_S)
    assert wait is None or wait >= 0


@given(st.text(), st.text(min_size=8, alphabet="abcdefgh0123"))
def test_a_secret_is_never_said(text, secret):
    line = said(f"{text} Bearer {secret} {text}", [secret, ""])
    assert secret not in line
    assert "\n" not in line
    assert len(line) <= LONGEST_MESSAGE
