"""send-email: puts mails into an outbox, each exactly once, however often the call is repeated."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.charset import QP, Charset
from email.header import Header
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.sdr.mails import one_line
from loopwright.agent import Agent, Task
from loopwright.errors import InvalidDocument

SENDER = "The sales team <sales@loopwright.example>"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
ADDRESS = re.compile(rf"{_ATOM}(\.{_ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
TEXT = Charset("utf-8")
TEXT.body_encoding = QP


def send_email(variables: Mapping[str, str], outbox: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Agent:
    """The agent, writing to the folder `outbox`."""
    agent = Agent(Path(__file__).with_name("send-email.yaml"), variables)

    @agent.handler
    def handle(task: Task) -> dict[str, Any]:
        messages = compose(task.input, task.idempotency_key, clock())
        for number, message in enumerate(messages, 1):
            put(outbox, message)
            task.progress(number, len(messages), f"mail {number} is in the outbox")
        return {"sent": [str(message["Message-ID"]) for message in messages], "outbox": str(outbox)}

    return agent


def compose(asked: Mapping[str, Any], key: str, now: datetime) -> Sequence[MIMEText]:
    """The messages of a call; their ids follow from the Idempotency-Key alone. Raises InvalidDocument for an unusable address."""
    to = addressed(asked["name"], asked["email"])
    return [_message(to, item, f"{sha256(key.encode()).hexdigest()[:32]}.{n}", now) for n, item in enumerate(asked["emails"], 1)]


def _message(to: str, item: Mapping[str, Any], name: str, now: datetime) -> MIMEText:
    message = MIMEText(item["body"], "plain", TEXT)  # type: ignore[arg-type]  # a Charset is taken since Python 3.5
    message["Message-ID"] = f"<{name}@loopwright.example>"
    message["Date"] = format_datetime(now)
    message["From"] = SENDER
    message["To"] = to
    message["Subject"] = worded(one_line(item["subject"], 200), len("Subject: "))
    message["X-Send-After-Days"] = str(int(item.get("send_after_days", 0)))
    return message


def addressed(name: str, email: str) -> str:
    """The value of a To header. Raises InvalidDocument for an address that is not plain ASCII of the usual form."""
    if len(email) > 254 or "=?" in email or not ADDRESS.fullmatch(email):
        raise InvalidDocument(
            "the mail cannot be addressed", f"the address is {email[:100]!r}", "correct the lead's e-mail address (ASCII)"
        )
    line = one_line(name)
    if not line:
        return email
    shown = quoted(line) if line.isascii() and "=?" not in line else worded(line, len("To: "))
    return f"{shown}{' ' if len(shown) + len(email) < 70 else chr(10) + ' '}<{email}>"


def quoted(text: str) -> str:
    """ASCII text as a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def worded(text: str, taken: int) -> str:
    """Text as it may stand in a header: as it is, or in encoded words where it is long, not ASCII, or looks encoded already.

    The newer `email.policy` is not used: Python 3.11's decodes an encoded word in the text, and with it a line break. Source: RFC 2047.
    """
    if text.isascii() and "=?" not in text and len(text) + taken <= 76:
        return text
    return Header(text, "utf-8", maxlinelen=76, header_name=" " * taken).encode()


def put(outbox: Path, message: MIMEText) -> Path:
    """Write the message to `new/` in the outbox in one step (as Maildir does); one that is there already stays as it is."""
    name = str(message["Message-ID"]).strip("<>").partition("@")[0] + ".eml"
    target = outbox / "new" / name
    draft = outbox / "tmp" / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
    for folder in (target.parent, draft.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return target
    with draft.open("wb") as file:
        file.write(written(message))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, target)
    except FileExistsError:
        pass  # another process was quicker with the same message
    finally:
        draft.unlink()
    return target


def written(message: MIMEText) -> bytes:
    """The message as it goes over the wire: lines end in CR LF."""
    return message.as_bytes(policy=compat32.clone(linesep="\r\n"))
