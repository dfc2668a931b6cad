-- pipeline: sink-postgresql
-- jars: postgresql
-- Results, decisions and dead letters as rows of PostgreSQL: POSTGRES_URL (jdbc:postgresql://HOST:PORT/DATABASE), POSTGRES_USER, and
-- POSTGRES_PASSWORD_FILE. Its tables are made by sinks/postgresql-tables.sql.
-- A row is written again after a failure, under the same key: where a record stood in Kafka, or for results the workflow. So each is there
-- once. (No materializer: a key comes from one partition, in its order.) NUL is taken out, for PostgreSQL keeps no text with one in it.

SET 'table.exec.sink.require-on-conflict' = 'false';
SET 'table.exec.sink.upsert-materialize' = 'NONE';

CREATE TEMPORARY TABLE results_in_postgresql (
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
  PRIMARY KEY (workflow) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = '${POSTGRES_URL}', 'username' = '${POSTGRES_USER}', 'password' = '${POSTGRES_PASSWORD}',
  'table-name' = 'loopwright_results');

CREATE TEMPORARY TABLE decisions_in_postgresql (
  kafka_topic STRING,
  kafka_partition INT,
  kafka_offset BIGINT,
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
  PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = '${POSTGRES_URL}', 'username' = '${POSTGRES_USER}', 'password' = '${POSTGRES_PASSWORD}',
  'table-name' = 'loopwright_decisions');

CREATE TEMPORARY TABLE dead_letters_in_postgresql (
  kafka_topic STRING,
  kafka_partition INT,
  kafka_offset BIGINT,
  workflow STRING,
  cause STRING,
  stage STRING,
  why STRING,
  record STRING,
  logged_at TIMESTAMP(3),
  PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = '${POSTGRES_URL}', 'username' = '${POSTGRES_USER}', 'password' = '${POSTGRES_PASSWORD}',
  'table-name' = 'loopwright_dead_letters');

EXECUTE STATEMENT SET BEGIN

INSERT INTO results_in_postgresql
SELECT
  REGEXP_REPLACE(workflow, '\x00', ''),
  REPLACE(type, 'loopwright.workflow.', ''),
  REGEXP_REPLACE(JSON_VALUE(record, '$.data.reason'), '\x00', ''),
  REGEXP_REPLACE(JSON_VALUE(record, '$.data.team'), '\x00', ''),
  JSON_QUERY(record, '$.data.path'),
  TRY_CAST(JSON_VALUE(record, '$.data.hops') AS INT),
  TRY_CAST(JSON_VALUE(record, '$.data.duration_ms') AS BIGINT),
  TRY_CAST(JSON_VALUE(record, '$.data.spend.calls') AS INT),
  TRY_CAST(JSON_VALUE(record, '$.data.spend.tokens') AS INT),
  TRY_CAST(JSON_VALUE(record, '$.data.spend.cost') AS DOUBLE),
  JSON_QUERY(record, '$.data.document'),
  CAST(logged_at AS TIMESTAMP(3)),
  `partition`,
  `offset`
FROM workflow_results
WHERE workflow IS NOT NULL AND type IN ('loopwright.workflow.completed', 'loopwright.workflow.failed', 'loopwright.workflow.cancelled');

INSERT INTO decisions_in_postgresql
SELECT
  '${DECISIONS}',
  `partition`,
  `offset`,
  REGEXP_REPLACE(workflow, '\x00', ''),
  `hop`,
  REGEXP_REPLACE(outcome, '\x00', ''),
  REGEXP_REPLACE(strategy, '\x00', ''),
  REGEXP_REPLACE(agent, '\x00', ''),
  REGEXP_REPLACE(reason, '\x00', ''),
  REGEXP_REPLACE(model, '\x00', ''),
  model_calls,
  prompt_tokens,
  completion_tokens,
  cost,
  duration_ms,
  CAST(logged_at AS TIMESTAMP(3))
FROM decisions;

INSERT INTO dead_letters_in_postgresql
SELECT
  '${DEAD_LETTERS}',
  `partition`,
  `offset`,
  REGEXP_REPLACE(workflow, '\x00', ''),
  REGEXP_REPLACE(JSON_VALUE(record, '$.data.cause'), '\x00', ''),
  REGEXP_REPLACE(JSON_VALUE(record, '$.data.stage'), '\x00', ''),
  REGEXP_REPLACE(JSON_VALUE(record, '$.data.why'), '\x00', ''),
  REGEXP_REPLACE(record, '\x00', ''),
  CAST(logged_at AS TIMESTAMP(3))
FROM agent_dead_letters
WHERE type IS DISTINCT FROM 'loopwright.dead-letter.settled';

END;
