"""A schema registry that speaks Confluent's API: what is registered there, under which ids, and whether it may be.

A thin typed layer over confluent-kafka's client, which knows the ways to log in (basic, bearer, OAuth, client certificates). Its errors
come out as `loopwright.errors`. The client is imported when it is needed: that takes half a second, which no command is to wait in vain.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopwright.edges.platform.ports import HOST, read_ports
from loopwright.errors import Conflict, InvalidSettings, LoopwrightError, NotFound, Retryable, Terminal, Unreachable
from loopwright.masking import masked
from loopwright.settings import Settings
from loopwright.subjects import COMPATIBILITY, Kind, Subject

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

LOCAL = "registry"  # the local platform's part
API = "/apis/ccompat/v7"  # where Apicurio has Confluent's API
_CLIENT = {"timeout": 5.0, "max.retries": 2, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}
_UP = "start the local platform with `loopwright up --registry`, or set LOOPWRIGHT_REGISTRY__URL"


def registry_url(settings: Settings) -> str:
    """The registry's address: as set, else the local platform's if it has ever run one. Raises Unreachable where there is neither."""
    if settings.registry.url:
        return settings.registry.url
    ports = settings.home / "run" / "ports.json"
    port = read_ports(ports).get(LOCAL)
    if port is None:
        raise Unreachable("no schema registry is known", f"LOOPWRIGHT_REGISTRY__URL is empty and {ports} names no local registry", _UP)
    return f"http://{HOST}:{port}{API}"


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema in the registry: its id, its GUID (empty where the registry has none), its version in its subject."""

    id: int
    guid: str = ""
    version: int | None = None


class SchemaRegistry:
    """The registry of `settings`. The client is made on first use; `close` lets go of it. Every method raises as `_translated` says.

    `client` is one to be used instead, such as the double that confluent-kafka has.
    """

    def __init__(self, settings: Settings, client: "SchemaRegistryClient | None" = None) -> None:
        self.settings = settings
        self._client = client

    def open(self) -> "SchemaRegistryClient":
        """Make the client. Raises Unreachable where no registry is known, InvalidSettings where the client refuses its settings."""
        from confluent_kafka.schema_registry import SchemaRegistryClient

        if self._client is None:
            url = registry_url(self.settings)
            try:
                self._client = SchemaRegistryClient.new_client({"url": url, **_CLIENT, **self.settings.registry.client})
            except (ValueError, TypeError, OSError) as error:
                remedy = "correct LOOPWRIGHT_REGISTRY__URL and LOOPWRIGHT_REGISTRY__CLIENT (basic.auth.*, bearer.auth.*, ssl.*)"
                raise InvalidSettings("the registry's client cannot be made", masked(str(error)), remedy) from error
        return self._client

    def close(self) -> None:
        """Let go of the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def schema(self, number: int) -> tuple[str, str]:
        """Type (AVRO, JSON, PROTOBUF) and text of the schema with an id. Raises NotFound."""
        with self._translated(f"schema {number} cannot be had"):
            found = self.open().get_schema(number)
        return found.schema_type or "AVRO", found.schema_str or ""

    def registered(self, subject: Subject, kind: Kind) -> Registered:
        """Under which id our schema is registered. Raises NotFound where it is not."""
        name = subject.subject(kind, self.settings.topics)
        with self._translated(f"{name} has not the schema that this Loopwright writes"):
            return _registered(self.open().lookup_schema(name, _schema(subject, kind)))

    def versions(self, subject: Subject, kind: Kind) -> Mapping[int, str]:
        """Id and text of every version of a subject; none where it is not there."""
        name, client = subject.subject(kind, self.settings.topics), self.open()
        try:
            with self._translated(f"{name} cannot be read"):
                every = [client.get_version(name, number) for number in client.get_versions(name)]
        except NotFound:
            return {}
        return {_registered(found).id: found.schema.schema_str or "" for found in every}

    def compatible(self, subject: Subject, kind: Kind) -> bool:
        """Whether our schema may be the next version of its subject: with `COMPATIBILITY`, or what the subject is set to."""
        name = subject.subject(kind, self.settings.topics)
        try:
            with self._translated(f"{name} cannot be checked"):
                return bool(self.open().test_compatibility_all_versions(name, _schema(subject, kind)))
        except NotFound:
            return True

    def register(self, subject: Subject, kind: Kind) -> Registered:
        """Register our schema, once; from then on the registry takes only versions that are compatible. Raises Conflict where ours is not.

        The rule is set before a further version is registered, and after the first: Apicurio sets none for what it does not know.
        """
        name, client = subject.subject(kind, self.settings.topics), self.open()
        with self._translated(f"{name} cannot be registered"):
            if known := name in client.get_subjects():
                self._guard(client, name)
            made = client.register_schema_full_response(name, _schema(subject, kind))
            if not known:
                self._guard(client, name)
        return self.registered(subject, kind) if made.version is None else _registered(made)

    def _guard(self, client: "SchemaRegistryClient", name: str) -> None:
        from confluent_kafka.schema_registry import ConfigCompatibilityLevel, ServerConfig

        client.set_config(name, ServerConfig(compatibility=ConfigCompatibilityLevel(COMPATIBILITY)))

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Vendor errors into ours. Raises Unreachable, InvalidSettings (it lets us not in), NotFound, Conflict, Terminal."""
        from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

        try:
            yield
        except SchemaRegistryError as error:
            raise _refusal(error, what, masked(registry_url(self.settings))) from error
        except OAuthTokenError as error:
            remedy = "correct bearer.auth.* in LOOPWRIGHT_REGISTRY__CLIENT"
            raise InvalidSettings(what, f"no token was had for the registry: {masked(str(error))}", remedy) from error
        except LoopwrightError:
            raise
        except Exception as error:
            if not any(kind.__name__ == "TransportError" for kind in type(error).__mro__):  # of whichever httpx the client came with
                raise
            why = f"{masked(registry_url(self.settings))}: {masked(str(error)) or type(error).__name__}"
            raise Unreachable(what, why, _UP + " to one that answers") from error


def _schema(subject: Subject, kind: Kind) -> "Schema":
    from confluent_kafka.schema_registry import Schema

    return Schema(subject.text(kind), kind)


def _registered(found: Any) -> Registered:
    return Registered(int(found.schema_id), found.guid or "", found.version)


def _refusal(error: "SchemaRegistryError", what: str, url: str) -> LoopwrightError:
    status, why = error.http_status_code, f"{url} answered {error.http_status_code}: {masked(str(error.error_message))}"
    if status in (401, 403):
        return InvalidSettings(what, why, "correct LOOPWRIGHT_REGISTRY__CLIENT (basic.auth.*, bearer.auth.*, ssl.*), or that user's rights")
    if status == 404:
        return NotFound(what, why, "`loopwright schemas register` registers what is missing; `loopwright schemas list` shows what is there")
    if status == 409:
        remedy = "register it under topics of its own, or upgrade Loopwright first where a newer one has registered its schemas"
        return Conflict(what, why, remedy)
    if status in (408, 429) or status >= 500:
        return Retryable(what, why, "try again in a moment; the registry's own log says more")
    return Terminal(what, why, "the registry's own log says more")
