"""The files in docker/kubernetes: every object keeps its schema, and they say what the code says. No cluster is asked."""

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from loopwright.edges.access import needed_by_the_job
from loopwright.edges.platform.flink_config import CONSOLE_LOGGING, FlinkConfig, cluster_options
from loopwright.edges.platform.flink_home import FlinkHome
from loopwright.edges.platform.image import DATA, MEMORY, PROMETHEUS, PYTHON
from loopwright.edges.platform.jars import locked
from loopwright.edges.platform.jvm import site_packages
from loopwright.edges.topics import topic_specs
from loopwright.settings import Settings, described, read_settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
SCHEMAS = Path(__file__).with_name("kubernetes_schemas")
SETTINGS = {variable for variable, _, _ in described()} | {"LOOPWRIGHT_SETTINGS_DIR"}
NAME, PART = "app.kubernetes.io/name", "app.kubernetes.io/component"
MADE_BY_STRIMZI = {"loopwright-cluster-ca-cert"}
Object = dict[str, Any]


def objects() -> list[Object]:
    files = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    return [found for file in files for found in yaml.safe_load_all((FOLDER / file).read_text())]


OBJECTS = objects()


def of_kind(kind: str) -> dict[str, Object]:
    return {found["metadata"]["name"]: found for found in OBJECTS if found["kind"] == kind}


def named(found: Object) -> str:
    return f"{found['kind']}-{found['metadata']['name']}"


@cache
def checkers() -> dict[str, Any]:
    """A validator by `apiVersion/kind`."""
    made = {}
    for file in SCHEMAS.glob("*.json"):
        said = json.loads(file.read_text())
        for kind, schema in said["kinds"].items():
            made[kind] = jsonschema_rs.validator_for(
                {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": said["$defs"], **schema}
            )
    return made


def errors(found: Object) -> list[str]:
    checker = checkers()[f"{found['apiVersion']}/{found['kind']}"]
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in checker.iter_errors(found)]


FLINK = of_kind("FlinkDeployment")["loopwright"]["spec"]


def settings() -> Settings:
    """The settings that the ConfigMap gives to all parts."""
    data = of_kind("ConfigMap")["loopwright-settings"]["data"]
    kafka = {name: data[f"LOOPWRIGHT_KAFKA__{name.upper()}"] for name in ("bootstrap_servers", "partitions", "replication")}
    return read_settings(kafka={**kafka, "client": json.loads(data["LOOPWRIGHT_KAFKA__CLIENT"])})


def pods() -> Iterator[tuple[str, Object, dict[str, str]]]:
    """Name, specification and labels of every pod that comes about."""
    for name, found in of_kind("Deployment").items():
        template = found["spec"]["template"]
        yield name, template["spec"], template["metadata"]["labels"]
    for part in ("jobManager", "taskManager"):
        yield part, FLINK["podTemplate"]["spec"], FLINK[part]["podTemplate"]["metadata"]["labels"]


@pytest.mark.parametrize("found", OBJECTS, ids=named)
def test_an_object_keeps_its_schema(found: Object) -> None:
    assert errors(found) == []


def broken() -> Iterator[tuple[str, Object]]:
    """Each kind once, with a field in its specification that there is not."""
    for kind in sorted({found["kind"] for found in OBJECTS} - {"Namespace", "ServiceAccount"}):
        found = copy.deepcopy(next(one for one in OBJECTS if one["kind"] == kind))
        found.get("spec", found)["nonesuch"] = 1
        yield kind, found


@pytest.mark.parametrize("found", [pytest.param(found, id=kind) for kind, found in broken()])
def test_a_field_that_there_is_not_would_be_seen(found: Object) -> None:
    assert any("nonesuch" in error for error in errors(found))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "job", "upgradeMode"), "sometimes"),
        (("spec", "flinkVersion"), "v9_9"),
        (("spec", "taskManager", "replicas"), "two"),
        (("spec", "podTemplate", "spec", "containers", 0, "volumeMounts", 0, "mountpath"), "/x"),
    ],
)
def test_a_value_that_may_not_be_would_be_seen(path: tuple[str | int, ...], value: object) -> None:
    found = copy.deepcopy(of_kind("FlinkDeployment")["loopwright"])
    *way, last = path
    at: Any = found
    for step in way:
        at = at[step]
    at[last] = value
    assert errors(found)


