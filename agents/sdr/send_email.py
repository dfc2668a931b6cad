"""send-email: puts mails into an outbox, each exactly once, however often the call is repeated."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.sdr.mails import one_line
from loopwright.agent import Agent, Task
from loopwright.errors import InvalidDocument

SENDER = Address("The sales team", "sales", "loopwright.example")


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


def compose(asked: Mapping[str, Any], key: str, now: datetime) -> Sequence[EmailMessage]:
    """The messages of a call; their ids follow from the Idempotency-Key alone. Raises InvalidDocument for an unusable address."""
    try:
        to = Address(one_line(asked["name"]), addr_spec=asked["email"])
        return [_message(to, item, f"{sha256(key.encode()).hexdigest()[:32]}.{n}", now) for n, item in enumerate(asked["emails"], 1)]
    except (ValueError, LookupError) as error:
        why = f"{asked['email']!r:.120}: {error}"
        raise InvalidDocument("the mail cannot be addressed", why, "correct the lead's e-mail address (plain ASCII)") from error


def _message(to: Address, item: Mapping[str, Any], name: str, now: datetime) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = f"<{name}@loopwright.example>"
    message["Date"] = now
    message["From"] = SENDER
    message["To"] = to
    message["Subject"] = one_line(item["subject"], 200)
    message["X-Send-After-Days"] = str(int(item.get("send_after_days", 0)))
    message.set_content(item["body"])
    message.as_bytes()  # what cannot be written is found now, before anything is
    return message


def put(outbox: Path, message: EmailMessage) -> Path:
    """Write the message to `new/` in the outbox in one step (as Maildir does); one that is there already stays as it is."""
    name = str(message["Message-ID"]).strip("<>").partition("@")[0] + ".eml"
    target = outbox / "new" / name
    draft = outbox / "tmp" / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
    for folder in (target.parent, draft.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return target
    with draft.open("wb") as file:
        file.write(message.as_bytes())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, target)
    except FileExistsError:
        pass  # another process was quicker with the same message
    finally:
        draft.unlink()
    return target
