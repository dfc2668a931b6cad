-- The tables that sinks/postgresql.sql writes to. Run it once: psql "$DATABASE" -f sql/sinks/postgresql-tables.sql
-- Times are UTC. What was written in JSON stands there as text: a text takes what jsonb refuses, and `document::jsonb` is a cast away.

-- How workflows ended: the newest end of each.
CREATE TABLE IF NOT EXISTS loopwright_results (
  workflow text PRIMARY KEY,
  ended text,
  reason text,
  team text,
  path text,
  hops integer,
  duration_ms bigint,
  calls integer,
  tokens integer,
  cost double precision,
  document text,
  logged_at timestamp(3),
  kafka_partition integer,
  kafka_offset bigint
);

-- Every decision that was logged. After a crash a hop may have two; the one with the lowest offset counts.
CREATE TABLE IF NOT EXISTS loopwright_decisions (
  kafka_topic text,
  kafka_partition integer,
  kafka_offset bigint,
  workflow text,
  hop integer,
  outcome text,
  strategy text,
  agent text,
  reason text,
  model text,
  model_calls integer,
  prompt_tokens integer,
  completion_tokens integer,
  cost double precision,
  duration_ms integer,
  logged_at timestamp(3),
  PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset)
);

-- What could not be processed; `record` holds all that the dead letter says.
CREATE TABLE IF NOT EXISTS loopwright_dead_letters (
  kafka_topic text,
  kafka_partition integer,
  kafka_offset bigint,
  workflow text,
  cause text,
  stage text,
  why text,
  record text,
  logged_at timestamp(3),
  PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset)
);
