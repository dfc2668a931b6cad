"""From one release to the next: a savepoint that an earlier one left is gone on from."""

from pathlib import Path

from loopwright.testing.agent_behaviours import answering, hanging
from tests.flink.earlier_release import EarlierDispatch, EarlierRoute
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD, OUTPUTS

COUNT = 5


def test_a_savepoint_whose_state_lacks_the_fields_that_were_added_since_is_gone_on_from(orchestra: Orchestra, tmp_path: Path) -> None:
    orchestra.agents.agent("lead-scoring", hanging())
    orchestra.define(*orchestra.team())
    orchestra.run(deciders=(EarlierRoute, EarlierDispatch))
    for number in range(COUNT):
        orchestra.send(f"w{number}", LEAD)
    until("every workflow waits for the agent", lambda: len(orchestra.agents.by_key("lead-scoring")) == COUNT)
    savepoint = orchestra.stop(tmp_path)
    saved = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b'"input_hash"' in saved
    assert b'"held_since_ms"' not in saved
    assert b'"resumed_hop"' not in saved
    orchestra.agents.agent("lead-scoring", answering(OUTPUTS["lead-scoring"]))
    orchestra.run(savepoint)
    assert {tuple(result.data["path"]) for result in orchestra.results(COUNT)} == {tuple(PATH)}
    assert len(orchestra.agents.by_key("lead-scoring")) == COUNT
    report = orchestra.verified()
    assert report.holds, report.as_dict()
