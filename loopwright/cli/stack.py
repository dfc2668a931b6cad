"""Which parts make up the local platform: the one composition that `up`, `demo`, `down` and `status` share.

Kafka with the product's topics, Flink with the job, the agents, the gateway; where there are schedules what starts them, and a schema
registry where one is asked for. An address in the settings that is not on this machine is somebody else's: that part is used, not started.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from loopwright.cli.agents import apply_team
from loopwright.cli.schemas import register_all
from loopwright.edges.access import check_access
from loopwright.edges.platform import connect
from loopwright.edges.platform.code import JOB, PACKAGE, ROOT
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.copies import folder_named
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import read_ports
from loopwright.edges.platform.services import Endpoints, Service
from loopwright.edges.private_file import write_private
from loopwright.edges.registry import API
from loopwright.edges.registry import LOCAL as REGISTRY
from loopwright.edges.secrets import make_secrets
from loopwright.edges.topics import topic_specs
from loopwright.errors import InvalidDefinition, InvalidSettings, NotFound
from loopwright.settings import Settings
from loopwright.sources.loading import load_sources

LOCAL = ("127.0.0.1", "localhost", "::1")
AGENTS, GATEWAY, SCHEDULER = "agents", "gateway", "scheduler"
MODULES = {
    AGENTS: "agents.sdr.serve",
    GATEWAY: "loopwright.web.gateway",
    SCHEDULER: "loopwright.cli.schedule",
    connect.NAME: connect.__name__,
}
CONNECT_S = 90.0  # it looks through all its jars before it answers


def stack_config(settings: Settings) -> StackConfig:
    """What the platform consists of. Raises NotFound where the job is not there, InvalidSettings where two registries are asked for."""
    if not JOB.is_file():
        remedy = "install Loopwright again, from its wheel or from a clone of its repository (`make setup`)"
        raise NotFound("the job is not there", f"{JOB} is missing", remedy)
    if settings.platform.registry and settings.registry.url:
        why = f"LOOPWRIGHT_REGISTRY__URL is {settings.registry.url}, and the platform is to run one itself"
        raise InvalidSettings("one schema registry is used", why, "unset LOOPWRIGHT_REGISTRY__URL, or start without --registry")
    urls = {AGENTS: settings.agents_url, GATEWAY: settings.gateway_url}
    ours = [name for name, url in urls.items() if urlsplit(url).hostname in LOCAL]
    following = (replace(_service(connect.NAME), seconds=CONNECT_S),) if settings.cdc.tables else ()
    return StackConfig(
        home=settings.home,
        cache=settings.cache_dir(),
        environment=dict(settings.variables()),
        kafka=settings.kafka.bootstrap_servers,
        topics=tuple(topic_specs(settings)),
        registry=settings.platform.registry,
        register=partial(_register, settings),
        flink=_flink(settings),
        checkpoints=folder_named(settings.state.checkpoints),
        job=Job(JOB),
        services=(*map(_service, [*ours, *([SCHEDULER] if _has_schedules(settings) else [])]), *following),
        variables=partial(_variables, settings),
        publish=partial(_publish, settings),
        python_paths=tuple(dict.fromkeys((ROOT, PACKAGE.parent))),
        folder=Path.cwd(),
        preferred={name: port for name in ours if (port := urlsplit(urls[name]).port)},
        jars=(*((connect.JARS, connect.PLUGIN) if following else ()), *((REGISTRY,) if settings.platform.registry else ())),
        quick=settings.platform.quick_start,
        supervisor=settings.platform.supervisor,
    )


def _has_schedules(settings: Settings) -> bool:
    """Whether there are any; also where it cannot be told: `up` then says what is wrong with the file, and `down` and `status` go on."""
    try:
        return settings.sources_file is not None and bool(load_sources(settings.sources_file).schedules)
    except InvalidDefinition:
        return True


def _flink(settings: Settings) -> FlinkConfig:
    platform, state = settings.platform, settings.state
    return FlinkConfig(
        platform.task_managers,
        parallelism=platform.parallelism,
        execution_mode=platform.execution_mode,
        checkpoint_interval_ms=state.interval_ms,
        state_backend=state.backend,
        settings=platform.flink,
    )


def _service(name: str) -> Service:
    return Service(name, lambda endpoints: ["-m", MODULES[name], "--port", str(endpoints.port(name))])


def _variables(settings: Settings, endpoints: Endpoints) -> Mapping[str, str]:
    there = at(settings, endpoints)
    return {
        "LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS": endpoints.kafka,
        "LOOPWRIGHT_AGENTS_URL": there.agents_url,
        "LOOPWRIGHT_GATEWAY_URL": there.gateway_url,
        "LOOPWRIGHT_HOME": str(there.home),
        **({"LOOPWRIGHT_REGISTRY__URL": there.registry.url} if REGISTRY in endpoints.services else {}),
        **({"LOOPWRIGHT_KEYS_FILE": str(settings.keys_file.expanduser().resolve())} if settings.keys_file else {}),
        **({"LOOPWRIGHT_SOURCES_FILE": str(settings.sources_file.expanduser().resolve())} if settings.sources_file else {}),
        **_key_by_file(settings, there.home),
        "LOOPWRIGHT_SECRETS_FILE": str(settings.secrets_file.expanduser().resolve() if settings.secrets_file else own_secrets(there.home)),
    }


def own_secrets(home: Path) -> Path:
    """The secrets file of the local platform: made once, with a random secret that the agents sign their callbacks with."""
    return make_secrets(home / "run" / "secrets.json")


def _key_by_file(settings: Settings, home: Path) -> Mapping[str, str]:
    """The model's key is handed on in a file that its owner alone can read: in no environment, no job graph, no log of a process."""
    key = settings.llm_api_key.get_secret_value()
    if settings.llm_api_key_file is not None or not key:
        return {}
    file = write_private(home / "run" / "llm-api-key", key)
    return {"LOOPWRIGHT_LLM_API_KEY": "", "LOOPWRIGHT_LLM_API_KEY_FILE": str(file)}


