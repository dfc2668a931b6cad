-- The topics as tables, and what one asks of them first. One statement per paragraph.
-- ${BOOTSTRAP_SERVERS} is filled in before the statements run. Tables read from the earliest record on, and never commit offsets.

CREATE TEMPORARY TABLE agent_messages (
  workflow STRING, record STRING,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${MESSAGES}', 'properties.bootstrap.servers' = '${BOOTSTRAP_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}',
  'key.format' = 'raw', 'key.fields' = 'workflow', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

CREATE TEMPORARY TABLE routing_decisions (
  workflow STRING, record STRING,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${DECISIONS}', 'properties.bootstrap.servers' = '${BOOTSTRAP_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}',
  'key.format' = 'raw', 'key.fields' = 'workflow', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

CREATE TEMPORARY TABLE workflow_results (
  workflow STRING, record STRING,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${RESULTS}', 'properties.bootstrap.servers' = '${BOOTSTRAP_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}',
  'key.format' = 'raw', 'key.fields' = 'workflow', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

CREATE TEMPORARY TABLE agent_dead_letters (
  workflow STRING, record STRING,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${DEAD_LETTERS}', 'properties.bootstrap.servers' = '${BOOTSTRAP_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}',
  'key.format' = 'raw', 'key.fields' = 'workflow', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

CREATE TEMPORARY TABLE agent_audit (
  workflow STRING, record STRING,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${AUDIT}', 'properties.bootstrap.servers' = '${BOOTSTRAP_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}',
  'key.format' = 'raw', 'key.fields' = 'workflow', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

-- Every decision: who was chosen, how and why.
CREATE TEMPORARY VIEW decisions AS
SELECT workflow, logged_at,
  JSON_VALUE(record, '$.hop' RETURNING INTEGER) AS `hop`,
  JSON_VALUE(record, '$.data.outcome') AS outcome,
  JSON_VALUE(record, '$.data.strategy') AS strategy,
  JSON_VALUE(record, '$.data.targets[0].agent') AS agent,
  JSON_VALUE(record, '$.data.reason') AS reason,
  JSON_VALUE(record, '$.data.calls' RETURNING INTEGER) AS model_calls
FROM routing_decisions;

-- Every reply: how long it took, in how many attempts.
CREATE TEMPORARY VIEW replies AS
SELECT workflow, logged_at,
  JSON_VALUE(record, '$.hop' RETURNING INTEGER) AS `hop`,
  JSON_VALUE(record, '$.data.agent') AS agent,
  JSON_VALUE(record, '$.data.attempts' RETURNING INTEGER) AS attempts,
  JSON_VALUE(record, '$.data.duration_ms' RETURNING INTEGER) AS duration_ms
FROM agent_messages
WHERE JSON_VALUE(record, '$.type') = 'loopwright.agent.replied';

-- How workflows ended.
CREATE TEMPORARY VIEW ends AS
SELECT workflow, logged_at,
  REPLACE(JSON_VALUE(record, '$.type'), 'loopwright.workflow.', '') AS ended,
  JSON_VALUE(record, '$.data.reason') AS reason,
  JSON_VALUE(record, '$.data.hops' RETURNING INTEGER) AS hops,
  JSON_VALUE(record, '$.data.duration_ms' RETURNING INTEGER) AS duration_ms
FROM workflow_results;

-- What could not be processed, and where it stood; settled or not (`loopwright dlq list` tells which).
CREATE TEMPORARY VIEW dead_letters AS
SELECT workflow, logged_at,
  JSON_VALUE(record, '$.data.cause') AS cause,
  JSON_VALUE(record, '$.data.stage') AS stage,
  JSON_VALUE(record, '$.data.why') AS why,
  JSON_VALUE(record, '$.data.topic') AS `topic`
FROM agent_dead_letters
WHERE JSON_VALUE(record, '$.type') IS DISTINCT FROM 'loopwright.dead-letter.settled';

-- Who was refused what; workflow `-` where it was about none.
CREATE TEMPORARY VIEW refusals AS
SELECT workflow, logged_at,
  JSON_VALUE(record, '$.data.where') AS `where`,
  JSON_VALUE(record, '$.data.what') AS what,
  JSON_VALUE(record, '$.data.cause') AS cause,
  JSON_VALUE(record, '$.data.why') AS why,
  JSON_VALUE(record, '$.data.who.agent') AS agent,
  JSON_VALUE(record, '$.data.who.tenant') AS tenant
FROM agent_audit;

-- Each agent's work: calls, mean and longest duration.
CREATE TEMPORARY VIEW agent_work AS
SELECT agent, COUNT(*) AS calls, AVG(duration_ms) AS mean_ms, MAX(duration_ms) AS longest_ms, SUM(attempts) AS attempts
FROM replies GROUP BY agent;
