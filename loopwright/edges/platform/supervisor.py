"""The supervisor: a process that watches the parts of a platform and the job, and starts again what died.

    python -m loopwright.edges.platform.supervisor PLAN     what `up` leaves behind; PLAN is the file that it wrote

What is done is decided in `healing`; this is the shell round it. It ends on SIGTERM, and when `run/supervisor.json` no longer names it.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from loopwright.edges.platform.flink_rest import FlinkRest, JobState
from loopwright.edges.platform.healing import LONG_AGO, NEVER, Action, JobSeen, Memory, Outcome, Record, Seen, Start, Submit, decide
from loopwright.edges.platform.jobs import CLIENT, Jobs
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.plan import SUPERVISOR, Healed, Plan, Report
from loopwright.edges.platform.ports import is_free
from loopwright.edges.platform.processes import Command, Processes
from loopwright.edges.platform.restoring import DIED, PERSISTS_S, Unrestorable, restore_failure, resubmit, unusable
from loopwright.edges.platform.waiting import wait_for
from loopwright.errors import LoopwrightError
from loopwright.process_log import mask_logs

LOOK_S, JOB_LOOK_S = 0.3, 1.0
_REST_S, _PORTS_S, _NAMED_S, _ENDED_S = 2.0, 2.0, 5.0, 5.0
_LISTS_CLASSES = "-XX:DumpLoadedClassList="
_ENDED = ("CANCELED", "FINISHED")
log = logging.getLogger(SUPERVISOR)


class Supervisor:
    """Heals one platform. `run` looks until it is no longer the supervisor of its state folder; `end` is called from another thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._layout = Layout.at(plan.home)
        self._processes = Processes(self._layout.run)
        self._rest = FlinkRest(plan.flink, _REST_S)
        self._jobs = Jobs(self._layout, self._rest, self._processes, self._client, plan.client.folder if plan.client else plan.home)
        self._parts = {part.name: part for part in plan.parts}
        self._memory = Memory()
        self._pool = ThreadPoolExecutor(1)
        self._submission: Future[Outcome] | None = None
        self._job: tuple[JobSeen, str] = ("unclear", "")
        self._asked_at = LONG_AGO
        self._stuck_since = NEVER
        self._unusable: dict[str, str] = {}

    def run(self) -> None:
        """Look and act, again and again."""
        wait_for(self._named, _NAMED_S)
        log.info("watching %s", ", ".join(self._parts))
        while self._named():
            try:
                self._once()
            except Exception:
                log.exception("this look failed; the next one comes")
            time.sleep(LOOK_S)

    def end(self) -> None:
        """Start nothing more; end the client of a submission that is under way."""
        self._processes.shut()
        self._processes.stop(CLIENT, 0)

    def _named(self) -> bool:
        found = self._processes.find(SUPERVISOR)
        return found is not None and found.pid == os.getpid()

    def _once(self) -> None:
        before = self._memory
        actions, self._memory = decide(list(self._parts), self._look(), before)
        for action in actions:
            self._act(action)
        if actions or self._memory.job.given_up != before.job.given_up:
            self._report().write(self._layout)

    def _look(self) -> Seen:
        dead = {name: self._obituary(name) for name in self._parts if self._processes.running(name) is None}
        outcome = None
        if self._submission is not None and self._submission.done():
            outcome, self._submission = self._submission.result(), None
            self._asked_at = LONG_AGO
        if time.monotonic() - self._asked_at >= JOB_LOOK_S:
            self._job = self._look_at_job()
            self._unusable = self._look_at_failures()
            self._asked_at = time.monotonic()
        return Seen(time.monotonic(), self._unusable | dead, *self._job, outcome)

    def _obituary(self, name: str) -> str:
        code = self._processes.exit_code(name)
        if code is None:
            return DIED
        return f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with exit code {code}"

    def _look_at_job(self) -> tuple[JobSeen, str]:
        if self._plan.job is None:
            return "none", ""
        if self._submission is not None:
            return "busy", ""
        try:
            id_ = self._jobs.noted()
            state = self._rest.states().get(id_)
            if state is None:
                return "lost", "the JobManager does not know it"
            return self._judge(id_, state)
        except LoopwrightError:
            return "unclear", ""

    def _look_at_failures(self) -> dict[str, str]:
        """TaskManagers that need a new process, with the reason, by what failed in them."""
        if self._job[0] in ("none", "well", "ended"):
            return {}
        try:
            return unusable(self._rest.failures(self._jobs.noted()), self._processes)
        except LoopwrightError:
            return {}

    def _judge(self, id_: str, state: JobState) -> tuple[JobSeen, str]:
        if state.running:
            self._stuck_since = NEVER
            return "well", ""
        if state.name in _ENDED:
            return "ended", ""
        if state.name == "FAILED":
            return "lost", f"it failed: {self._rest.exception(id_)}"
        if not any(restore_failure(one.trace) for one in next(iter(self._rest.failures(id_)), [])):
            self._stuck_since = NEVER
            return "starting", ""
        self._stuck_since = min(self._stuck_since, time.monotonic())
        stuck = time.monotonic() - self._stuck_since > PERSISTS_S
        return ("lost", f"its checkpoint cannot be restored: {self._rest.exception(id_)}") if stuck else ("starting", "")

    def _act(self, action: Action) -> None:
        if isinstance(action, Start):
            log.warning("%s: %s; it is started again", action.name, action.why)
            self._start(self._parts[action.name])
        elif isinstance(action, Submit):
            log.warning("job: %s; it is submitted again", action.why)
            self._submission = self._pool.submit(self._submit)
            self._job = ("busy", "")
        else:
            log.error("job: NOT STARTED AGAIN. %s. `loopwright up` tries anew", action.why)

    def _start(self, part: Command) -> None:
        self._unusable.pop(part.name, None)
        self._processes.end_remains(part.name)
        if self._processes.running(part.name) is not None:
            self._processes.stop(part.name, 0)
        self._processes.wait_ended(_ENDED_S)
        wait_for(lambda: all(map(is_free, part.ports.values())), _PORTS_S)
        try:
            self._processes.start(part)
        except (LoopwrightError, OSError) as error:
            log.error("%s was not started: %s", part.name, error)

    def _submit(self) -> Outcome:
        if self._plan.job is None:
            return Outcome(ok=True)
        try:
            jobs, job, seconds = self._jobs, self._plan.job, self._plan.job_seconds
            id_, point = resubmit(jobs, job, seconds, lambda said: log.info("job: %s", said), lambda *_: None)  # a look sees it too
        except Unrestorable as error:
            return Outcome(ok=False, why=f"{error.what}: {error.why}", final=True)
        except LoopwrightError as error:
            log.error("job: %s", error)
            return Outcome(ok=False, why=error.what)
        except Exception as error:
            log.exception("job: it could not be submitted")
            return Outcome(ok=False, why=f"{type(error).__name__}: {error}")
        log.info("job: runs as %s, %s", id_, f"from {point}" if point else "afresh")
        return Outcome(ok=True)

    def _client(self, _main: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        client = self._plan.client
        return ([*client.args, *arguments], dict(client.environment)) if client is not None else ([], {})

    def _report(self) -> Report:
        records: Mapping[str, Record] = {**self._memory.parts, "job": self._memory.job}
        touched = {name: record for name, record in records.items() if record.restarts or record.given_up}
        return Report({name: Healed(record.restarts, record.why, record.given_up) for name, record in touched.items()})


def lean(part: Command) -> Command:
    """The command without the flag that has a first start list its classes: a later one would list them again."""
    return replace(part, args=[arg for arg in part.args if not str(arg).startswith(_LISTS_CLASSES)])


def main(arguments: Sequence[str]) -> int:
    """Supervise what a plan says until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stdout)
    mask_logs()
    plan = Plan.read(Path(arguments[0]))
    supervisor = Supervisor(replace(plan, parts=tuple(map(lean, plan.parts))))
    over = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: over.set())

    def watch() -> None:
        try:
            supervisor.run()
        finally:
            over.set()

    threading.Thread(target=watch, daemon=True).start()
    over.wait()
    supervisor.end()
    log.info("ended")
    logging.shutdown()
    os._exit(0)  # whatever its threads are waiting for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
