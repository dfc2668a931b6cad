-- Python functions for queries. None of them fails a query: what cannot be processed says so in its result.

-- route(team, document): the decision that the router would take first for this document, as JSON (docs/records.md), or {"error": why}. Team ''
-- is the default team. The model is asked about all rows of a batch at once; nothing is written, and no agent is called.
CREATE TEMPORARY FUNCTION route AS 'udfs.functions.route' LANGUAGE PYTHON;

-- contract_check(agent, document): NULL where the document keeps the agent's input contract, else what is wrong with it. The agent is `name`,
-- `team/name` or `team/name@version`.
CREATE TEMPORARY FUNCTION contract_check AS 'udfs.functions.contract_check' LANGUAGE PYTHON;

-- redact(document): the same with *** for what looks like a secret and for sensitive fields.
CREATE TEMPORARY FUNCTION redact AS 'udfs.functions.redact' LANGUAGE PYTHON;
