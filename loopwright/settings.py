"""All settings, and the one place that reads the environment.

Each is an environment variable: `LOOPWRIGHT_` and its name, as in `LOOPWRIGHT_LLM_BASE_URL`. Nested ones are joined by two underscores, as
in `LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS`. Or it is a file of that name in the folder `LOOPWRIGHT_SETTINGS_DIR`, as containers are given
their secrets; a variable wins.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NestedSecretsSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from loopwright.errors import InvalidSettings

FILES = "LOOPWRIGHT_SETTINGS_DIR"
DAY_MS = 24 * 3_600_000


class Frozen(BaseModel):
    """Settings never change after they were read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Topics(Frozen):
    """The topics' names."""

    messages: str = Field("agent-messages", description="What happens to workflows: starts, replies, failures.")
    decisions: str = Field("routing-decisions", description="Who is next, and why; written before anything acts on it.")
    questions: str = Field("routing-questions", description="Choices that are left to somebody else than the job's router.")
    callbacks: str = Field("agent-callbacks", description="Late replies of agents that answered 202.")
    definitions: str = Field("agent-definitions", description="Agent definitions (compacted).")
    results: str = Field("workflow-results", description="How workflows ended.")
    dead_letters: str = Field("agent-dead-letters", description="What could not be processed, with the original bytes and the reason.")
    progress: str = Field("agent-progress", description="Progress that agents report.")
    audit: str = Field("agent-audit", description="Who was refused what, and why.")
    schedules: str = Field("workflow-schedules", description="Up to when each schedule was dealt with (compacted).")


class Kafka(Frozen):
    """Where Kafka is, how to talk to it, and how topics are made there."""

    bootstrap_servers: str = Field("", description="host:port,...; empty: the local platform's broker.")
    client: dict[str, str] = Field(default_factory=dict, description="Passed on to every client: security.protocol, sasl.*, ssl.*")
    partitions: int = Field(
        4, ge=1, description="Of each topic that is made. Take more than you need: the most instances the job may ever have, twice."
    )
    replication: int = Field(
        -1, ge=-1, le=32_767, description="Copies of each partition of a topic that is made; -1: the broker's default."
    )


class Retention(Frozen):
    """How long records are kept. What is older than the first two tiers is for an archive that reads the topics."""

    hot_ms: int = Field(
        7 * DAY_MS, ge=-1, description="How long what happens to workflows stays on the brokers' disks, in ms; -1: for ever."
    )
    warm_ms: int = Field(0, ge=0, description="How much longer in the brokers' tiered storage, in ms; on their disks where they have none.")
    progress_ms: int = Field(DAY_MS, ge=-1, description="How long reports of progress stay, in ms; -1: for ever.")
    dead_letters_ms: int = Field(30 * DAY_MS, ge=-1, description="How long dead letters stay, in ms; -1: for ever.")
    audit_ms: int = Field(90 * DAY_MS, ge=-1, description="How long refusals of access stay, in ms; -1: for ever.")


class State(Frozen):
    """Where the job keeps what it knows, and the copies that it resumes from."""

    backend: Literal["hashmap", "rocksdb"] = Field(
        "hashmap", description="On the heap, or in RocksDB on the TaskManager's disk: for more state than the heap holds."
    )
    checkpoints: str = Field(
        "", description="A folder for checkpoints and savepoints; on a cluster of your own also s3://BUCKET/... Empty: in the state folder."
    )
    interval_ms: int = Field(5000, ge=100, description="Time between two checkpoints, in ms.")


class Registry(Frozen):
    """The schema registry, and how records name their schemas (docs/schemas.md)."""

    url: str = Field("", description="A schema registry with Confluent's API; empty: the local platform's, where it runs one.")
    client: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Passed on to its client: basic.auth.user.info, bearer.auth.*, ssl.*, timeout."
    )
    write: Literal["plain", "json", "json-header", "avro"] = Field(
        "plain", description="How records are written: JSON that names no schema, JSON or Avro behind its id, JSON with its id in a header."
    )


class Limits(Frozen):
    """What one message and one workflow may use up."""

    message_bytes: int = Field(1_000_000, description="A larger message is dead-lettered.")
    document_bytes: int = Field(512_000, description="A workflow whose document grows larger is parked.")
    nesting: int = Field(64, description="Levels of nesting in a message.")
    hops: int = Field(20, description="Decisions per workflow before it is parked.")
    deadline_ms: int = Field(DAY_MS, description="Wall clock per workflow, in ms, unless the start record says otherwise.")
    deduplication_ms: int = Field(
        3_600_000, description="How long a finished workflow is remembered, in ms; for ten minutes at the least after a start of the job."
    )
    in_flight: int = Field(1000, description="Calls in flight per operator instance before Kafka is held back.")
    waiting: int = Field(1000, description="Workflows per operator instance that wait for an open circuit before Kafka is held back.")


