"""The reference design in SQL: every message is joined with the agents in a prompt, ML_PREDICT asks the model, the answer routes it.

    work ─> ML_PREDICT(model) ─> routed (key: the agent, value: the document)

One INSERT, no Python at run time. `ALLOW_UNORDERED` and the number of concurrent operations are the options that Flink documents.
"""

import os

from pyflink.table import EnvironmentSettings, TableEnvironment

from bench.jobs.ml_predict_sql import statements
from bench.jobs.topics import KAFKA, SIMULATORS


def main() -> None:
    """Hand the job to Flink."""
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for statement in statements(os.environ[KAFKA], os.environ[SIMULATORS]):
        tables.execute_sql(statement)


if __name__ == "__main__":
    main()
