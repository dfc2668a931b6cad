"""The sources file: what stands in it, and that everything wrong is said at once, with file and line."""

from pathlib import Path

import pytest

from loopwright.errors import InvalidDefinition
from loopwright.registry.definition import Rate
from loopwright.sources.loading import load_sources

GOOD = """\
webhooks:
  orders:
    team: sales
    tenant: acme
    actions: [crm.write]
    fields: {email: /data/customer/email, "phone?": /data/customer/phone}
    constants: {lead_source: shop}
    workflow: /data/number
    rate: {per_second: 10, burst: 20}
  plain:
schedules:
  nightly-report:
    cron: 0 2  * * MON-FRI
    zone: Europe/Berlin
    document: {day: "${date}", since: 2026-01-01}
    missed: run-all
    missed_within: 3h
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "sources.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(path: Path) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        load_sources(path)
    assert caught.value.remedy
    return str(caught.value)


def test_sources_are_read_with_their_defaults(tmp_path: Path) -> None:
    sources = load_sources(written(tmp_path, GOOD))
    orders, plain = sources.webhooks["orders"], sources.webhooks["plain"]
    assert (orders.team, orders.tenant, orders.actions, orders.rate) == ("sales", "acme", ("crm.write",), Rate(per_second=10, burst=20))
    assert (orders.secret_name, plain.secret_name, plain.team, plain.actions, plain.document) == (
        "webhook/orders",
        "webhook/plain",
        None,
        None,
        "",
    )
    nightly = sources.schedules["nightly-report"]
    assert (nightly.cron, nightly.zone, nightly.missed_within_ms) == ("0 2 * * MON-FRI", "Europe/Berlin", 3 * 3_600_000)
    assert nightly.document == {"day": "${date}", "since": "2026-01-01"}
    other = load_sources(written(tmp_path, "schedules: {a: {cron: '* * * * *', document: {}}}")).schedules["a"]
    assert (other.zone, other.missed, other.missed_within_ms) == ("UTC", "run-once", 24 * 3_600_000)


WRONG = """\
webhooks:
  Orders:
  leads:
    secrets: x
    document: data
    rate: {per_second: 0}
  two:
    document: /data
    fields: {a: /a}
  twice:
    fields: {"a?": /a}
    constants: {a: 1}
  bare: 3
  secret:
    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
schedules:
  two:
    cron: 61 * * * *
    zone: Europe
    document: {a: "${now}"}
    missed: run-twice
    missed_within: 30
  never:
    name: never
  feb:
    cron: 0 0 30 2 *
  long:
    cron: 0 8 * * *
    document: {}
    missed_within: 800h
hooks: {}
"""


def test_everything_wrong_is_said_at_once_with_its_line_and_what_to_do(tmp_path: Path) -> None:
    text = complaint(written(tmp_path, WRONG))
    for expected in (
        "sources.yaml:2: Orders.name: 'Orders'",
        "sources.yaml:4: leads.secrets: is not a field of a webhook; known fields: actions, constants, document, fields, rate, secret",
        "sources.yaml:5: leads.document: 'data' is not a JSON pointer; write it as in /data/customer/email",
        "sources.yaml:6: leads.rate.per_second: 0",
        "sources.yaml:7: two: the definition",
        "has document and fields: write what the document is, or the fields that it is made of",
        "gives the field 'a' twice",
        "sources.yaml:13: bare: is not a mapping",
        "sources.yaml:15: secret.secret: ",
        "looks like a secret; write its name",
        "sources.yaml:18: two.cron: '61 * * * *' is not a cron expression (Bad minute); write minute, hour",
        "sources.yaml:19: two.zone: 'Europe' is not a time zone",
        "sources.yaml:20: two.document: {'a': '${now}'} has ${now} in it; known are ${at}, ${date}, ${schedule}; write $${now}",
        "sources.yaml:21: two.missed: 'run-twice'",
        "write run-once, run-all or skip",
        "sources.yaml:22: two.missed_within: 30 has no unit",
        "sources.yaml:24: never.name: is not a field; the key 'never' is the name",
        "sources.yaml:26: feb.cron: '0 0 30 2 *'",
        "sources.yaml:25: feb.document: is missing; write the fields of the workflow's document",
        "sources.yaml:30: long.missed_within: '800h'",
        "write a duration from 1m to 744h",
        "sources.yaml:31: hooks: is not known here; write webhooks or schedules",
        "sources.yaml:17: two: is the name of a webhook too; choose another",
    ):
        assert expected in text, text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "webhooks: [a]\n",
        "schedules: {a: &x {cron: '* * * * *', document: {a: *x}}}\n",
        "schedules: {a: {cron: '* * * * *', document: {a: 99999999999999999999}}}\n",
        "webhooks: {a: {constants: {x: 99999999999999999999}}}\n",
        "webhooks: {a: {}, a: {}}\n",
        "webhooks: {1: {}}\n",
        "schedules: {a: {cron: 5, document: 5}}\n",
        "webhooks: {a: {fields: {b: 5}}}\n",
        "webhooks: {a: {workflow: number}}\n",
        "webhooks: {a: {name: [b]}}\n",
        "webhooks: {a: !!python/object:os.system x}\n",
        "a: \xff[",
    ],
)
def test_hostile_yaml_is_a_problem_with_a_line_and_not_a_crash(tmp_path: Path, text: str) -> None:
    assert "sources.yaml:1: " in complaint(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml is no file" in complaint(tmp_path / "nowhere.yaml")
    assert complaint(tmp_path)
