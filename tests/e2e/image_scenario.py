"""What test_image.py does with the image, inside namespaces of its own: `python -m tests.e2e.image_scenario FILE`, with what FILE says.

First as docker/compose.yaml has it: everything up, a lead, a submission too many, a crash of the cluster, another lead. Then as
docker/kubernetes has it, as far as that goes without Kubernetes: an application cluster configured and started as Flink's operator does
it, a lead, a further TaskManager, another lead.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import requests
import yaml

from loopwright.edges.platform.flink_config import write_configuration
from tests.e2e.compose_here import Composition, read, wait

ROOT = Path(__file__).resolve().parents[2]
FLINK = "http://jobmanager:8081"
LEAD = {"name": "Ada Park", "email": "ada@engines.example", "company_name": "Engines Ltd", "lead_source": "webinar"}
PORTS = range(9249, 9260)
READER = 10001


def lead(here: Composition, number: int) -> str:
    """Send a lead and wait until it is worked; returns what was said of it."""
    document = json.dumps(LEAD | {"email": f"ada{number}@engines.example"})
    return here.execute("gateway", ["loopwright", "send", "-", "--id", f"lead-{number}", "--wait", "--timeout", "100s", "--json"], document)


def metrics() -> str:
    """What every Flink process tells Prometheus."""
    told = []
    for port in PORTS:
        try:
            told.append(requests.get(f"http://localhost:{port}/metrics", timeout=10).text)
        except requests.RequestException:
            continue
    return "\n".join(told)


def parallelism() -> int:
    """Of the job that runs, where every task of it runs; else 0. (One operator, for the definitions, has a single instance always.)"""
    try:
        jobs = [job for job in requests.get(f"{FLINK}/jobs/overview", timeout=5).json()["jobs"] if job["state"] == "RUNNING"]
        if len(jobs) != 1 or jobs[0]["tasks"]["running"] != jobs[0]["tasks"]["total"]:
            return 0
        vertices = requests.get(f"{FLINK}/jobs/{jobs[0]['jid']}", timeout=5).json()["vertices"]
    except (requests.RequestException, KeyError, ValueError):
        return 0
    return max((vertex["parallelism"] for vertex in vertices), default=0)


def as_compose(here: Composition) -> dict[str, Any]:
    """The Compose file, from nothing."""
    here.up("prepare")
    secrets = here.volume("run", "/var/lib/loopwright/run") / "secrets.json"
    made = oct(secrets.stat().st_mode & 0o777)
    os.chown(secrets, 0, READER)  # from here on as Kubernetes mounts it
    secrets.chmod(0o440)
    here.up("gateway")
    first = here.once_after("submit")
    wait("the job runs", lambda: parallelism() == 2, 90)
    found: dict[str, Any] = {"secrets": made, "first": first, "lead": lead(here, 1), "again": here.once("submit")}
    wait("Flink has told of what was done", lambda: "loopwright_replies" in metrics(), 60)
    found["metrics"] = metrics()
    data = here.volume("state", "/var/lib/loopwright/data")
    wait("there is a checkpoint", lambda: any(data.rglob("chk-*/_metadata")), 60)
    here.kill("jobmanager", "taskmanager")
    here.up("taskmanager")
    found["resumed"] = here.once_after("submit")
    wait("the job runs again", lambda: parallelism() == 2, 90)
    found["second lead"] = lead(here, 2)
    here.kill("jobmanager", "taskmanager")
    return found


def as_kubernetes(here: Composition, job: dict[str, Any]) -> dict[str, Any]:
    """The FlinkDeployment, as the operator starts it in standalone mode; its object store is a folder, its JobManager has no standby."""
    conf = here.work / "conf"
    state = "file:///var/lib/loopwright/data/kubernetes"
    own = ("high-availability", "kubernetes.operator")
    options = {name: str(value) for name, value in job["flinkConfiguration"].items() if not name.startswith(own)}
    options |= {name: f"{state}/{value.rpartition('/')[2]}" for name, value in options.items() if value.startswith("s3:")}
    options |= {
        "jobmanager.rpc.address": "jobmanager",
        "rest.address": "jobmanager",
        "jobmanager.memory.process.size": job["jobManager"]["resource"]["memory"],
        "taskmanager.memory.process.size": job["taskManager"]["resource"]["memory"],
        "parallelism.default": str(job["job"]["parallelism"]),
        "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling": "1 s",  # a minute in real life
    }
    write_configuration(conf, options)
    (conf / "log4j-console.properties").write_text(job["logConfiguration"]["log4j-console.properties"])
    mounted = [(conf, "/opt/flink/conf", True)]
    here.start("jobmanager", ["standalone-job", "--job-classname", job["job"]["entryClass"], *job["job"]["args"]], more=mounted)
    here.start("taskmanager", ["taskmanager"], more=mounted)
    wait("the application runs", lambda: parallelism() == 1, 120)
    found = {"lead": lead(here, 3)}
    here.running["first"] = here.running.pop("taskmanager")
    here.start("taskmanager", ["taskmanager"], more=mounted)
    wait("the job takes the slot of the further TaskManager", lambda: parallelism() == 2, 120)
    return found | {"second lead": lead(here, 4)}


def main(file: Path) -> None:
    """Do it all, and write the answers down."""
    here, answers = read(file)
    here.prepare()
    found = {"compose": as_compose(here)}
    (job,) = (
        one for one in yaml.safe_load_all((ROOT / "docker" / "kubernetes" / "job.yaml").read_text()) if one["kind"] == "FlinkDeployment"
    )
    found["kubernetes"] = as_kubernetes(here, job["spec"])
    answers.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
