"""A webhook's payload as a workflow: its document and its id. What the payload lacks is said with the pointer that asked for it."""

import re
from collections.abc import Mapping
from typing import Any

from loopwright.errors import InvalidDocument
from loopwright.message import record_id
from loopwright.sources.definition import OPTIONAL, Webhook
from loopwright.sources.pointers import resolve

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_REMEDY = "correct the definition of the webhook, or have its sender send that"


def document_of(webhook: Webhook, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The document that `payload` stands for. Raises InvalidDocument, naming the pointer, where the payload lacks it."""
    if webhook.fields:
        return {**_fields(webhook, payload), **webhook.constants}
    found = _at(webhook, payload, webhook.document)
    if not isinstance(found, dict):
        raise _unfit(webhook, f"what stands at {webhook.document!r} is no JSON object")
    return {**found, **webhook.constants}


def workflow_of(webhook: Webhook, payload: Mapping[str, Any], delivery: str) -> str:
    """The workflow's id: the same for every attempt at one delivery, whichever gateway takes it.

    It begins with the webhook's name, so that no source can name a workflow of another one. Raises InvalidDocument.
    """
    if webhook.workflow is None:
        return f"{webhook.name}:{record_id(webhook.name, 0, delivery, 'webhook')[:20]}"
    found = _at(webhook, payload, webhook.workflow)
    text = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    if not isinstance(text, str) or not _ID.fullmatch(text):
        why = f"what stands at {webhook.workflow!r} is no id: a whole number, or up to 128 letters, digits, dots, hyphens, _ and :"
        raise _unfit(webhook, why)
    return f"{webhook.name}:{text}"


def _fields(webhook: Webhook, payload: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, pointer in webhook.fields.items():
        try:
            document[name.removesuffix(OPTIONAL)] = _at(webhook, payload, pointer)
        except InvalidDocument:
            if not name.endswith(OPTIONAL):
                raise
    return document


def _at(webhook: Webhook, payload: Mapping[str, Any], pointer: str) -> Any:
    try:
        return resolve(payload, pointer)
    except LookupError as error:
        raise _unfit(webhook, f"{pointer}: {error.args[0]}") from error


def _unfit(webhook: Webhook, why: str) -> InvalidDocument:
    return InvalidDocument(f"the payload does not fit the webhook {webhook.name}", why, _REMEDY)
