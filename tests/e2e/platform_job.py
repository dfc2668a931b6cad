"""The platform's test job: `platform_job.py BOOTSTRAP_SERVERS`. Counts records of `in` by key into `out`."""

import sys

from platform_kafka import read_in, write_out
from platform_steps import Count, key_of
from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment

if sys.argv[1] == "wrong":
    raise ValueError("this job cannot be built")

servers = sys.argv[1]
env = StreamExecutionEnvironment.get_execution_environment()
counted = read_in(env, servers, "platform-test").key_by(key_of, Types.STRING()).process(Count(), Types.STRING())
write_out(counted.uid("count"), servers)
env.execute("count")
