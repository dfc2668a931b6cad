"""Run the job for long under what wears a process out, and see whether it stays as it is: `python -m loopwright.testing.soak`.

Thread mode, RocksDB, load, forced garbage collections, thread dumps, and a restart of the job every minute, on one TaskManager that is
never restarted itself. At the end: whether memory and threads stay flat, whether the JVM crashed, and what `loopwright verify` says.
"""