class Access(Frozen):
    """What workflows may use."""

    actions: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Actions that the agents of a workflow may take, by `tenant/NAME` and `team/NAME`; not listed: all.",
    )


class Circuit(Frozen):
    """When a model or an agent that fails is left alone, and for how long."""

    failures: int = Field(5, ge=1, description="Failures in a row after which a model or an agent is not called for a while.")
    pause_ms: int = Field(1000, ge=1, description="The first such pause, in ms; each further one is twice as long.")
    longest_pause_ms: int = Field(60_000, ge=1, description="The longest of these pauses, in ms.")
    refused_pause_ms: int = Field(300_000, ge=1, description="The pause, in ms, after a model refused the key (401, 403) or the credit.")
    gone_pause_ms: int = Field(3_600_000, ge=1, description="How long an agent that answered 410 is not called, in ms.")
    patience_ms: int = Field(900_000, ge=0, description="How long a workflow waits for such a pause to end before the call has failed.")


class Routing(Frozen):
    """How the next agent is chosen."""

    ask_when_only_one: bool = Field(False, description="Ask the model even where the contracts leave a single candidate.")
    prompt_bytes: int = Field(4000, description="The longest rendering of a document in a prompt; longer ones are cut by a fixed rule.")
    embedding_margin: float = Field(0.0, description="The offline router parks when the best two candidates are closer than this.")
    elsewhere: tuple[str, ...] = Field(
        (),
        description="Teams whose choices are left to whoever reads the topic of questions and writes decisions, as `sql/orchestrate.sql`.",
    )
    elsewhere_ms: int = Field(
        900_000, ge=1, le=3_600_000, description="How long such a choice is waited for, in ms, before the workflow is parked."
    )


class Cdc(Frozen):
    """A PostgreSQL whose rows start workflows."""

    database: str = Field("", description="The database whose changes `up` has followed, as `postgresql://USER@HOST:PORT/DATABASE`.")
    password_file: Path | None = Field(None, description="A file that holds that user's password.")
    tables: tuple[str, ...] = Field((), description="Its tables that are followed, as `public.leads`; none: `up` follows nothing.")
    prefix: str = Field("loopwright", description="Names the topics (PREFIX.SCHEMA.TABLE), the replication slot and the publication.")


class Platform(Frozen):
    """How the local platform is run."""

    supervisor: bool = Field(True, description="Whether `up` and `demo` leave a process behind that starts again what died.")
    task_managers: int = Field(1, ge=1, description="TaskManagers; with 2 the job moves to the other one when one dies.")
    parallelism: int = Field(1, ge=1, description="Instances of each operator, two per TaskManager at most; changed by `down` and `up`.")
    execution_mode: Literal["thread", "process"] = Field("thread", description="Python inside the TaskManager, or in a process of its own.")
    quick_start: bool = Field(True, description="JVMs that start fast; false: such that run faster, after a minute under load.")
    registry: bool = Field(False, description="Whether `up` and `demo` run a schema registry too, as `up --registry` does.")
    flink: dict[str, str] = Field(default_factory=dict, description="Flink options on top of those that the platform sets.")


