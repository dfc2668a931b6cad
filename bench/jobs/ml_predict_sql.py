"""The statements of the SQL reference design (see `ml_predict_job`). Pure: where the broker and the model are is given."""

# ruff: noqa: S608  # what is put into the statements is the workload's own text, and quoted

from bench.jobs.topics import CAPACITY, ROUTED, TIMEOUT_S, WORK
from bench.workload import BEFORE_DOCUMENT, MODEL, prompt


def statements(kafka: str, simulators: str) -> list[str]:
    """What the job consists of; the last one is the INSERT."""
    system, user = (str(message["content"]) for message in prompt({})["messages"])
    asked = user.partition("\n\nHas run:")[0] + "\n\n" + BEFORE_DOCUMENT
    options = {"async": "true", "output-mode": "ALLOW_UNORDERED", "max-concurrent-operations": str(CAPACITY), "timeout": f"{TIMEOUT_S}s"}
    listed = ", ".join(f"{_text(name)}, {_text(value)}" for name, value in options.items())
    return [
        _topic("`work`", "`document` STRING", kafka, WORK, {"format": "raw", "scan.startup.mode": "earliest-offset"}),
        _topic("`routed`", "`agent` STRING, `document` STRING", kafka, ROUTED, _KEYED),
        "CREATE TEMPORARY MODEL `router` INPUT (`asked` STRING) OUTPUT (`answer` STRING) WITH "
        + _options(_model(f"{simulators}/v1/chat/completions", system)),
        f"CREATE TEMPORARY VIEW `questions` AS SELECT `document`, {_text(asked)} || `document` AS `asked` FROM `work`",
        "INSERT INTO `routed` SELECT JSON_VALUE(`answer`, '$.agent'), `document` FROM "
        f"ML_PREDICT(TABLE `questions`, MODEL `router`, DESCRIPTOR(`asked`), MAP[{listed}])",
    ]


_KEYED = {
    "key.format": "raw",
    "key.fields": "agent",
    "value.format": "raw",
    "value.fields-include": "EXCEPT_KEY",
    "sink.delivery-guarantee": "at-least-once",
    "properties.linger.ms": "0",
}


def _model(endpoint: str, system: str) -> dict[str, str]:
    key = "none"  # the simulator wants no key, the option some text
    return {"provider": "openai", "endpoint": endpoint, "api-key": key, "model": MODEL, "system-prompt": system, "max-tokens": "300"}


def _topic(name: str, columns: str, kafka: str, topic: str, more: dict[str, str]) -> str:
    shared = {"connector": "kafka", "topic": topic, "properties.bootstrap.servers": kafka, "properties.group.id": "ml-predict"}
    return f"CREATE TEMPORARY TABLE {name} ({columns}) WITH {_options({**shared, **more})}"


def _options(options: dict[str, str]) -> str:
    return "(" + ", ".join(f"{_text(name)} = {_text(value)}" for name, value in options.items()) + ")"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
