"""Kafka Connect with Debezium, as a service of the local platform: the changes of PostgreSQL tables become records of Kafka topics.

    python -m loopwright.edges.platform.connect --port 8083     what `up` starts where LOOPWRIGHT_CDC__TABLES names tables

It writes the worker's and the connector's settings, and becomes the JVM: one process, which the supervisor knows. The database's password
is in a file for its owner alone, which Connect reads itself; its settings, its REST API and its log name that file.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopwright.edges.java_client import java_properties
from loopwright.edges.platform.jars import Jars
from loopwright.edges.platform.java import find_java
from loopwright.edges.platform.jvm import Jvm, child_environment, tuning
from loopwright.edges.platform.layout import Layout
from loopwright.edges.platform.ports import HOST
from loopwright.edges.private_file import write_private
from loopwright.errors import InvalidSettings, LoopwrightError
from loopwright.process_log import mask_logs
from loopwright.settings import Cdc, Settings, read_settings

NAME = "connect"
JARS, PLUGIN = "connect", "debezium"
MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"
PASSWORD = "password"  # noqa: S105  # a file's name
CLIENTS = ("", "producer.", "consumer.", "admin.")
_LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")


def worker_settings(settings: Settings, port: int, layout: Layout, plugins: Path) -> dict[str, str]:
    """What the worker is told. Its place in the database's log is kept with the platform's data, and noted once a second."""
    client = {"bootstrap.servers": settings.kafka.bootstrap_servers, **java_properties(settings.kafka.client, shaded=False)}
    return {
        **{f"{prefix}{name}": value for prefix in CLIENTS for name, value in client.items()},
        "listeners": f"http://{HOST}:{port}",
        "plugin.path": str(plugins),
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        "offset.storage.file.filename": str(layout.home / "data" / NAME / "offsets"),
        "offset.flush.interval.ms": "1000",
        "config.providers": "private",
        "config.providers.private.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    }


def connector_settings(cdc: Cdc, secrets: Path) -> dict[str, str]:
    """What the connector is told. Raises InvalidSettings where the database's address cannot be used.

    Source: Debezium, connector for PostgreSQL; the plugin pgoutput is in PostgreSQL itself.
    """
    parts = urlsplit(cdc.database)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username or not parts.path.strip("/"):
        why = f"LOOPWRIGHT_CDC__DATABASE={_shown(cdc.database)!r}"
        raise InvalidSettings("the database to follow is not named", why, "set it to postgresql://USER@HOST:PORT/DATABASE")
    if parts.password:
        remedy = "take it out, and write it to a file that LOOPWRIGHT_CDC__PASSWORD_FILE names"
        raise InvalidSettings("the database's address holds a password", f"LOOPWRIGHT_CDC__DATABASE={_shown(cdc.database)!r}", remedy)
    slot = "".join(letter if letter.isalnum() else "_" for letter in cdc.prefix.lower())
    return {
        "name": "postgresql",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": parts.hostname,
        "database.port": str(parts.port or 5432),
        "database.user": unquote(parts.username),
        "database.password": f"${{private:{secrets}:{PASSWORD}}}",
        "database.dbname": unquote(parts.path.strip("/")),
        "topic.prefix": cdc.prefix,
        "table.include.list": ",".join(cdc.tables),
        "slot.name": slot,
        "publication.name": slot,
        "publication.autocreate.mode": "filtered",
        "decimal.handling.mode": "string",
        "tombstones.on.delete": "false",
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.default.partitions": "-1",
    }


def _shown(address: str) -> str:
    parts = urlsplit(address)
    return address.replace(f":{parts.password}@", ":***@") if parts.password else address


def properties(settings: Mapping[str, str]) -> str:
    """The settings as a Java properties file."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: str) -> str:
    """A value as java.util.Properties reads it: backslashes doubled, no line ends, a leading space kept."""
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"\\{text}" if text.startswith(" ") else text


def password(cdc: Cdc) -> str:
    """The database's password; empty where no file is named. Raises InvalidSettings where the file cannot be read."""
    if cdc.password_file is None:
        return ""
    try:
        return cdc.password_file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = f"LOOPWRIGHT_CDC__PASSWORD_FILE={cdc.password_file}: {type(error).__name__}"
        raise InvalidSettings(
            "the database's password cannot be read", why, "name a readable file that holds the password alone"
        ) from error


def command(settings: Settings, port: int, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The JVM's command line and environment, once everything that it reads is written."""
    layout, jars = Layout.at(settings.home), Jars(settings.cache_dir())
    room = layout.run / NAME
    secrets, plugins = room / "secrets", room / "plugins"
    connector = connector_settings(settings.cdc, secrets)
    write_private(secrets / PASSWORD, password(settings.cdc))
    plugins.mkdir(parents=True, exist_ok=True)
    link = plugins / PLUGIN
    link.unlink(missing_ok=True)
    link.symlink_to(jars.folder(PLUGIN), target_is_directory=True)
    (layout.home / "data" / NAME).mkdir(parents=True, exist_ok=True)
    worker = write_private(room / "worker.properties", properties(worker_settings(settings, port, layout, plugins)))
    task = write_private(room / "postgresql.properties", properties(connector))
    java = find_java(environment)
    jvm = Jvm(NAME, MAIN, jars.paths(JARS), ("-Xmx512m", *tuning(True), *_LOGGING), (str(worker), str(task)))
    return jvm.args(java, layout), child_environment(environment, java, layout)


def main(arguments: Sequence[str]) -> int:
    """Become Kafka Connect."""
    mask_logs()
    parser = argparse.ArgumentParser(prog="python -m loopwright.edges.platform.connect", description="Kafka Connect with Debezium")
    parser.add_argument("--port", type=int, required=True)
    args, environment = command(read_settings(), parser.parse_args(arguments).port, dict(os.environ))
    os.execve(args[0], args, environment)  # noqa: S606  # a program of ours, without a shell


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LoopwrightError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(problem.exit_code)
