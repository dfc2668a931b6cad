"""Answers that are no success: application/problem+json. Source: RFC 9457."""

from collections.abc import Mapping, Sequence

import orjson

from loopwright.agent.answer import Answer

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, kind: str, title: str, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> Answer:
    """A problem of a `kind` (a word to tell problems apart by). `errors` are further lines, such as the broken parts of a contract."""
    body = {"type": f"urn:loopwright:{kind}", "title": title, "status": status, "detail": detail}
    if errors:
        body["errors"] = list(errors)
    return Answer(status, orjson.dumps(body), {"content-type": MEDIA_TYPE, **(headers or {})})


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer
