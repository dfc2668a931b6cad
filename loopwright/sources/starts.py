"""The records by which sources start workflows. All in them follows from definition and event: the same start is the same record."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from loopwright.message import Message, record_id, trace_of
from loopwright.schemas import STARTED
from loopwright.sources.definition import Schedule, Webhook
from loopwright.sources.payload import document_of, workflow_of
from loopwright.sources.template import filled, values_at
from loopwright.sources.times import local_time


def start_data(
    document: Mapping[str, Any], team: str | None = None, tenant: str | None = None, actions: Sequence[str] | None = None
) -> dict[str, Any]:
    """The data of a start record; what is not said (None, empty) is left out."""
    data: dict[str, Any] = {"document": dict(document)} | ({"team": team} if team else {})
    data |= {"tenant": tenant} if tenant else {}
    return data if actions is None else {**data, "actions": list(actions)}


def delivered(webhook: Webhook, payload: Mapping[str, Any], delivery: str, now_ms: int, traceparent: str = "") -> Message:
    """The start that a delivery stands for; `delivery` is its webhook-id. Raises InvalidDocument where the payload does not fit."""
    workflow = workflow_of(webhook, payload, delivery)
    data = start_data(document_of(webhook, payload), webhook.team, webhook.tenant, webhook.actions)
    source = f"/loopwright/webhooks/{webhook.name}"
    name = record_id(workflow, 0, "", STARTED)
    return Message(name, STARTED, source, workflow, data, time_ms=now_ms, correlation=delivery, traceparent=traceparent)


def scheduled(schedule: Schedule, at_ms: int) -> Message:
    """The start for one of a schedule's times. Whoever makes it, and however often, it is the same record, byte by byte."""
    workflow = f"{schedule.name}:{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    document = filled(schedule.document, values_at(schedule.name, local_time(at_ms, schedule.zone)))
    data = start_data(document, schedule.team, schedule.tenant, schedule.actions)
    name, source = record_id(workflow, 0, "", STARTED), f"/loopwright/schedules/{schedule.name}"
    return Message(name, STARTED, source, workflow, data, time_ms=at_ms, traceparent=trace_of(workflow, 0))