class Settings(BaseSettings):
    """Everything that can be set. Frozen; made once, at the start of a process, and passed on."""

    model_config = SettingsConfigDict(env_prefix="LOOPWRIGHT_", env_nested_delimiter="__", frozen=True, extra="ignore")

    home: Path = Field(Path(".loopwright"), description="State folder of the local platform.")
    cache: Path = Field(Path("~/.cache/loopwright"), description="Jars fetched once per machine.")
    team: str = Field("sdr", description="The team that a workflow runs in when its start record names none.")
    default_team_dir: Path = Field(Path("agents/sdr"), description="The definitions that `up` and `demo` publish.")

    llm_base_url: str = Field("", description="An OpenAI-compatible endpoint, ending in /v1. Empty: the offline embedding router decides.")
    llm_model: str = Field("", description="The model's name at that endpoint; empty: the first that the endpoint lists.")
    llm_api_key: SecretStr = Field(SecretStr(""), description="Its key. Prefer llm_api_key_file.")
    llm_api_key_file: Path | None = Field(None, description="A file that holds the key, read when the job starts.")
    llm_for_agents: bool = Field(True, description="Whether the reference agents prompt the model as well; false: it routes, and no more.")
    llm_timeout_s: float = Field(60.0, description="Total time of one call to the model, in seconds.")
    llm_attempts: int = Field(5, description="Calls to the model for one question, retries after errors included.")
    llm_price_prompt: float = Field(0.0, description="Price per million prompt tokens, for the cost in each decision.")
    llm_price_completion: float = Field(0.0, description="Price per million completion tokens.")

    keys_file: Path | None = Field(
        None, description="A file with the keys of sensitive fields, for its owner's eyes alone: `loopwright keys`."
    )

    agents_url: str = Field("http://127.0.0.1:8801", description="Where the reference agents listen; `${AGENTS_URL}` in definitions.")
    agent_store: SecretStr = Field(
        SecretStr(""),
        description="Where agents of the SDK keep their answers: `sqlite:///FILE` or `postgresql://...`; empty: their state folder.",
    )
    gateway_url: str = Field("http://127.0.0.1:8800", description="Where callbacks and the lead form are served.")
    wakeup: Literal["auto", "mailbox", "timer"] = Field("auto", description="How finished calls reach the operator.")

    gateway_tokens_file: Path | None = Field(
        None, description="Who may start workflows, for which tenant (docs/security.md), mode 0600. Empty: anybody, for none."
    )
    secrets_file: Path | None = Field(None, description="Secrets by name (docs/security.md), mode 0600. Set: callbacks must be signed.")
    sources_file: Path | None = Field(None, description="Webhooks and schedules that start workflows (docs/sources.md).")

    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    registry: Registry = Registry()
    retention: Retention = Retention()
    state: State = State()
    limits: Limits = Limits()
    routing: Routing = Routing()
    access: Access = Access()
    circuit: Circuit = Circuit()
    cdc: Cdc = Cdc()
    platform: Platform = Platform()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings passes all five by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given wins over the environment, which wins over the folder of files where one is named."""
        folder = os.environ.get(FILES)
        files = (NestedSecretsSettingsSource(file_secret_settings, folder, "error"),) if folder else ()
        return init_settings, env_settings, *files

    def llm_key(self) -> str:
        """The model's API key from its file or its variable; empty where there is none."""
        if self.llm_api_key_file is not None:
            return self.llm_api_key_file.expanduser().read_text().strip()
        return self.llm_api_key.get_secret_value()

    def agents_secrets(self) -> Path | None:
        """The secrets file of an agent: as set, else the one that the local platform has made in its state folder, if it has."""
        made = self.home / "run" / "secrets.json"
        return self.secrets_file or (made if made.is_file() else None)

    def cache_dir(self) -> Path:
        """The cache folder with `~` expanded."""
        return self.cache.expanduser()

    def variables(self) -> Mapping[str, str]:
        """What `${NAME}` in an agent definition may stand for."""
        return {**os.environ, "AGENTS_URL": self.agents_url, "GATEWAY_URL": self.gateway_url}


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment, with `overrides` on top. Raises InvalidSettings naming each variable that is wrong."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        found = "; ".join(f"LOOPWRIGHT_{'__'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise InvalidSettings("a setting cannot be used", found, "correct the variable, or unset it to get the default") from error
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        where = f"{FILES} is {os.environ[FILES]}: " if FILES in os.environ else ""
        said = "a file is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        remedy = "correct the variable; a folder of settings has to be readable, with a file per setting"
        raise InvalidSettings("the settings cannot be read", where + said, remedy) from error


def described(model: type[BaseModel] = Settings, prefix: str = "LOOPWRIGHT_") -> list[tuple[str, str, str]]:
    """Every setting as (variable, default, meaning), in the order of the code: what docs/settings.md shows."""
    rows: list[tuple[str, str, str]] = []
    for name, info in model.model_fields.items():
        variable = prefix + name.upper()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Frozen):
            rows += described(info.annotation, f"{variable}__")
        else:
            default = info.get_default(call_default_factory=True)
            shown = default.get_secret_value() if isinstance(default, SecretStr) else default
            rows.append((variable, "" if shown in (None, {}, ()) else str(shown), info.description or ""))
    return rows


def as_markdown() -> str:
    """The table of all settings."""
    rows = [f"| `{variable}` | {f'`{default}`' if default else ''} | {meaning} |" for variable, default, meaning in described()]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
