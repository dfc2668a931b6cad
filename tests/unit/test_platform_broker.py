"""The broker's own ids and settings."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.platform.broker import cluster_id


@given(st.binary(min_size=16, max_size=16))
def test_no_cluster_id_looks_like_an_option(drawn: bytes) -> None:
    made = cluster_id(uuid.UUID(bytes=drawn))
    assert len(made) == 22
    assert not made.startswith("-")
