"""Which parts make up the local platform: the one composition that `up`, `demo`, `down` and `status` share.

Kafka with the product's topics, Flink with the job, the agents, and the gateway. An address in the settings that is not on this machine
is somebody else's: that part is used and not started.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import loopwright
from loopwright.cli.agents import apply_team
from loopwright.edges.access import check_access
from loopwright.edges.platform import connect
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.jobs import Job
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import read_ports
from loopwright.edges.platform.services import Endpoints, Service
from loopwright.edges.private_file import write_private
from loopwright.edges.secrets import CALLBACK, new_key
from loopwright.edges.topics import topic_specs
from loopwright.errors import NotFound
from loopwright.settings import Kafka, Settings

PACKAGE = Path(loopwright.__file__).resolve().parent
BUNDLE = PACKAGE / "bundle"  # in a wheel jobs/, udfs/, sql/ and agents/ are in here, else beside the package
ROOT = BUNDLE if BUNDLE.is_dir() else PACKAGE.parent
LOCAL = ("127.0.0.1", "localhost", "::1")
AGENTS, GATEWAY = "agents", "gateway"
MODULES = {AGENTS: "agents.sdr.serve", GATEWAY: "loopwright.web.gateway", connect.NAME: connect.__name__}
CONNECT_S = 90.0  # it looks through all its jars before it answers


def stack_config(settings: Settings) -> StackConfig:
    """What the platform consists of. Raises NotFound where the job is not there."""
    script = ROOT / "jobs" / "orchestrator.py"
    if not script.is_file():
        remedy = "install Loopwright again, from its wheel or from a clone of its repository (`make setup`)"
        raise NotFound("the job is not there", f"{script} is missing", remedy)
    urls = {AGENTS: settings.agents_url, GATEWAY: settings.gateway_url}
    ours = [name for name, url in urls.items() if urlsplit(url).hostname in LOCAL]
    following = (replace(_service(connect.NAME), seconds=CONNECT_S),) if settings.cdc.tables else ()
    return StackConfig(
        home=settings.home,
        cache=settings.cache_dir(),
        environment=dict(settings.variables()),
        kafka=settings.kafka.bootstrap_servers,
        topics=tuple(topic_specs(settings)),
        flink=FlinkConfig(
            settings.platform.task_managers, parallelism=settings.platform.parallelism, execution_mode=settings.platform.execution_mode
        ),
        job=Job(script),
        services=(*map(_service, ours), *following),
        variables=partial(_variables, settings),
        publish=partial(_publish, settings),
        python_paths=tuple(dict.fromkeys((ROOT, PACKAGE.parent))),
        folder=Path.cwd(),
        preferred={name: port for name in ours if (port := urlsplit(urls[name]).port)},
        jars=(connect.JARS, connect.PLUGIN) if following else (),
        quick=settings.platform.quick_start,
        supervisor=settings.platform.supervisor,
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
        **({"LOOPWRIGHT_KEYS_FILE": str(settings.keys_file.expanduser().resolve())} if settings.keys_file else {}),
        **_key_by_file(settings, there.home),
        "LOOPWRIGHT_SECRETS_FILE": str(settings.secrets_file.expanduser().resolve() if settings.secrets_file else own_secrets(there.home)),
    }


def own_secrets(home: Path) -> Path:
    """The secrets file of the local platform: made once, with a random secret that the agents sign their callbacks with."""
    file = home / "run" / "secrets.json"
    if not file.exists():
        write_private(file, json.dumps({CALLBACK: new_key(os.urandom(32))}) + "\n")
    return file


def _key_by_file(settings: Settings, home: Path) -> Mapping[str, str]:
    """The model's key is handed on in a file that its owner alone can read: in no environment, no job graph, no log of a process."""
    key = settings.llm_api_key.get_secret_value()
    if settings.llm_api_key_file is not None or not key:
        return {}
    file = write_private(home / "run" / "llm-api-key", key)
    return {"LOOPWRIGHT_LLM_API_KEY": "", "LOOPWRIGHT_LLM_API_KEY_FILE": str(file)}


def _publish(settings: Settings, endpoints: Endpoints) -> None:
    check_access(at(settings, endpoints))
    apply_team(at(settings, endpoints), team_dir(settings))


def at(settings: Settings, endpoints: Endpoints) -> Settings:
    """The settings with the addresses that the platform really has."""
    services = endpoints.services
    found: dict[str, object] = {
        "agents_url": services.get(AGENTS, settings.agents_url),
        "gateway_url": services.get(GATEWAY, settings.gateway_url),
    }
    found["home"] = Layout.at(settings.home).home
    return settings.model_copy(update={**found, "kafka": Kafka(bootstrap_servers=endpoints.kafka, client=settings.kafka.client)})


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
