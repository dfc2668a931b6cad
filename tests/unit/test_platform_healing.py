"""What the supervisor decides: whatever dies, it neither spins nor forgets a part, and it leaves alone what is not its to heal."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.edges.platform.healing import (
    FIRST_DELAY_S,
    JOB_TRIES,
    LONGEST_DELAY_S,
    YOUNG_S,
    Action,
    GiveUp,
    JobSeen,
    Memory,
    Outcome,
    Seen,
    Start,
    Submit,
    decide,
    delay_s,
)

NAMES = ["kafka", "jobmanager", "taskmanager-1", "taskmanager-2", "agents"]
LOOK_S = 0.5
JOBS: list[JobSeen] = ["unclear", "busy", "starting", "well", "lost", "ended"]


@dataclass
class World:
    """Looks every half second, and does what is decided."""

    now: float = 0.0
    memory: Memory = field(default_factory=Memory)
    log: list[tuple[float, Action]] = field(default_factory=list)

    def look(self, dead: set[str], job: JobSeen = "well", outcome: Outcome | None = None) -> list[Action]:
        self.now += LOOK_S
        actions, self.memory = decide(NAMES, Seen(self.now, dict.fromkeys(dead, "it died"), job, "it is lost", outcome), self.memory)
        self.log += [(self.now, action) for action in actions]
        return actions

    def started(self, name: str) -> list[float]:
        return [at for at, action in self.log if isinstance(action, Start) and action.name == name]


def names(actions: list[Action]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Start)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sets(st.sampled_from(NAMES)), st.sampled_from(JOBS)), max_size=60))
def test_what_lives_is_left_alone_unless_its_jobmanager_is_new(looks: list[tuple[set[str], JobSeen]]) -> None:
    world = World()
    for dead, job in looks:
        started = names(world.look(dead, job))
        fresh = "jobmanager" in started
        for name in started:
            assert name in dead or (fresh and name.startswith("taskmanager"))
        if "jobmanager" in dead and not fresh:
            assert not any(name.startswith("taskmanager") for name in started)
        if fresh:
            assert {"taskmanager-1", "taskmanager-2"} <= set(started)


@settings(deadline=None)
@given(st.sampled_from(["kafka", "jobmanager", "agents"]), st.integers(100, 400))
def test_a_part_that_can_never_run_is_tried_less_and_less_often_and_never_forgotten(name: str, looks: int) -> None:
    world = World()
    for _ in range(looks):
        world.look({name})
    times = world.started(name)
    gaps = [later - before for before, later in pairwise(times)]
    assert times[0] == LOOK_S
    assert all(gap <= LONGEST_DELAY_S + 2 * LOOK_S for gap in gaps)
    assert gaps == sorted(gaps)
    assert len(times) <= 8 + looks * LOOK_S / LONGEST_DELAY_S


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(int(YOUNG_S / LOOK_S), 60)), max_size=20))
def test_a_part_that_had_run_for_a_while_is_started_again_at_once(deaths: list[tuple[str, int]]) -> None:
    world = World()
    for name, pause in deaths:
        for _ in range(pause):
            world.look(set())
        assert name in names(world.look({name}))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(JOBS), st.booleans()), max_size=200))
def test_the_job_is_submitted_when_it_is_lost_and_only_then(looks: list[tuple[JobSeen, bool]]) -> None:
    world = World()
    for job, manager_dies in looks:
        actions = world.look({"jobmanager"} if manager_dies else set(), job)
        submits = [action for action in actions if isinstance(action, Submit)]
        assert len(submits) <= 1
        if submits:
            assert job == "lost" or ("jobmanager" in names(actions) and job not in ("busy", "ended"))


def test_a_job_that_a_person_ended_stays_ended_even_when_the_jobmanager_forgets_it() -> None:
    world = World()
    world.look(set(), "ended")
    for _ in range(20):
        world.look({"jobmanager"}, "unclear")
        world.look(set(), "lost")
    assert not [action for _, action in world.log if isinstance(action, Submit)]
    world.look(set(), "starting")
    assert [action for action in world.look(set(), "lost") if isinstance(action, Submit)]


@settings(deadline=None)
@given(st.integers(0, 30))
def test_a_job_that_never_runs_is_given_up_once_and_taken_up_again_when_it_runs(further: int) -> None:
    world = World()
    while not any(isinstance(action, GiveUp) for _, action in world.log):
        world.look(set(), "lost")
        assert world.now < 600
    assert len([1 for _, action in world.log if isinstance(action, Submit)]) == JOB_TRIES
    for _ in range(further):
        assert world.look(set(), "lost") == []
    world.look(set(), "well")
    for _ in range(int(YOUNG_S / LOOK_S)):
        world.look(set(), "well")
    assert isinstance(world.look(set(), "lost")[0], Submit)


def test_where_no_checkpoint_can_be_restored_the_job_is_never_submitted_again_on_its_own() -> None:
    world = World()
    assert isinstance(world.look(set(), "lost")[0], Submit)
    said = world.look(set(), "lost", Outcome(ok=False, why="none can be restored", final=True))
    assert said == [GiveUp("none can be restored")]
    for _ in range(50):
        assert names(world.look({"jobmanager"}, "lost")) in ([], ["jobmanager", "taskmanager-1", "taskmanager-2"])
    assert len([1 for _, action in world.log if isinstance(action, Submit)]) == 1


def test_a_submission_that_failed_is_tried_again_later() -> None:
    world = World()
    world.look(set(), "lost")
    world.look(set(), "busy")
    assert world.look(set(), "lost", Outcome(ok=False, why="no cluster")) == []
    for _ in range(3):
        if world.look(set(), "lost"):
            break
    assert isinstance(world.log[-1][1], Submit)
    assert world.memory.job.restarts == 2


def test_many_deaths_of_the_jobmanager_are_not_held_against_the_job() -> None:
    world = World()
    for _ in range(JOB_TRIES * 3):
        for _ in range(int(YOUNG_S / LOOK_S) + 1):
            world.look(set(), "starting")
        assert any(isinstance(action, Submit) for action in world.look({"jobmanager"}, "unclear"))


def test_delays_grow_from_none_to_the_longest() -> None:
    assert [delay_s(n) for n in (0, 1, 2, 3)] == [0.0, FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S]
    assert delay_s(1000) == LONGEST_DELAY_S
