"""The agent definition: what a person writes in YAML and what travels through the topic agent-definitions as JSON.

(team, name, version) names one definition for good; only its endpoint and auth may change afterwards (see `loopwright.registry.change`).
Durations are whole milliseconds here; the keys `timeout`, `callback_timeout`, `initial` and `max` take "30s" and the like.
"""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from loopwright.errors import InvalidDefinition
from loopwright.masking import masked
from loopwright.registry.addresses import network_of
from loopwright.registry.durations import to_ms

YOUNG = frozenset({"allow_addresses", "rate", "tenants", "actions"})  # fields that came after the first definitions were published
TENANT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_MS = 7 * 24 * 3_600_000


def _duration(value: object) -> object:
    return to_ms(value) if isinstance(value, str) else value


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user or a password in it; credentials do not belong in a definition")
    if parts.fragment or not value.isascii() or any(letter <= " " for letter in value):
        raise ValueError("has a fragment, a space or a letter that a URL does not allow")
    _ = parts.port  # raises ValueError for a port out of range
    return value


def _secret_name(value: str) -> str:
    if masked(value) != value:
        raise ValueError("looks like a secret; write its name, and the secret itself into the secrets file")
    return value


def _network(value: str) -> str:
    return str(network_of(value))


def _name(value: str) -> str:
    if value == "none":
        raise ValueError("is what a router answers when no agent fits, so no agent may be called so")
    return value


Name = Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64), AfterValidator(_name)]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128), AfterValidator(_secret_name)]
Tenant = Annotated[str, Field(pattern=TENANT)]
Action = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Allowed = Annotated[str, AfterValidator(_network)]
Millis = Annotated[int, BeforeValidator(_duration), Field(ge=1, le=MAX_MS, strict=True)]


class Part(BaseModel):
    """Definitions and their parts never change, and hold no field that this version does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RetryPolicy(Part):
    """How often a call is made, and how long is waited in between: `initial_ms * multiplier ** n`, at most `max_ms`."""

    attempts: int = Field(5, ge=1, le=100, strict=True)
    initial_ms: Millis = Field(200, validation_alias=AliasChoices("initial_ms", "initial"))
    max_ms: Millis = Field(10_000, validation_alias=AliasChoices("max_ms", "max"))
    multiplier: float = Field(2.0, ge=1.0, le=100.0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.initial_ms > self.max_ms:
            raise ValueError(f"initial ({self.initial_ms} ms) is longer than max ({self.max_ms} ms)")
        return self


class Cost(Part):
    """What a call costs, in the currency of the budgets."""

    per_call: float = Field(0.0, ge=0.0, allow_inf_nan=False)


class Rate(Part):
    """How often an agent is called, per operator instance: `per_second` in the long run, `burst` at once after a time of quiet."""

    per_second: float = Field(gt=0.0, le=100_000.0, allow_inf_nan=False)
    burst: int = Field(1, ge=1, le=100_000, strict=True)


class Auth(Part):
    """How a call proves who makes it: not at all, by a bearer token, or by a client certificate.

    `secret` is the name of what it proves itself with, never that itself; None: `agent/TEAM/NAME`.
    """

    type: Literal["none", "bearer", "mtls"] = "none"
    secret: SecretName | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a field that readers from before it would refuse."""
        return {name: value for name, value in handler(self).items() if value is not None}


class AgentDefinition(Part):
    """One agent in one version.

    `input` and `output` are JSON Schemas (2020-12) of type object with `properties`; `loopwright.registry.contract.Contract` compiles them.
    `after` names agents of the same team; `concurrency` is the number of calls at a time per operator instance. `allow_addresses` are
    networks that this agent may be called in although agents are never called there (see `loopwright.registry.addresses`). `tenants` are
    those whose workflows may use it (none named: all), `actions` the effects on the world that it may have.
    """

    name: Name
    team: Name = "default"
    version: int = Field(ge=1, le=2**31 - 1, strict=True)
    description: str = Field(min_length=1, max_length=4000)
    kind: Literal["http"] = "http"
    input: dict[str, Any]
    output: dict[str, Any]
    endpoint: Annotated[str, Field(max_length=2048), AfterValidator(_endpoint)]
    reply: Literal["response", "callback"] = "response"
    after: tuple[Name, ...] = ()
    terminal: bool = Field(False, strict=True)
    timeout_ms: Millis = Field(30_000, validation_alias=AliasChoices("timeout_ms", "timeout"))
    callback_timeout_ms: Millis = Field(600_000, validation_alias=AliasChoices("callback_timeout_ms", "callback_timeout"))
    retry: RetryPolicy = RetryPolicy()
    concurrency: int = Field(32, ge=1, le=10_000, strict=True)
    rate: Rate | None = None
    cost: Cost = Cost()
    auth: Auth = Auth()
    allow_addresses: tuple[Allowed, ...] = Field((), max_length=64)
    tenants: tuple[Tenant, ...] = Field((), max_length=1000)
    actions: tuple[Action, ...] = Field((), max_length=64)
    examples: tuple[Any, ...] = ()

    @property
    def ref(self) -> str:
        """`team/name@version`: the definition's key in the topic agent-definitions."""
        return f"{self.team}/{self.name}@{self.version}"

    @property
    def auth_secret(self) -> str:
        """The name of the secret that a call proves itself with; empty where it need not."""
        return "" if self.auth.type == "none" else self.auth.secret or f"agent/{self.team}/{self.name}"

    @model_validator(mode="after")
    def _provable(self) -> Self:
        if self.auth.type == "mtls" and urlsplit(self.endpoint).scheme != "https":
            raise ValueError("auth.type is mtls, so the endpoint must be https")
        return self

    def to_json(self) -> bytes:
        """The definition as JSON, the same bytes for the same definition.

        Fields of YOUNG are left out where they have their default: readers from before such a field refuse one that they do not know.
        """
        left_out = {name for name in YOUNG if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True)}
        return orjson.dumps(self.model_dump(mode="json", exclude=left_out), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """The definition in `value`. Raises InvalidDefinition naming each field that is wrong."""
        try:
            return cls.model_validate(orjson.loads(value))
        except orjson.JSONDecodeError as error:
            raise InvalidDefinition("an agent definition is not JSON", str(error), "publish it with `loopwright agents apply`") from error
        except ValidationError as error:
            why = "; ".join(problem(found) for found in error.errors(include_url=False))
            raise InvalidDefinition("an agent definition cannot be used", why, "publish it with `loopwright agents apply`") from error


def problem(found: Any, what: str = "an agent definition") -> str:
    """One of pydantic's errors in a line: the field of `what`, the offending value (80 letters of it), and what is wrong."""
    field = ".".join(map(str, found["loc"])) or "the definition"
    message = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "missing":
        return f"{field}: is missing"
    if found["type"] == "extra_forbidden":
        return f"{field}: is not a field of {what}"
    return f"{field}: {cut(found['input'])} {message[:1].lower()}{message[1:]}"


def cut(value: object, length: int = 80) -> str:
    """`value` as it would be written in Python, cut to `length` letters."""
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"
