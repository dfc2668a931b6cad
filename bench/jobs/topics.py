"""The topics of these jobs, and what their peers say of them: read also where PyFlink is not to be loaded."""

WORK, DONE, ROUTED = "work", "done", "routed"
CAPACITY = 1000  # calls in flight, which Flink's documentation asks the user to choose
TIMEOUT_S = 60
KAFKA, SIMULATORS = "BENCH_KAFKA", "BENCH_SIMULATORS"  # the variables that say where they are
