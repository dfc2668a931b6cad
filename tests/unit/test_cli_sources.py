"""`loopwright sources`: what it says of a file that is right, of one that is wrong, and of secrets that are not there."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.schedule import schedule
from loopwright.cli.sources import check, list_sources
from loopwright.edges.secrets import new_key
from loopwright.errors import InvalidDefinition, InvalidSettings, NotFound
from loopwright.settings import read_settings

SOURCES = """\
webhooks: {orders: {team: sales, tenant: acme}}
schedules: {nightly: {cron: 0 2 * * MON-FRI, zone: Europe/Berlin, document: {}}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "sources.yaml"
    made.write_text(SOURCES)
    monkeypatch.setenv("LOOPWRIGHT_SOURCES_FILE", str(made))
    monkeypatch.setenv("LOOPWRIGHT_SECRETS_FILE", str(secrets(tmp_path, {"webhook/orders": new_key(b"k" * 32)})))
    monkeypatch.setenv("LOOPWRIGHT_GATEWAY_URL", "https://gateway.example/")
    return made


def secrets(folder: Path, content: dict[str, str]) -> Path:
    made = folder / "secrets.json"
    made.write_text(json.dumps(content))
    made.chmod(0o600)
    return made


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_file_that_is_right_is_said_to_be(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check()
    said = capsys.readouterr().out
    assert "ok orders" in said
    assert "At 02:00 on Monday through Friday, Europe/Berlin" in said
    assert "2 sources in" in said
    check(as_json=True)
    assert printed(capsys) == {"file": str(file), "webhooks": ["orders"], "schedules": ["nightly"]}


def test_a_file_that_is_wrong_is_an_error_with_its_line(file: Path) -> None:
    file.write_text(SOURCES.replace("MON-FRI", "MO-FR"))
    with pytest.raises(InvalidDefinition, match=r"sources\.yaml:2: nightly\.cron: "):
        check()


def test_a_webhook_without_its_secret_is_told_with_where_to_write_it(file: Path) -> None:
    known = secrets(file.parent, {"callback": new_key(b"k" * 32)})
    with pytest.raises(NotFound, match="webhook/orders") as caught:
        check()
    assert str(known) in caught.value.remedy


def test_addresses_and_next_times_are_listed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_sources(times=5, as_json=True)
    told = printed(capsys)
    (orders,), (nightly,) = told["webhooks"], told["schedules"]
    assert (orders["address"], orders["team"], orders["tenant"]) == ("https://gateway.example/webhooks/orders", "sales", "acme")
    times = [datetime.fromisoformat(time) for time in nightly["next"]]
    assert len(times) == 5
    assert times == sorted(times)
    assert all((time.hour, time.minute, time.weekday() < 5) == (2, 0, True) for time in times)
    list_sources(file, times=2)
    said = capsys.readouterr().out
    assert all(word in said for word in ("https://gateway.example/webhooks/orders", "nightly", nightly["next"][1], "0 2 * * MON-FRI"))


def test_without_a_file_what_to_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPWRIGHT_SOURCES_FILE", raising=False)
    for asked in (check, list_sources, lambda: schedule(read_settings(), 0, "127.0.0.1")):
        with pytest.raises(InvalidSettings, match="LOOPWRIGHT_SOURCES_FILE is not set"):
            asked()
