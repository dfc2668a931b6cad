from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.outcome import LONGEST_MESSAGE, said

NOW_S = 1_790_000_000.0


@given(st.text(), st.text(min_size=8, alphabet="abcdefgh0123"))
def test_a_secret_is_never_said(text, secret):
    line = said(f"{text} Bearer {secret} {text}", [secret, ""])
    assert secret not in line
    assert "\n" not in line
    assert len(line) <= LONGEST_MESSAGE
