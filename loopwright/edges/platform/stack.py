"""The whole local platform in order: Kafka and its topics, Flink, services in Python, the job.

`up` keeps what runs and starts what is missing; everything that can start at the same time does. `down` stops the job with a savepoint,
from which the next `up` resumes, and then the rest in reverse order.
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import cached_property
from pathlib import Path

from loopwright.edges.platform import archives, copies
from loopwright.edges.platform import broker as kafka
from loopwright.edges.platform import flink as cluster
from loopwright.edges.platform import registry_server as registry
from loopwright.edges.platform.archives import Archives
from loopwright.edges.platform.broker import Broker
from loopwright.edges.platform.config import Observer, Progress, StackConfig
from loopwright.edges.platform.flink import FlinkCluster, rest_url, stop_cluster
from loopwright.edges.platform.flink_config import FlinkConfig
from loopwright.edges.platform.flink_home import lay_out
from loopwright.edges.platform.flink_programs import Program
from loopwright.edges.platform.flink_rest import FINAL, FlinkRest
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import NEWEST, Java, find_java
from loopwright.edges.platform.jobs import CLIENT, CLIENT_MAIN, Jobs
from loopwright.edges.platform.jvm import child_environment, site_packages
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.locking import locked
from loopwright.edges.platform.plan import SUPERVISOR, Client, Plan, Report, plan_file
from loopwright.edges.platform.ports import HOST, Ports
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.registry_server import RegistryServer
from loopwright.edges.platform.restoring import resubmit
from loopwright.edges.platform.services import STOP_DEADLINE_S, Endpoints, Service, service_command, wait_healthy
from loopwright.edges.platform.topics import make_topics
from loopwright.edges.platform.waiting import failed, wait_for
from loopwright.errors import LoopwrightError, Unreachable

_LOCK_WAIT_S = 5.0
_KAFKA_S, _TOPICS_S, _FLINK_S, _REGISTRY_S = 60.0, 60.0, 90.0, 90.0
_SAVEPOINT_S = 60.0
_ARCHIVES_S, _INTERRUPTED_S, _NOTICED_S = 30.0, 3.0, 12.0
_SUPERVISOR_S, _ENDED_S = 5.0, 15.0
JOB, JARS, ARCHIVES = "job", "jars", "archives"
SUPERVISOR_MODULE = "loopwright.edges.platform.supervisor"


def _unobserved(_progress: Progress) -> None:
    """Tell nobody."""


class Stack:
    """The local platform of one state folder. `observer` is told how each part gets on, from several threads."""

    def __init__(self, config: StackConfig, observer: Observer = _unobserved) -> None:
        self.config = config
        self.layout = Layout.at(config.home)
        self.cache = config.cache.expanduser().resolve()
        self.processes = Processes(self.layout.run)
        self.ports = Ports(self.layout.run / "ports.json", config.preferred)
        self._observer = observer
        self._began = time.monotonic()

    @cached_property
    def java(self) -> Java:
        """The Java runtime that is used."""
        return find_java(self.config.environment, self.config.bundled_java)

    @cached_property
    def jars(self) -> Jars:
        """The jars in the cache."""
        return Jars(self.cache)

    @cached_property
    def archives(self) -> Archives:
        """The class archives."""
        return Archives(self.layout.run / "classes", self.java)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Where everything is. The ports are chosen at the first call."""
        names = [*([registry.NAME] if self.config.registry else []), *(s.name for s in self.config.services)]
        urls = {name: f"http://{HOST}:{self.ports.settle(name, self._runs(name))}" for name in names}
        own = f"{HOST}:{self.ports.settle(kafka.NAME, self._runs(kafka.NAME))}" if not self.config.kafka else self.config.kafka
        if self.config.flink is not None:
            self.ports.settle(cluster.REST_PORT, self._runs(cluster.JOB_MANAGER))
        return Endpoints(own, rest_url(self.ports), urls)

    @property
    def rest(self) -> FlinkRest:
        """Flink's REST API."""
        return FlinkRest(rest_url(self.ports))

    @property
    def jobs(self) -> Jobs:
        """The jobs of the cluster."""
        return Jobs(self.layout, self.rest, self.processes, self._client, self.config.folder.resolve())

    def broker(self) -> Broker:
        """The Kafka node."""
        jars = self.jars.paths("kafka")
        archive = self.archives.flags(kafka.NAME, jars)
        return Broker(
            self.layout, self.java, jars, self.processes, self.ports, self.config.environment, quick=self.config.quick, archive=archive
        )

    def registry(self) -> RegistryServer:
        """The schema registry."""
        config, folder = self.config, self.jars.unpacked(registry.NAME)
        java = find_java(config.environment, config.bundled_java, NEWEST)
        return RegistryServer(self.layout, java, folder, self.processes, self.ports, config.environment, quick=config.quick)

    def flink(self) -> FlinkCluster:
        """The Flink cluster."""
        home = lay_out(site_packages() / "pyflink", self.jars.paths("flink"), self.cache)
        return FlinkCluster(
            self.layout,
            self.java,
            home,
            self.processes,
            self.ports,
            self._environment(),
            self.config.flink or FlinkConfig(),
            (*self.config.python_paths, site_packages()),
            self.config.folder.resolve(),
            self.archives.flags,
            self.config.quick,
        )

    def up(self) -> Endpoints:
        """Start what does not run, and return where everything is. Raises the first error; what did start goes on running."""
        self._began = time.monotonic()
        self.layout.make()
        with locked(self.layout.run / "lock", _LOCK_WAIT_S):
            self._end_supervisor()
            self.processes.wait_ended(_ENDED_S)  # else a port that is about to be free is replaced, or a broker that is going is kept
            self._prepare()
            with ThreadPoolExecutor(4 + len(self.config.services)) as pool:
                try:
                    self._start_all(pool)
                except LoopwrightError:
                    raise
                except BaseException:
                    self.processes.close(_INTERRUPTED_S)  # nothing half started stays, and every wait below comes to its end
                    raise
            self._begin_archives()
            self._begin_supervisor()
        return self.endpoints

    def _start_all(self, pool: ThreadPoolExecutor) -> None:
        schemas = pool.submit(self._registry)
        topics = pool.submit(self._kafka)
        parts: list[Future[None]] = [topics, schemas]
        if self.config.flink is not None:
            parts += self._start_flink(pool, topics, schemas)
        parts += [pool.submit(self._service, service, topics) for service in self.config.services]
        wait(parts, return_when=FIRST_EXCEPTION)
        broken = [part for part in parts if part.done() and part.exception() is not None]
        if broken:
            self.processes.stop(CLIENT, 1)  # it would wait for a cluster that does not come
            wait(parts)
        _first_error(broken)  # not what broke because of it

    def down(self, wipe: bool = False) -> Path | None:
        """Stop everything; `wipe` deletes the data too. Returns the savepoint that the next `up` resumes from, if there is one."""
        self._began = time.monotonic()
        if not self.layout.mark.exists():
            return None
        with locked(self.layout.run / "lock", _LOCK_WAIT_S):
            self._end_supervisor()
            savepoint = self._stop_job(wipe)
            self._stop([s.name for s in reversed(self.config.services)], self._stop_services)
            self._stop([n for n in self.processes.names() if n not in (kafka.NAME, ARCHIVES)], self._stop_rest)
            self._stop([kafka.NAME], self._stop_rest)
            self._end_archives(wait=not wipe)
            if wipe:
                copies.wipe_elsewhere(self.layout)
                self.layout.wipe()
        return savepoint

    def _prepare(self) -> None:
        """What has to be there before a process can be started."""
        if not self.processes.names():
            shutil.rmtree(self.layout.tmp, ignore_errors=True)
            self.layout.tmp.mkdir()
            copies.place(self.layout, self.config.checkpoints)
        _ = self.java, self.endpoints
        self._tell(JARS, "starting")
        config = self.config
        fetched = self.jars.sync(lambda done, of: self._tell(JARS, "starting", f"{done} of {of}"), config.repository, config.jars)
        self._tell(JARS, "ready", f"{fetched} fetched" if fetched else "all in the cache")

    def _kafka(self) -> None:
        """Kafka, its topics, what is published into them."""
        if not self.config.kafka:
            kept = self._runs(kafka.NAME)
            self._tell(kafka.NAME, "starting")
            broker = self.broker()
            broker.start()
            broker.wait_ready(_KAFKA_S)
            self._tell(kafka.NAME, "kept" if kept else "ready", self.endpoints.kafka)
        if self.config.topics:
            self._tell("topics", "starting")
            made = self._topics()
            self._topics_note.touch()
            self._tell("topics", "ready" if made else "kept", f"{len(self.config.topics)} topics")
        self.config.publish(self.endpoints)

    def _registry(self) -> None:
        """The schema registry, and what is registered there."""
        if not self.config.registry:
            return
        kept = self._runs(registry.NAME)
        self._tell(registry.NAME, "starting")
        server = self.registry()
        server.start()
        server.wait_ready(_REGISTRY_S)
        self.config.register(self.endpoints)
        self._tell(registry.NAME, "kept" if kept else "ready", self.endpoints.services[registry.NAME])

    def _topics(self) -> list[str]:
        try:
            return make_topics(self.endpoints.kafka, self.config.topics, _TOPICS_S, own=not self.config.kafka)
        except Unreachable as error:
            if not self.config.kafka:
                raise
            gone = self.processes.running(kafka.NAME) is None
            why = "its process ended after it had answered" if gone else error.why
            raise failed("Kafka went away while its topics were made", why, self.layout.log(kafka.NAME)) from error

    def _start_flink(self, pool: ThreadPoolExecutor, topics: "Future[None]", schemas: "Future[None]") -> "list[Future[None]]":
        flink = self.flink()
        self._tell("flink", "starting")
        started = flink.start()

        def ready() -> None:
            flink.wait_ready(_FLINK_S)
            self._tell("flink", "ready" if started else "kept", self.endpoints.flink)

        parts = [pool.submit(ready)]
        if self.config.job is not None:
            parts.append(pool.submit(self._job, started, parts[0], topics, schemas))
        return parts

    def _job(self, started: Sequence[str], flink: "Future[None]", topics: "Future[None]", schemas: "Future[None]") -> None:
        """Submit the job unless it runs. The client starts at once and finds cluster and topics there when it is ready itself; the
        registry has to answer before, since it is asked for ids."""
        job, jobs = self.config.job, self.jobs
        if job is None:
            return
        info = None if cluster.JOB_MANAGER in started else jobs.current()
        if info is not None and info.state not in FINAL:
            flink.result()
            if started:  # the job does not know yet that it lost a TaskManager: it runs when it ran anew
                wait_for(lambda: not jobs.running(), _NOTICED_S)
            jobs.wait_running(info.id, self.config.job_seconds)
            self._tell(JOB, "kept", info.id)
            return
        if not self._topics_note.exists():
            self._tell(JOB, "waiting", "for the topics")
            topics.result()
        schemas.result()
        self._tell(JOB, "starting")
        _, point = resubmit(jobs, job, self.config.job_seconds, lambda said: self._tell(JOB, "starting", said), self._renew)
        topics.result()
        self._tell(JOB, "ready", f"from {point.name}" if point else "afresh")

    def _renew(self, task_manager: str, why: str) -> None:
        self._tell(JOB, "starting", f"{task_manager}: {why}; it is started again")
        self.flink().renew(task_manager)

    def _service(self, service: Service, topics: "Future[None]") -> None:
        self._tell(service.name, "waiting", "for Kafka")
        topics.result()
        self._tell(service.name, "starting")
        started = not self._runs(service.name)
        if started:
            self.processes.start(self._command(service))
        wait_healthy(service, self.endpoints, self.processes, self.layout)
        self._tell(service.name, "ready" if started else "kept", self.endpoints.services[service.name])

    def _command(self, service: Service) -> Command:
        return service_command(service, self.endpoints, self.layout, self._python_environment(), self.config.folder.resolve())

    def _begin_supervisor(self) -> None:
        """Leave a process behind that heals what breaks from now on."""
        if not self.config.supervisor:
            return
        file = self._plan().write()
        Report().write(self.layout)
        args = [sys.executable, "-m", SUPERVISOR_MODULE, str(file)]
        environment = self._python_environment()
        self.processes.start(Command(SUPERVISOR, args, environment, self.layout.home, self.layout.log(SUPERVISOR)))
        self._tell(SUPERVISOR, "ready")

    def _end_supervisor(self) -> None:
        """First of all: what is stopped now must not be started again. A submission that it had begun is not waited for."""
        if self.processes.find(SUPERVISOR) is not None:
            self.processes.stop(SUPERVISOR, _SUPERVISOR_S, alone=True)  # what it started are parts of the platform
            self.processes.stop(CLIENT, 1)
        plan_file(self.layout).unlink(missing_ok=True)

    def _plan(self) -> Plan:
        """All that the supervisor has to know to start any part again as it was started."""
        own = [] if self.config.kafka else [self.broker().command()]
        own += [self.registry().command()] if self.config.registry else []
        flink = self.flink() if self.config.flink is not None else None
        parts = [*own, *(flink.commands() if flink else []), *(self._command(service) for service in self.config.services)]
        if flink is None or self.config.job is None:
            return Plan(self.layout.home, tuple(parts), rest_url(self.ports) if flink else "")
        args, environment = flink.programs.client(CLIENT_MAIN)
        client = Client(tuple(args), environment, self.config.folder.resolve())
        return Plan(self.layout.home, tuple(parts), rest_url(self.ports), self.config.job, client, self.config.job_seconds)

    def _stop_job(self, wipe: bool) -> Path | None:
        if not self._runs(cluster.JOB_MANAGER) or wipe:
            return None
        self._tell(JOB, "stopping")
        savepoint = self.jobs.stop(_SAVEPOINT_S)
        self._tell(JOB, "stopped", f"with {savepoint.name}" if savepoint else "its newest checkpoint is kept")
        return savepoint

    def _stop(self, names: Sequence[str], stop: Callable[[Sequence[str]], None]) -> None:
        running = [name for name in names if self.processes.find(name) is not None]
        for name in running:
            self._tell(name, "stopping")
        stop(running)
        for name in running:
            self._tell(name, "stopped")

    def _stop_services(self, names: Sequence[str]) -> None:
        self.processes.stop_all(names, STOP_DEADLINE_S)

    def _stop_rest(self, names: Sequence[str]) -> None:
        stop_cluster(self.processes)
        self.processes.stop_all([n for n in names if self.processes.find(n) is not None], STOP_DEADLINE_S)

    def _begin_archives(self) -> None:
        """After the first start: have class archives made in the background, for later starts. Never a reason to fail."""
        try:
            services = self._archivable()
            if self.archives.lacking(services) and not self._runs(ARCHIVES):
                args = [sys.executable, "-m", archives.__name__, str(self.archives.plan(services))]
                self.processes.start(Command(ARCHIVES, args, self._python_environment(), self.layout.home, self.layout.log(ARCHIVES)))
        except (LoopwrightError, OSError) as error:
            self._tell(ARCHIVES, "failed", str(error))

    def _archivable(self) -> list[tuple[str, Sequence[Path]]]:
        own = [] if self.config.kafka else [(kafka.NAME, self.jars.paths("kafka"))]
        classpath = self.flink().home.classpath() if self.config.flink is not None else ()
        flink = [cluster.JOB_MANAGER, cluster.TASK_MANAGER.rstrip("-"), CLIENT]
        return [*((name, classpath) for name in flink if classpath), *own]

    def _end_archives(self, wait: bool) -> None:
        """Let the making of archives come to its end, for a while: it happens once."""
        if self._runs(ARCHIVES) and wait:
            self._tell(ARCHIVES, "stopping", "being made, once, so that later starts are quicker")
            wait_for(lambda: not self._runs(ARCHIVES), _ARCHIVES_S)
            self._tell(ARCHIVES, "stopped")
        self.processes.stop(ARCHIVES, 1)

    @property
    def _topics_note(self) -> Path:
        """Present once all topics were made: then a job need not wait for them."""
        return self.layout.run / "topics.note"

    def _environment(self) -> dict[str, str]:
        compiled = {"PYTHONPYCACHEPREFIX": str(self.cache / "pycache")}  # modules are compiled once, wherever they lie
        return {**self.config.environment, **compiled, **self.config.variables(self.endpoints)}

    def _client(self, *arguments: str) -> Program:
        return self.flink().programs.client(*arguments)

    def _python_environment(self) -> dict[str, str]:
        return child_environment(self._environment(), self.java, self.layout, self.config.python_paths)

    def _runs(self, name: str) -> bool:
        return self.processes.running(name) is not None

    def _tell(self, name: str, state: str, detail: str = "") -> None:
        self._observer(Progress(name, state, time.monotonic() - self._began, detail))


def _first_error(parts: "Sequence[Future[None]]") -> None:
    """Raise the first error in the parts' order: what waited for a part that failed comes after it."""
    errors = [error for part in parts if (error := part.exception()) is not None]
    if errors:
        raise errors[0]
