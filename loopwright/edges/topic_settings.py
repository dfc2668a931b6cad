"""Topics that are there beside topics as they should be: how they differ, and altering their settings.

What is compared are the settings that a `TopicSpec` names; whatever else somebody has set on a topic stays. The number of partitions is
shown and never altered here: where a workflow's records are follows from it.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports them without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from loopwright.edges.kafka import TopicSpec, bootstrap_servers, client_config, ensure_topics, topics
from loopwright.edges.translate import kafka_error
from loopwright.errors import LoopwrightError, Unreachable
from loopwright.settings import Settings

PARTITIONS = "partitions"
TIERED = "remote.log.storage.system.enable"
_DEADLINE_S = 15.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of a topic (or its `partitions`): its value on the brokers and the one that is wanted."""

    topic: str
    setting: str
    found: str
    wanted: str

    @property
    def alterable(self) -> bool:
        """Whether `alter` changes it."""
        return self.setting != PARTITIONS


def has_tiered_storage(settings: Settings) -> bool:
    """Whether the brokers have tiered storage, by the settings of one of them. Raises InvalidSettings where those may not be read."""
    client = AdminClient(client_config(settings))
    what = "whether the brokers have tiered storage cannot be asked"
    try:
        broker = min(client.list_topics(timeout=_DEADLINE_S).brokers)
    except ck.KafkaException as error:
        raise _translated(error, what, settings) from error
    (future,) = client.describe_configs([ConfigResource(ResourceType.BROKER, str(broker))], request_timeout=_DEADLINE_S).values()
    found = _result(future, what, settings).get(TIERED)
    return found is not None and found.value == "true"


def for_these_brokers(settings: Settings, wanted: Iterable[TopicSpec]) -> list[TopicSpec]:
    """The topics with the settings of their tiers where the brokers have them; elsewhere the same records stay on the disks for as long."""
    specs = list(wanted)
    tiered = any(spec.tiers for spec in specs) and has_tiered_storage(settings)
    return [replace(spec, config=spec.config | spec.tiers) if tiered else spec for spec in specs]


def settle_topics(settings: Settings, wanted: Iterable[TopicSpec], alter_present: bool) -> list[str]:
    """Make the topics that are missing and return their names; with `alter_present` give those that are there their settings."""
    specs = for_these_brokers(settings, wanted)
    made = ensure_topics(settings, specs)
    present = [spec for spec in specs if spec.name not in made]
    if alter_present and present:
        alter(settings, differences(settings, present))
    return made


def differences(settings: Settings, wanted: Iterable[TopicSpec]) -> list[Difference]:
    """How the topics that are there differ from `wanted`, in its order. One that is not there differs in nothing. Raises as `topics`."""
    there = topics(settings)
    specs = [spec for spec in wanted if spec.name in there]
    if not specs:
        return []
    client = AdminClient(client_config(settings))
    asked = {spec.name: ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs}
    told = client.describe_configs(list(asked.values()), request_timeout=_DEADLINE_S)
    found = {name: _result(told[one], f"the settings of topic {name} cannot be read", settings) for name, one in asked.items()}
    return [one for spec in specs for one in _of(spec, there[spec.name], {name: entry.value for name, entry in found[spec.name].items()})]


def _of(spec: TopicSpec, partitions: int, found: dict[str, str | None]) -> Iterator[Difference]:
    if partitions != spec.partitions:
        yield Difference(spec.name, PARTITIONS, str(partitions), str(spec.partitions))
    for name, value in spec.config.items():
        if found.get(name) != value:
            yield Difference(spec.name, name, found.get(name) or "", value)


def alter(settings: Settings, wanted: Sequence[Difference]) -> None:
    """Give the topics the settings that are wanted, those of a topic together. Raises InvalidSettings for what the brokers refuse."""
    by_topic: dict[str, list[ConfigEntry]] = {}
    for one in wanted:
        if one.alterable:
            by_topic.setdefault(one.topic, []).append(ConfigEntry(one.setting, one.wanted, incremental_operation=AlterConfigOpType.SET))
    if not by_topic:
        return
    client = AdminClient(client_config(settings))
    asked = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name, entries in by_topic.items()]
    for resource, future in client.incremental_alter_configs(asked, request_timeout=_DEADLINE_S).items():
        _result(future, f"the settings of topic {resource.name} cannot be altered", settings)


def _result(future: "Future[Any]", what: str, settings: Settings) -> Any:
    try:
        return future.result(timeout=_DEADLINE_S + 1)
    except TimeoutError as error:
        raise Unreachable(what, f"{bootstrap_servers(settings)} does not answer", "try again") from error
    except ck.KafkaException as error:
        raise _translated(error, what, settings) from error


def _translated(error: ck.KafkaException, what: str, settings: Settings) -> LoopwrightError:
    said = error.args[0]
    return kafka_error(said.name(), said.str(), what, bootstrap_servers(settings), said.retriable())
