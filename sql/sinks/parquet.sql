-- pipeline: sink-parquet
-- jars: parquet
-- Results, decisions and dead letters as Parquet files below PARQUET_PATH (an absolute path, or a URL that the cluster can write to), in
-- folders by topic and by day. A file becomes visible when a checkpoint has been made, and what is visible is there exactly once; files whose
-- names begin with a dot are not finished. So every PARQUET_EVERY (a minute) one file comes of each folder that had something to write.
-- To read: duckdb `FROM read_parquet('PATH/results/*/part-*', hive_partitioning = true)`, or pyarrow.dataset with partitioning="hive".

SET 'execution.checkpointing.interval' = '${PARQUET_EVERY:-1 min}';

CREATE TEMPORARY TABLE results_in_parquet (
  workflow STRING,
  ended STRING,
  reason STRING,
  team STRING,
  path STRING,
  hops INT,
  duration_ms BIGINT,
  calls INT,
  tokens INT,
  cost DOUBLE,
  document STRING,
  logged_at TIMESTAMP(3),
  kafka_partition INT,
  kafka_offset BIGINT,
  `day` STRING
) PARTITIONED BY (`day`) WITH (
  'connector' = 'filesystem', 'path' = '${PARQUET_PATH}/results', 'format' = 'parquet',
  'parquet.write.int64.timestamp' = 'true', 'parquet.timestamp.time.unit' = 'millis');

CREATE TEMPORARY TABLE decisions_in_parquet (
  workflow STRING,
  `hop` INT,
  outcome STRING,
  strategy STRING,
  agent STRING,
  reason STRING,
  model STRING,
  model_calls INT,
  prompt_tokens INT,
  completion_tokens INT,
  cost DOUBLE,
  duration_ms INT,
  logged_at TIMESTAMP(3),
  kafka_partition INT,
  kafka_offset BIGINT,
  `day` STRING
) PARTITIONED BY (`day`) WITH (
  'connector' = 'filesystem', 'path' = '${PARQUET_PATH}/decisions', 'format' = 'parquet',
  'parquet.write.int64.timestamp' = 'true', 'parquet.timestamp.time.unit' = 'millis');

CREATE TEMPORARY TABLE dead_letters_in_parquet (
  workflow STRING,
  cause STRING,
  stage STRING,
  why STRING,
  record STRING,
  logged_at TIMESTAMP(3),
  kafka_partition INT,
  kafka_offset BIGINT,
  `day` STRING
) PARTITIONED BY (`day`) WITH (
  'connector' = 'filesystem', 'path' = '${PARQUET_PATH}/dead-letters', 'format' = 'parquet',
  'parquet.write.int64.timestamp' = 'true', 'parquet.timestamp.time.unit' = 'millis');

EXECUTE STATEMENT SET BEGIN

INSERT INTO results_in_parquet
SELECT
  workflow,
  REPLACE(type, 'loopwright.workflow.', ''),
  JSON_VALUE(record, '$.data.reason'),
  JSON_VALUE(record, '$.data.team'),
  JSON_QUERY(record, '$.data.path'),
  TRY_CAST(JSON_VALUE(record, '$.data.hops') AS INT),
  TRY_CAST(JSON_VALUE(record, '$.data.duration_ms') AS BIGINT),
  TRY_CAST(JSON_VALUE(record, '$.data.spend.calls') AS INT),
  TRY_CAST(JSON_VALUE(record, '$.data.spend.tokens') AS INT),
  TRY_CAST(JSON_VALUE(record, '$.data.spend.cost') AS DOUBLE),
  JSON_QUERY(record, '$.data.document'),
  CAST(logged_at AS TIMESTAMP(3)),
  `partition`,
  `offset`,
  DATE_FORMAT(CAST(logged_at AS TIMESTAMP(3)), 'yyyy-MM-dd')
FROM workflow_results
WHERE type IN ('loopwright.workflow.completed', 'loopwright.workflow.failed', 'loopwright.workflow.cancelled');

INSERT INTO decisions_in_parquet
SELECT
  workflow,
  `hop`,
  outcome,
  strategy,
  agent,
  reason,
  model,
  model_calls,
  prompt_tokens,
  completion_tokens,
  cost,
  duration_ms,
  CAST(logged_at AS TIMESTAMP(3)),
  `partition`,
  `offset`,
  DATE_FORMAT(CAST(logged_at AS TIMESTAMP(3)), 'yyyy-MM-dd')
FROM decisions;

INSERT INTO dead_letters_in_parquet
SELECT
  workflow,
  JSON_VALUE(record, '$.data.cause'),
  JSON_VALUE(record, '$.data.stage'),
  JSON_VALUE(record, '$.data.why'),
  record,
  CAST(logged_at AS TIMESTAMP(3)),
  `partition`,
  `offset`,
  DATE_FORMAT(CAST(logged_at AS TIMESTAMP(3)), 'yyyy-MM-dd')
FROM agent_dead_letters
WHERE type IS DISTINCT FROM 'loopwright.dead-letter.settled';

END;
