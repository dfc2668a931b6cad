from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32, default
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sdr.send_email import compose, put, written
from loopwright.errors import InvalidDocument

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
HEADERS = {"Message-ID", "Date", "From", "To", "Subject", "X-Send-After-Days", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=200)
INJECTIONS = st.sampled_from(
    ["x\r\nBcc: all@example.com", "x\nBcc: a@b", "\r\n\r\nbody", "x\u2028Bcc: a@b", "x\x0bBcc: a@b", "x\x85Bcc: a@b", "=?utf-8?q?=0aBcc:?="]
)


def asked(name: str = "Ada", subject: str = "Hello", body: str = "Hello", email: str = "ada@example.com") -> dict[str, Any]:
    return {"name": name, "email": email, "emails": [{"subject": subject, "body": body, "send_after_days": 7}]}


@given(TEXT | INJECTIONS, TEXT | INJECTIONS, TEXT | INJECTIONS)
def test_nothing_in_a_lead_or_a_mail_adds_a_header(name: str, subject: str, body: str) -> None:
    (message,) = compose(asked(name, subject, body), "key", NOW)
    read = message_from_bytes(written(message), policy=default)
    assert set(read.keys()) == HEADERS
    assert len(read.keys()) == len(HEADERS)
    assert [address.addr_spec for address in read["To"].addresses] == ["ada@example.com"]


@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=60))
def test_names_and_bodies_of_any_script_arrive_as_they_were(text: str) -> None:
    (message,) = compose(asked(text, text, text), "key", NOW)
    read = message_from_bytes(written(message), policy=default)
    raw = message_from_bytes(written(message), policy=compat32)
    (name, address) = parseaddr(raw["To"])
    assert str(make_header(decode_header(name))) == " ".join(text.split())[:120]
    assert str(make_header(decode_header(raw["Subject"]))) == " ".join(text.split())[:200]
    assert address == "ada@example.com"
    assert read.get_content().strip("\r\n") == text


def test_ids_follow_from_the_key_alone() -> None:
    ids = {str(compose(asked(subject=subject), "key", NOW)[0]["Message-ID"]) for subject in ("a", "b")}
    assert len(ids) == 1
    assert str(compose(asked(), "other", NOW)[0]["Message-ID"]) not in ids


def test_a_repeat_has_one_effect(tmp_path: Path) -> None:
    first = put(tmp_path, compose(asked(body="first"), "key", NOW)[0])
    again = put(tmp_path, compose(asked(body="second"), "key", NOW)[0])
    assert first == again
    assert b"first" in first.read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [first.name]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("email", ["ève@example.com", "ada", "ada@", "@example.com", "a b@example.com", "ada@example.com\r\nBcc: x@y"])
def test_an_address_that_mail_cannot_carry_is_refused(email: str) -> None:
    with pytest.raises(InvalidDocument):
        compose(asked(email=email), "key", NOW)
