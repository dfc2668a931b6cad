"""An HTTP answer as plain data."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers (lower case)."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
