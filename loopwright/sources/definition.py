"""The definitions in the sources file: webhooks, which an outside system POSTs to, and schedules, which go by the clock."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from loopwright.registry.definition import Action, Name, Part, Rate, SecretName, Tenant
from loopwright.registry.durations import to_ms
from loopwright.sources.pointers import check_pointer
from loopwright.sources.template import NAMES, unknown
from loopwright.sources.times import check_cron, check_zone

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LONGEST_BACK_MS = 31 * 24 * HOUR_MS
OPTIONAL = "?"  # at the end of a field's name: it may be missing in the payload


def _duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("has no unit; write a number and s, m or h, as in 24h")
    return to_ms(value)


def _json(value: Any) -> Any:
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"is not JSON: {error}; write plain JSON values") from error
    return value


def _template(value: dict[str, Any]) -> dict[str, Any]:
    nameless = next(unknown(_json(value)), None)
    if nameless is not None:
        known = ", ".join(f"${{{name}}}" for name in NAMES)
        raise ValueError(f"has ${{{nameless}}} in it; known are {known}; write $${{{nameless}}} for the text itself")
    return value


SourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
Pointer = Annotated[str, Field(max_length=512), AfterValidator(check_pointer)]
FieldName = Annotated[str, Field(min_length=1, max_length=256)]
Json = Annotated[dict[str, Any], AfterValidator(_json)]


class Source(Part):
    """What all sources have: the workflows' team (None: the default one), tenant (None: none) and the actions allowed (None: all)."""

    name: SourceName
    team: Name | None = None
    tenant: Tenant | None = None
    actions: tuple[Action, ...] | None = Field(None, max_length=64)


class Webhook(Source):
    """An address of the gateway, `/webhooks/NAME`, where each signed delivery starts a workflow.

    `secret` is the name of the signing secret (None: `webhook/NAME`). The workflow's document is what stands at `document` in the payload,
    or one made of `fields` (a name that ends in `?`: left out where the payload lacks it); `constants` are added to either. `workflow` is
    where the payload holds what the workflow's id is made of (None: it is made of the delivery's id). `rate` bounds the deliveries that one
    gateway takes.
    """

    secret: SecretName | None = None
    document: Pointer = ""
    fields: dict[FieldName, Pointer] = Field(default_factory=dict)
    constants: Json = Field(default_factory=dict)
    workflow: Pointer | None = None
    rate: Rate | None = None

    @property
    def secret_name(self) -> str:
        """The name of its signing secret in the secrets file."""
        return self.secret or f"webhook/{self.name}"

    @model_validator(mode="after")
    def _one_document(self) -> Self:
        if self.fields and self.document:
            raise ValueError("has document and fields: write what the document is, or the fields that it is made of")
        twice = _twice([*(name.removesuffix(OPTIONAL) for name in self.fields), *self.constants])
        if twice is not None:
            raise ValueError(f"gives the field {twice!r} twice; write it once, under fields or under constants")
        return self


class Schedule(Source):
    """Workflows that start when `cron` is due in `zone`, each on `document` (see `loopwright.sources.template`).

    `missed` says what becomes of times that passed while nothing ran, up to `missed_within_ms` ago: one start for the last of them, a start
    for each, or none.
    """

    cron: Annotated[str, AfterValidator(check_cron)]
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    document: Annotated[dict[str, Any], AfterValidator(_template)]
    missed: Literal["run-once", "run-all", "skip"] = "run-once"
    missed_within_ms: Annotated[int, BeforeValidator(_duration), Field(ge=MINUTE_MS, le=LONGEST_BACK_MS)] = Field(
        24 * HOUR_MS, validation_alias=AliasChoices("missed_within_ms", "missed_within")
    )


class Sources(Part):
    """All sources, by name."""

    webhooks: dict[str, Webhook] = Field(default_factory=dict)
    schedules: dict[str, Schedule] = Field(default_factory=dict)


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