def _publish(settings: Settings, endpoints: Endpoints) -> None:
    if settings.sources_file is not None:
        load_sources(settings.sources_file)
    check_access(at(settings, endpoints))
    apply_team(at(settings, endpoints), team_dir(settings))


def _register(settings: Settings, endpoints: Endpoints) -> None:
    register_all(at(settings, endpoints))


def at(settings: Settings, endpoints: Endpoints) -> Settings:
    """The settings with the addresses that the platform really has."""
    services = endpoints.services
    found: dict[str, object] = {
        "agents_url": services.get(AGENTS, settings.agents_url),
        "gateway_url": services.get(GATEWAY, settings.gateway_url),
    }
    found["home"] = Layout.at(settings.home).home
    if REGISTRY in services:
        found["registry"] = settings.registry.model_copy(update={"url": services[REGISTRY] + API})
    return settings.model_copy(update={**found, "kafka": settings.kafka.model_copy(update={"bootstrap_servers": endpoints.kafka})})


def team_dir(settings: Settings) -> Path:
    """The folder of the default team: as it is set, or in the repository where the present folder has no such."""
    folder = settings.default_team_dir
    return folder if folder.is_absolute() or folder.is_dir() else ROOT / folder


def with_local_ports(settings: Settings) -> Settings:
    """The settings with the ports that the local platform's services were given, where nobody set an address."""
    ports = read_ports(Layout.at(settings.home).run / "ports.json")
    names = {"agents_url": AGENTS, "gateway_url": GATEWAY}
    unset = {field: name for field, name in names.items() if field not in settings.model_fields_set and name in ports}
    return settings.model_copy(update={field: f"http://127.0.0.1:{ports[name]}" for field, name in unset.items()})
