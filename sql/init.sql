-- The topics as tables, and what one asks of them first. `loopwright sql` runs this before your own statements.
-- ${...} is filled in before the statements run. Tables read from the earliest record on, and never commit offsets.

-- A table is a topic: its key, value and headers, where a record stood, and the attributes of its envelope. `body` is the value without the
-- prefix that names its schema, where it has one (docs/schemas.md). What cannot be read as JSON has NULL in the attributes, and is none the
-- less a row. (Not JSON_VALUE ... RETURNING DOUBLE: a whole number among such would end the query.)
CREATE TEMPORARY TABLE agent_messages (
  workflow STRING,
  record STRING,
  headers MAP<STRING, BYTES> METADATA,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  body AS ${BODY},
  id AS JSON_VALUE(${BODY}, '$.id'),
  type AS JSON_VALUE(${BODY}, '$.type'),
  `hop` AS TRY_CAST(JSON_VALUE(${BODY}, '$.hop') AS INT),
  branch AS JSON_VALUE(${BODY}, '$.branch'),
  causation_id AS JSON_VALUE(${BODY}, '$.causationid'),
  happened_at AS TO_TIMESTAMP_LTZ(JSON_VALUE(${BODY}, '$.time'), 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''', 'UTC'),
  WATERMARK FOR logged_at AS logged_at
) WITH (
  'connector' = 'kafka', 'topic' = '${MESSAGES}', ${KAFKA}
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}', 'scan.watermark.idle-timeout' = '5 s',
  'key.format' = 'raw', 'key.fields' = 'workflow', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

CREATE TEMPORARY TABLE routing_decisions WITH ('topic' = '${DECISIONS}') LIKE agent_messages;

CREATE TEMPORARY TABLE routing_questions WITH ('topic' = '${QUESTIONS}') LIKE agent_messages;

CREATE TEMPORARY TABLE agent_callbacks WITH ('topic' = '${CALLBACKS}') LIKE agent_messages;

CREATE TEMPORARY TABLE workflow_results WITH ('topic' = '${RESULTS}') LIKE agent_messages;

CREATE TEMPORARY TABLE agent_dead_letters WITH ('topic' = '${DEAD_LETTERS}') LIKE agent_messages;

CREATE TEMPORARY TABLE agent_progress WITH ('topic' = '${PROGRESS}') LIKE agent_messages;

CREATE TEMPORARY TABLE agent_audit WITH ('topic' = '${AUDIT}') LIKE agent_messages;

-- Its key is the definition's, `team/name@version`; a NULL record removes it.
CREATE TEMPORARY TABLE agent_definitions (
  definition STRING,
  record STRING,
  logged_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  description AS JSON_VALUE(record, '$.description'),
  endpoint AS JSON_VALUE(record, '$.endpoint')
) WITH (
  'connector' = 'kafka', 'topic' = '${DEFINITIONS}', ${KAFKA}
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${BOUNDED_MODE}',
  'key.format' = 'raw', 'key.fields' = 'definition', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY');

-- Every decision: who was chosen, how and why. After a crash one may be written twice; per hop of a workflow the first one counts.
CREATE TEMPORARY VIEW decisions AS
SELECT workflow, logged_at, `hop`,
  JSON_VALUE(body, '$.data.outcome') AS outcome,
  JSON_VALUE(body, '$.data.strategy') AS strategy,
  JSON_VALUE(body, '$.data.targets[0].agent') AS agent,
  JSON_VALUE(body, '$.data.reason') AS reason,
  JSON_VALUE(body, '$.data.model') AS model,
  TRY_CAST(JSON_VALUE(body, '$.data.calls') AS INT) AS model_calls,
  TRY_CAST(JSON_VALUE(body, '$.data.tokens.prompt') AS INT) AS prompt_tokens,
  TRY_CAST(JSON_VALUE(body, '$.data.tokens.completion') AS INT) AS completion_tokens,
  TRY_CAST(JSON_VALUE(body, '$.data.cost') AS DOUBLE) AS cost,
  TRY_CAST(JSON_VALUE(body, '$.data.duration_ms') AS INT) AS duration_ms,
  `partition`, `offset`
FROM routing_decisions;

-- Every reply: how long it took, in how many attempts, what it used.
CREATE TEMPORARY VIEW replies AS
SELECT workflow, logged_at, `hop`, branch,
  JSON_VALUE(body, '$.data.agent') AS agent,
  TRY_CAST(JSON_VALUE(body, '$.data.attempts') AS INT) AS attempts,
  TRY_CAST(JSON_VALUE(body, '$.data.duration_ms') AS INT) AS duration_ms,
  TRY_CAST(JSON_VALUE(body, '$.data.usage.prompt_tokens') AS INT) AS prompt_tokens,
  TRY_CAST(JSON_VALUE(body, '$.data.usage.completion_tokens') AS INT) AS completion_tokens,
  TRY_CAST(JSON_VALUE(body, '$.data.usage.cost') AS DOUBLE) AS cost
FROM agent_messages
WHERE type = 'loopwright.agent.replied';

-- Every call that failed for good.
CREATE TEMPORARY VIEW failures AS
SELECT workflow, logged_at, `hop`, branch,
  JSON_VALUE(body, '$.data.agent') AS agent,
  TRY_CAST(JSON_VALUE(body, '$.data.attempts') AS INT) AS attempts,
  JSON_VALUE(body, '$.data.error.class') AS error,
  JSON_VALUE(body, '$.data.error.message') AS message
FROM agent_messages
WHERE type = 'loopwright.agent.failed';

-- How workflows ended.
CREATE TEMPORARY VIEW ends AS
SELECT workflow, logged_at,
  REPLACE(type, 'loopwright.workflow.', '') AS ended,
  JSON_VALUE(body, '$.data.reason') AS reason,
  TRY_CAST(JSON_VALUE(body, '$.data.hops') AS INT) AS hops,
  TRY_CAST(JSON_VALUE(body, '$.data.duration_ms') AS INT) AS duration_ms,
  TRY_CAST(JSON_VALUE(body, '$.data.spend.calls') AS INT) AS calls,
  TRY_CAST(JSON_VALUE(body, '$.data.spend.tokens') AS INT) AS tokens,
  TRY_CAST(JSON_VALUE(body, '$.data.spend.cost') AS DOUBLE) AS cost
FROM workflow_results;

-- What happened to a workflow, from all topics: SELECT * FROM timeline WHERE workflow = '...' ORDER BY logged_at.
CREATE TEMPORARY VIEW timeline AS
SELECT workflow, logged_at, `hop`, REPLACE(type, 'loopwright.', '') AS what, JSON_VALUE(body, '$.data.agent') AS agent,
  COALESCE(JSON_VALUE(body, '$.data.error.message'), JSON_VALUE(body, '$.data.reason')) AS why
FROM agent_messages WHERE type IS NOT NULL
UNION ALL
SELECT workflow, logged_at, `hop`, 'route.' || outcome, agent, strategy || ': ' || reason FROM decisions WHERE outcome IS NOT NULL
UNION ALL
SELECT workflow, logged_at, hops, 'result.' || ended, CAST(NULL AS STRING), reason FROM ends WHERE ended IS NOT NULL;

-- How long each agent takes, by the minute.
CREATE TEMPORARY VIEW agent_latency AS
SELECT window_start AS `minute`, agent, COUNT(*) AS replies,
  ROUND(PERCENTILE(duration_ms, 0.5), 1) AS p50_ms, ROUND(PERCENTILE(duration_ms, 0.9), 1) AS p90_ms, ROUND(PERCENTILE(duration_ms, 0.99), 1) AS p99_ms
FROM TABLE(TUMBLE(TABLE replies, DESCRIPTOR(logged_at), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, agent;

-- Each agent's work: calls, mean and longest duration.
CREATE TEMPORARY VIEW agent_work AS
SELECT agent, COUNT(*) AS calls, AVG(duration_ms) AS mean_ms, MAX(duration_ms) AS longest_ms, SUM(attempts) AS attempts
FROM replies GROUP BY agent;

-- Who is chosen, and how.
CREATE TEMPORARY VIEW decisions_per_agent AS
SELECT agent, strategy, COUNT(*) AS decisions, SUM(model_calls) AS model_calls
FROM decisions WHERE outcome = 'dispatch' GROUP BY agent, strategy;

-- What each decision and each reply used. A decision that was written twice counts once.
CREATE TEMPORARY VIEW spend AS
SELECT workflow, agent, COALESCE(prompt_tokens, 0) + COALESCE(completion_tokens, 0) AS routing_tokens, COALESCE(cost, 0) AS routing_cost,
  0 AS agent_tokens, CAST(0 AS DOUBLE) AS agent_cost
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY workflow, `hop` ORDER BY logged_at) AS n FROM decisions) WHERE n = 1
UNION ALL
SELECT workflow, agent, 0, CAST(0 AS DOUBLE), COALESCE(prompt_tokens, 0) + COALESCE(completion_tokens, 0), COALESCE(cost, 0)
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY workflow, `hop`, branch ORDER BY logged_at) AS n FROM replies) WHERE n = 1;

-- What workflows cost: the model that routes them, and what their agents say that they used.
CREATE TEMPORARY VIEW spend_per_workflow AS
SELECT workflow, SUM(routing_tokens) AS routing_tokens, SUM(routing_cost) AS routing_cost, SUM(agent_tokens) AS agent_tokens,
  SUM(agent_cost) AS agent_cost
FROM spend GROUP BY workflow;

-- The same by agent: what it cost to choose it, and what it used.
CREATE TEMPORARY VIEW spend_per_agent AS
SELECT agent, SUM(routing_tokens) AS routing_tokens, SUM(routing_cost) AS routing_cost, SUM(agent_tokens) AS agent_tokens,
  SUM(agent_cost) AS agent_cost
FROM spend WHERE agent IS NOT NULL GROUP BY agent;

-- What could not be processed, and where it stood; settled or not (`loopwright dlq list` tells which).
CREATE TEMPORARY VIEW dead_letters AS
SELECT workflow, logged_at,
  JSON_VALUE(body, '$.data.cause') AS cause,
  JSON_VALUE(body, '$.data.stage') AS stage,
  JSON_VALUE(body, '$.data.why') AS why,
  JSON_VALUE(body, '$.data.topic') AS `topic`
FROM agent_dead_letters
WHERE type IS DISTINCT FROM 'loopwright.dead-letter.settled';

-- How many of them, for which cause.
CREATE TEMPORARY VIEW dead_letters_per_cause AS
SELECT cause, stage, COUNT(*) AS letters, MAX(logged_at) AS last_at FROM dead_letters GROUP BY cause, stage;

-- Who was refused what; workflow `-` where it was about none.
CREATE TEMPORARY VIEW refusals AS
SELECT workflow, logged_at,
  JSON_VALUE(body, '$.data.where') AS `where`,
  JSON_VALUE(body, '$.data.what') AS what,
  JSON_VALUE(body, '$.data.cause') AS cause,
  JSON_VALUE(body, '$.data.why') AS why,
  JSON_VALUE(body, '$.data.who.agent') AS agent,
  JSON_VALUE(body, '$.data.who.tenant') AS tenant
FROM agent_audit;

-- Workflows that have not ended, and about which nothing was written for ten minutes: parked ones wait for a person, others may be stuck.
CREATE TEMPORARY VIEW stuck AS
SELECT workflow, MAX(logged_at) AS last_at, MAX(`hop`) AS `hop`, MAX(parked) = 1 AS parked
FROM (
  SELECT workflow, logged_at, `hop`, 0 AS ended, 0 AS parked FROM agent_messages WHERE type IS NOT NULL
  UNION ALL
  SELECT workflow, logged_at, `hop`, 0, CASE outcome WHEN 'park' THEN 1 ELSE 0 END FROM decisions
  UNION ALL
  SELECT workflow, logged_at, hops, 1, 0 FROM ends
)
GROUP BY workflow
HAVING SUM(ended) = 0 AND MAX(logged_at) < CURRENT_TIMESTAMP - INTERVAL '10' MINUTE;

-- Two agents that hand a workflow to each other, and back, and back again.
CREATE TEMPORARY VIEW ping_pong AS
SELECT * FROM decisions
MATCH_RECOGNIZE (
  PARTITION BY workflow ORDER BY logged_at
  MEASURES A.agent AS first_agent, B.agent AS second_agent, A.logged_at AS from_at, D.logged_at AS to_at, A.`hop` AS from_hop, D.`hop` AS to_hop
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B C D)
  DEFINE B AS B.agent <> A.agent, C AS C.agent = A.agent, D AS D.agent = B.agent
);
