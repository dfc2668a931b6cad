-- pipeline: source-postgresql-cdc
-- Each new row of a table of leads in PostgreSQL starts a workflow. LOOPWRIGHT_CDC__DATABASE, LOOPWRIGHT_CDC__PASSWORD_FILE and
-- LOOPWRIGHT_CDC__TABLES='["public.leads"]' have `loopwright up` run Debezium, which writes the table's changes to a topic; this reads it.
-- A workflow's id is made of the table and the row's id, and each id is taken once: a snapshot that Debezium takes again, or a topic that is
-- read again, starts nothing twice. Rows that are changed or deleted later start and change nothing.
-- For a table of your own, copy this file: the names of the columns stand in it once.

-- What this remembers of an id, and so for how long it is taken once; a workflow that has ended is known to the job for an hour.
SET 'table.exec.state.ttl' = '${CDC_REMEMBERED:-90 d}';

CREATE TEMPORARY TABLE changes (
  record STRING,
  seen_at AS PROCTIME()
) WITH (
  'connector' = 'kafka', 'topic' = '${CDC_TOPIC:-loopwright.public.leads}', ${KAFKA}
  'properties.group.id' = 'loopwright-${CDC_TOPIC:-loopwright.public.leads}', 'properties.auto.offset.reset' = 'earliest',
  'scan.startup.mode' = 'group-offsets', 'format' = 'raw');

-- A column that is NULL is left out of the document, as contracts want it.
CREATE TEMPORARY VIEW leads AS
SELECT seen_at,
  'leads-' || JSON_VALUE(record, '$.after.id') AS workflow,
  JSON_VALUE(record, '$.after.name') AS name,
  JSON_VALUE(record, '$.after.email') AS email,
  JSON_VALUE(record, '$.after.company_name') AS company_name,
  JSON_VALUE(record, '$.after.lead_source') AS lead_source,
  JSON_VALUE(record, '$.after.job_title') AS job_title,
  JSON_VALUE(record, '$.after.company_website') AS company_website,
  JSON_VALUE(record, '$.after.project_description') AS project_description
FROM changes
WHERE JSON_VALUE(record, '$.op') IN ('c', 'r') AND JSON_VALUE(record, '$.after.id') IS NOT NULL;

INSERT INTO agent_messages (workflow, record, headers)
SELECT workflow,
  JSON_OBJECT(
    'specversion' VALUE '1.0',
    'id' VALUE workflow,
    'type' VALUE 'loopwright.workflow.started',
    'source' VALUE '/loopwright/sql/postgresql-cdc',
    'datacontenttype' VALUE 'application/json',
    'schemaversion' VALUE 1,
    'workflowid' VALUE workflow,
    'data' VALUE JSON_OBJECT(
      'team' VALUE '${TEAM}',
      'document' VALUE JSON_OBJECT(
        'name' VALUE name,
        'email' VALUE email,
        'company_name' VALUE company_name,
        'lead_source' VALUE lead_source,
        'job_title' VALUE job_title,
        'company_website' VALUE company_website,
        'project_description' VALUE project_description
        ABSENT ON NULL))),
  MAP[
    'content-type', ENCODE('application/cloudevents+json; charset=utf-8', 'UTF-8'),
    'ce_type', ENCODE('loopwright.workflow.started', 'UTF-8')]
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY workflow ORDER BY seen_at ASC) AS n FROM leads)
WHERE n = 1;
