"""What docs/sources.md shows is what the code does."""

import re
import subprocess
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from loopwright.sources.definition import Schedule, Source, Webhook
from loopwright.sources.loading import known_fields, load_sources
from loopwright.sources.starts import delivered

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[0]


def test_the_shown_file_can_be_used_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(block("yaml"))
    sources = load_sources(tmp_path / "sources.yaml")
    payload = {"data": {"number": 4711, "customer": {"email": "ada@example.com"}}}
    document = delivered(sources.webhooks["orders"], payload, "evt_1", 0).data["document"]
    assert document == {"email": "ada@example.com", "number": 4711, "lead_source": "shop"}
    assert sources.schedules["nightly-report"].zone == "Europe/Berlin"


@pytest.mark.parametrize("model", [Webhook, Schedule])
def test_the_tables_name_every_field_and_which_are_needed(model: type[Source]) -> None:
    section = TEXT.partition(f"\n## {model.__name__}s\n")[2].partition("\n## ")[0]
    shared = TEXT.partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| ", shared + section, re.MULTILINE))
    assert sorted(rows) == known_fields(model)
    needed = {name for name, field in model.model_fields.items() if field.is_required()} - {"name"}
    assert {name for name, default in rows.items() if default == "needed"} == needed


def test_the_shown_commands_sign_as_the_gateway_checks(tmp_path: Path) -> None:
    script = block("sh").replace("curl ", "printf '%s\\n' ")
    lines = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line.startswith("webhook-"))
    Verifier("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").verify(lines[-1], headers)
