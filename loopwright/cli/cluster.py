"""`loopwright submit`, `stop`, `upgrade`: the job on a Flink cluster that runs elsewhere."""

from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.cli.options import AsJson, millis

if TYPE_CHECKING:
    from loopwright.cli.submission import Wish

app = typer.Typer()
Target = Annotated[str, typer.Option(help="The JobManager's REST address: host:port, or a URL.", metavar="HOST:PORT")]
Parallelism = Annotated[
    int | None, typer.Option(min=1, help="Instances of each operator. Default: 1, or as before the upgrade.", show_default=False)
]
Mode = Annotated[
    str,
    typer.Option(
        help="Python inside the TaskManagers (thread), or in processes of its own (process). Default: as before the upgrade; else thread "
        "with the workers' own Python, process with one that is sent.",
        metavar="thread|process",
        show_default=False,
    ),
]
Python = Annotated[
    str | None,
    typer.Option(
        help="The workers' own Python, a path there, with what Loopwright requires installed. Empty, and the default: a copy of this one "
        "is sent along; of an upgrade: as before.",
        metavar="PATH",
        show_default=False,
    ),
]
Option = Annotated[
    list[str] | None, typer.Option("-D", help="An option of Flink for the job, on top of ours.", metavar="NAME=VALUE", show_default=False)
]
JobId = Annotated[str, typer.Option("--job", help="The job's id, where several run there.", metavar="ID", show_default=False)]
Into = Annotated[
    str,
    typer.Option(
        "--into", help="Folder for the savepoint, as a URI that the cluster knows. Default: the cluster's own.", show_default=False
    ),
]


@app.command()
def submit(
    target: Target,
    *,
    parallelism: Parallelism = None,
    from_savepoint: Annotated[
        str, typer.Option(help="Go on from this savepoint or checkpoint: a path or URI there.", show_default=False)
    ] = "",
    mode: Mode = "",
    python: Python = None,
    option: Option = None,
    as_json: AsJson = False,
) -> None:
    """Submit the job to a Flink cluster: the code, and a Python with what it requires, are sent along."""
    from loopwright.cli import submission

    raise typer.Exit(submission.submit(_wish(target, parallelism, mode, python, option), from_savepoint, as_json))


@app.command()
def stop(
    target: Target,
    *,
    savepoint: Annotated[bool, typer.Option("--savepoint/--no-savepoint", help="With a savepoint to go on from, or cancelled.")] = True,
    into: Into = "",
    job: JobId = "",
    as_json: AsJson = False,
) -> None:
    """Stop the job on a Flink cluster. `down` stops the local platform's."""
    from loopwright.cli import submission

    raise typer.Exit(submission.stop(target, job, into if savepoint else None, as_json))


@app.command()
def upgrade(
    target: Target,
    *,
    parallelism: Parallelism = None,
    mode: Mode = "",
    python: Python = None,
    option: Option = None,
    into: Into = "",
    verify: Annotated[str, typer.Option(help="The longest time until the new one has completed a checkpoint.")] = "2m",
    job: JobId = "",
    as_json: AsJson = False,
) -> None:
    """Put this release in the place of the one that runs: savepoint, submission, verification; and back where it does not run well."""
    from loopwright.cli import submission

    seconds = (millis(verify, "--verify") or 0) / 1000
    raise typer.Exit(submission.upgrade(_wish(target, parallelism, mode, python, option), job, into, seconds, as_json))


def _wish(target: str, parallelism: int | None, mode: str, python: str | None, options: list[str] | None) -> "Wish":
    from loopwright.cli.submission import Wish

    if mode not in ("", "thread", "process"):
        raise typer.BadParameter(f"{mode!r} is neither thread nor process", param_hint="--mode")
    pairs = [option.partition("=") for option in options or ()]
    if wrong := [name for name, sign, _ in pairs if not (name and sign)]:
        raise typer.BadParameter(f"{wrong[0]!r} is no NAME=VALUE", param_hint="-D")
    return Wish(target, parallelism, mode, python, {name: value for name, _, value in pairs})