def test_every_file_is_applied() -> None:
    listed = set(yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"])
    assert listed == {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "images.yaml"}
    assert len({(found["apiVersion"], named(found)) for found in OBJECTS}) == len(OBJECTS)


def test_the_job_is_configured_as_on_any_cluster() -> None:
    found = {name: str(value) for name, value in FLINK["flinkConfiguration"].items()}
    options = cluster_options(FlinkConfig(), str(PYTHON), "s3://loopwright/checkpoints", "s3://loopwright/savepoints")
    java = " ".join(FlinkHome(site_packages() / "pyflink").java_options())
    wanted = options | MEMORY | PROMETHEUS | {"env.java.opts.all": java}
    assert {name: found.get(name) for name in wanted} == wanted
    further = {name: value for name, value in found.items() if name not in wanted}
    assert further == {
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": "s3://loopwright/ha",
        "scheduler-mode": "reactive",
        "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling": "60 s",
        "taskmanager.numberOfTaskSlots": "1",
        "pipeline.max-parallelism": "128",
        "kubernetes.operator.job.restart.failed": "true",
    }
    assert FLINK["logConfiguration"]["log4j-console.properties"] == CONSOLE_LOGGING


def test_the_job_is_where_the_image_has_it_and_stops_with_a_savepoint() -> None:
    job, version = FLINK["job"], next(jar for jar in site_packages().joinpath("pyflink", "opt").glob("flink-python-*.jar")).name
    assert job["jarURI"] == f"local:///opt/flink/opt/{version}"
    assert job["entryClass"] == "org.apache.flink.client.python.PythonDriver"
    assert job["args"][:3] == ["-pyclientexec", str(PYTHON), "-py"]
    bundle = re.search(r"^ENV PYTHONPATH=([^:]+):", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)[1]
    assert job["args"][3] == f"{bundle}/jobs/orchestrator.py"
    assert job["upgradeMode"] == "savepoint"
    known = json.loads((SCHEMAS / "flink.json").read_text())["kinds"]["flink.apache.org/v1beta1/FlinkDeployment"]
    versions = known["properties"]["spec"]["properties"]["flinkVersion"]["enum"]
    image = tuple(map(int, version.removeprefix("flink-python-").split(".")[:2]))
    numbers = {name: tuple(map(int, name[1:].split("_"))) for name in versions}
    assert FLINK["flinkVersion"] == max((name for name in versions if numbers[name] <= image), key=numbers.__getitem__)


def test_topics_are_those_of_the_settings() -> None:
    wanted = {spec.name: spec for spec in topic_specs(settings())}
    found = of_kind("KafkaTopic")
    assert found.keys() == wanted.keys()
    for name, spec in wanted.items():
        assert {key: str(value) for key, value in found[name]["spec"]["config"].items()} == spec.config
        assert (found[name]["spec"]["partitions"], found[name]["spec"]["replicas"]) == (spec.partitions, spec.replication)


def test_brokers_have_as_many_copies_as_topics_want_and_take_records_as_large() -> None:
    kafka, pool = of_kind("Kafka")["loopwright"]["spec"]["kafka"], of_kind("KafkaNodePool")["brokers"]["spec"]
    assert pool["replicas"] >= settings().kafka.replication > kafka["config"]["min.insync.replicas"]
    topic = of_kind("KafkaTopic")["agent-messages"]["spec"]["config"]
    assert kafka["config"]["message.max.bytes"] >= topic["max.message.bytes"]
    assert f"org.apache.kafka:kafka_2.13:{kafka['version']}" in {jar.coordinate for jar in locked()}


def granted(user: str) -> dict[str, set[str]]:
    """The operations by topic."""
    rules = of_kind("KafkaUser")[user]["spec"]["authorization"]["acls"]
    return {rule["resource"]["name"]: {one.upper() for one in rule["operations"]} for rule in rules if rule["resource"]["type"] == "topic"}


def test_the_job_may_do_what_it_has_to_do_and_the_gateway_decides_nothing() -> None:
    job = granted("loopwright-job")
    for topic, needed in needed_by_the_job(settings()).items():
        assert set(needed) <= job[topic], topic
    assert "WRITE" not in granted("loopwright-gateway").get(settings().topics.decisions, set())
    assert not any("WRITE" in operations for operations in granted("loopwright-scaler").values())


def test_scaling_goes_by_the_lag_of_the_job_s_own_groups() -> None:
    spec = of_kind("ScaledObject")["loopwright"]["spec"]
    triggers = [trigger["metadata"] for trigger in spec["triggers"]]
    source = (ROOT / "jobs" / "orchestrator.py").read_text()
    for trigger in triggers:
        assert f'"{trigger["consumerGroup"]}"' in source
        assert trigger["topic"] in of_kind("KafkaTopic")
        assert trigger["bootstrapServers"] == settings().kafka.bootstrap_servers.replace(":", ".loopwright.svc:")
    assert {trigger["topic"] for trigger in triggers} == {settings().topics.messages, settings().topics.decisions}
    target = spec["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("FlinkDeployment", "loopwright")
    assert (FLINK["mode"], FLINK["flinkConfiguration"]["scheduler-mode"]) == ("standalone", "reactive")
    assert FLINK["taskManager"]["replicas"] == spec["minReplicaCount"]
    assert spec["maxReplicaCount"] <= settings().kafka.partitions / 2


def test_what_is_set_are_settings() -> None:
    assert of_kind("ConfigMap")["loopwright-settings"]["data"].keys() <= SETTINGS
    for name, pod, _ in pods():
        given = {one["name"] for container in pod["containers"] for one in container.get("env", ())}
        assert given <= SETTINGS, name


def test_a_secret_is_a_file_that_the_group_of_the_pod_may_read_and_no_other() -> None:
    for name, pod, _ in pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["fsGroup"] == 10001, name
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440, name
        text = json.dumps([container.get("env", []) for container in pod["containers"]])
        assert "secretKeyRef" not in text, name


def test_containers_have_no_rights_write_nothing_but_their_volumes_and_mount_what_there_is() -> None:
    for name, pod, _ in pods():
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"], name
            assert not context["allowPrivilegeEscalation"], name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
            assert container["image"] == "loopwright" if container["name"] != "flink-main-container" else "image" not in container
        used = {mount["name"] for one in (*pod["containers"], *pod.get("initContainers", ())) for mount in one["volumeMounts"]}
        assert used == volumes, name


def test_files_that_settings_name_are_mounted() -> None:
    """Those of the ConfigMap by the parts that use them, those of a container by itself."""
    shared = of_kind("ConfigMap")["loopwright-settings"]["data"]
    files = {value for name, value in shared.items() if name.endswith("_FILE")}
    kafka = {value for name, value in settings().kafka.client.items() if name.endswith(".location")}
    for name, pod, _ in pods():
        for container in pod["containers"]:
            mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
            own = {one["value"] for one in container.get("env", ()) if one["value"].startswith("/")}
            wanted = files | own | (kafka if name != "loopwright-agents" else set())
            assert [path for path in wanted if not any(path.startswith(mount) for mount in mounts)] == [], name


def test_every_secret_is_made_by_strimzi_or_described() -> None:
    docs = (ROOT / "docs" / "containers.md").read_text()
    secrets = {volume["secret"]["secretName"] for _, pod, _ in pods() for volume in pod["volumes"] if "secret" in volume}
    secrets |= {one["name"] for found in of_kind("TriggerAuthentication").values() for one in found["spec"]["secretTargetRef"]}
    own = secrets - MADE_BY_STRIMZI - of_kind("KafkaUser").keys()
    for name in own:
        assert f"create secret generic {name} " in docs, name
    assert own == {"loopwright-callbacks", "loopwright-llm", "loopwright-s3", "loopwright-tokens", "loopwright-agents"}


def test_policies_budgets_and_services_choose_pods_that_there_are() -> None:
    parts = {labels[PART] for _, _, labels in pods()}
    assert parts == {"jobmanager", "taskmanager", "agents", "gateway", "tools"}
    chosen = [found["spec"]["podSelector"] for found in of_kind("NetworkPolicy").values()]
    chosen += [found["spec"]["selector"] for found in of_kind("PodDisruptionBudget").values()]
    chosen += [{"matchLabels": found["spec"]["selector"]} for found in of_kind("Service").values()]
    for selector in chosen:
        assert selector["matchLabels"][NAME] == "loopwright"
        named_parts = {selector["matchLabels"][PART]} if PART in selector["matchLabels"] else set()
        for rule in selector.get("matchExpressions", ()):
            named_parts |= set(rule["values"])
        assert named_parts <= parts
    budgets = {found["spec"]["selector"]["matchLabels"][PART] for found in of_kind("PodDisruptionBudget").values()}
    assert budgets == parts - {"tools"}


def test_traffic_that_is_wanted_is_let_out_and_let_in() -> None:
    """Every pair of ours that talks, at its port: one policy lets it out of the caller, another into the called."""
    pairs = [
        ("taskmanager", "agents", 8801),
        ("agents", "gateway", 8800),
        ("jobmanager", "taskmanager", 6122),
        ("taskmanager", "jobmanager", 6123),
    ]
    for caller, called, port in pairs:
        assert allowed("egress", caller, called, port), (caller, called)
        assert allowed("ingress", called, caller, port), (caller, called)
    for caller, called, port in [("gateway", "agents", 8801), ("agents", "taskmanager", 6122), ("tools", "jobmanager", 8081)]:
        assert not allowed("egress", caller, called, port), (caller, called)


def allowed(direction: str, pod: str, other: str, port: int) -> bool:
    """Whether a policy of `pod` names the pod `other` at that port, by its labels."""
    side = {"egress": "to", "ingress": "from"}[direction]
    return any(
        any(matches(peer.get("podSelector", {}), other) for peer in rule.get(side, ()) if "namespaceSelector" not in peer)
        and (not rule.get("ports") or port in {one["port"] for one in rule["ports"]})
        for found in of_kind("NetworkPolicy").values()
        if matches(found["spec"]["podSelector"], pod)
        for rule in found["spec"].get(direction, ())
    )


def matches(selector: Object, part: str) -> bool:
    labels = {NAME: "loopwright", PART: part}
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ()))


def test_the_image_writes_where_its_volumes_are() -> None:
    assert str(DATA.home) == re.search(r"^DATA=(\S+)$", (ROOT / "docker" / "build-steps.sh").read_text(), re.MULTILINE)[1]
