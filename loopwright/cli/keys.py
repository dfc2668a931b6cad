"""`loopwright keys`: making the keys of sensitive fields, rotating them, showing their ids (never the keys); a secret that callbacks are
signed with. `loopwright encrypt`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.cli.options import AsJson, given_settings

File = Annotated[Path | None, typer.Argument(help="The key file. Default: LOOPWRIGHT_KEYS_FILE.", show_default=False)]
KeyId = Annotated[str, typer.Option("--id", help="The new key's id. Default: today's date.", show_default=False)]
app = typer.Typer(help="Keys of sensitive fields: make a file, rotate, list; a secret for callbacks.", no_args_is_help=True)


@app.command("new")
def new(file: File = None, kid: KeyId = "", as_json: AsJson = False) -> None:
    """Make a key file with one key, for its owner's eyes alone. An existing file is never overwritten."""
    from loopwright.edges.keyring import new_key, write_keys
    from loopwright.errors import Conflict

    path = _path(file)
    if path.exists():
        raise Conflict(
            f"{path} exists", "its keys may be needed to read what they encrypted", "name another file, or `loopwright keys rotate`"
        )
    write_keys(path, new_key(kid or _today(), None))
    _print(
        path, as_json, f"set LOOPWRIGHT_KEYS_FILE={path.resolve()} wherever Loopwright runs, and keep a copy of the file in a safe place"
    )


@app.command("rotate")
def rotate(
    file: File = None,
    kid: KeyId = "",
    stage: Annotated[bool, typer.Option("--stage", help="Add the key without using it yet: spread the file first.")] = False,
    to: Annotated[str, typer.Option("--to", help="Use this key, which is in the file, and add none.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Add a key and use it for new values; the others go on opening old ones. Takes effect without a restart."""
    from loopwright.edges.keyring import new_key, read_keys, write_keys
    from loopwright.errors import NotFound
    from loopwright.sealing import Keys

    path = _path(file)
    present = read_keys(path)
    if to and to not in present.keys:
        raise NotFound(f"there is no key {to!r}", f"{path} has {', '.join(present.keys)}", "`loopwright keys list` shows them")
    write_keys(path, Keys(to, present.keys) if to else new_key(kid or _free(present.keys), present, activate=not stage))
    _print(path, as_json, "`loopwright keys rotate --to ID` puts it to use" if stage else "")


@app.command("list")
def list_keys(file: File = None, as_json: AsJson = False) -> None:
    """Show the ids of the keys, and which one is in use."""
    _print(_path(file), as_json, "")


@app.command("callbacks")
def callbacks(
    file: Annotated[Path, typer.Argument(help="The secrets file, for LOOPWRIGHT_SECRETS_FILE.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a secrets file with a random secret that callbacks are signed with. One that is there is left as it is."""
    from loopwright.cli import show
    from loopwright.edges.secrets import SecretsFile, make_secrets
    from loopwright.errors import InvalidSettings

    there = file.exists()
    try:
        SecretsFile(make_secrets(file))
    except OSError as error:
        why = f"{file}: {error.strerror or error}"
        raise InvalidSettings("the secrets file cannot be written", why, "name a file in a folder of yours") from error
    if as_json:
        show.print_json({"file": str(file), "made": not there})
    else:
        sys.stdout.write(f"{file} {'was there' if there else 'is made'}\n")


def encrypt(name: str, team: str, workflow: str) -> None:
    """Print the document in the file `name`, sealed for `workflow`: for a producer of one's own that writes starts to Kafka."""
    from loopwright import schemas
    from loopwright.cli import show
    from loopwright.cli.documents import documents_in, read_input
    from loopwright.edges.entrance import Entrance
    from loopwright.errors import InvalidDocument
    from loopwright.message import Message

    settings = given_settings()
    documents = documents_in(read_input(name), name)
    if len(documents) != 1:
        why = f"there are {len(documents)}, and --id names one workflow"
        raise InvalidDocument("one document is encrypted at a time", why, "call it once for each")
    data: dict[str, Any] = {"document": documents[0]} | ({"team": team} if team else {})
    message = Message(workflow, schemas.STARTED, "/loopwright/cli", workflow, data)
    show.print_json(Entrance.now(settings).sealed(message).data["document"])


def _path(file: Path | None) -> Path:
    from loopwright.errors import InvalidSettings

    found = file or given_settings().keys_file
    if found is None:
        raise InvalidSettings("no key file is named", "LOOPWRIGHT_KEYS_FILE is not set", "name one: loopwright keys new FILE")
    return found.expanduser()


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _free(taken: Any) -> str:
    """Today's date, with a number where it is taken."""
    return next(kid for number in range(1, 10**6) if (kid := _today() + (f".{number}" if number > 1 else "")) not in taken)


def _print(path: Path, as_json: bool, remark: str) -> None:
    from loopwright.cli import show
    from loopwright.edges.keyring import read_keys

    keys = read_keys(path)
    if as_json:
        show.print_json({"file": str(path), "active": keys.active, "keys": list(keys.keys)})
        return
    for kid in keys.keys:
        show.console().print(f"{kid}{'  in use' if kid == keys.active else ''}", markup=False)
    if remark:
        sys.stdout.write(f"{remark}\n")
