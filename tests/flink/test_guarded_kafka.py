"""The job on a Kafka that asks who it is: it logs in, and a right that is taken away is named by its failure."""

from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from loopwright.edges.access import needed_by_the_job
from loopwright.edges.kafka import Producer
from loopwright.edges.platform.jars import Jars
from tests.e2e.guarded_broker import ADMIN, JOB, guarded_broker
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, Orchestra
from tests.unit.sdr_team import LEAD

GROUPS = [f"loopwright-{source}" for source in ("messages", "decisions", "definitions")]


@pytest.mark.timeout(400)
@pytest.mark.own_cluster
def test_the_job_logs_in_and_a_right_that_is_taken_away_is_named_by_its_failure(orchestra: Orchestra, tmp_path: Path, jars: Jars) -> None:
    with guarded_broker(tmp_path / "guarded", jars) as guarded:
        orchestra.settings = guarded.settings(JOB)
        for topic, operations in needed_by_the_job(orchestra.settings).items():
            for operation in operations:
                guarded.allow(JOB, AclOperation[operation], topic)
        guarded.allow(JOB, AclOperation.READ, *GROUPS, what=ResourceType.GROUP)
        results = orchestra.settings.topics.results
        orchestra.producer = Producer(guarded.settings(ADMIN))
        orchestra.define(*orchestra.team())
        orchestra.run(more={"restart-strategy.type": "none"})
        orchestra.send("w", LEAD)
        orchestra.settings = guarded.settings(ADMIN)
        assert orchestra.results(1)[0].data["path"] == PATH
        guarded.forbid(JOB, AclOperation.WRITE, results)
        orchestra.send("later", LEAD)
        until("the job fails", lambda: orchestra.cluster.status(orchestra.job) == "FAILED")
        failure = orchestra.cluster.failure(orchestra.job)
        assert f"Not authorized to access topics: [{results}]" in failure
