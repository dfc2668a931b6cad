"""A job with Python in one task of each TaskManager alone: `one_python_task_job.py BOOTSTRAP_SERVERS`.

Writes each record of `in` to `out` as `<value>=1`.
"""

import sys

from platform_kafka import read_in, write_out
from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment

servers = sys.argv[1]
env = StreamExecutionEnvironment.get_execution_environment()
told = read_in(env, servers, "one-python-task").map(lambda value: f"{value}=1", Types.STRING()).uid("tell")
write_out(told.rebalance(), servers)
env.execute("one python task")
