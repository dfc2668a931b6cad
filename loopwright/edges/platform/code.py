"""What a job runs as code: where it lies on this machine, its digest, and a copy of it that can be sent to workers.

A wheel has jobs/, udfs/, sql/ and agents/ inside the package `loopwright`; a clone of the repository has them beside it.
"""

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import loopwright

PACKAGE = Path(loopwright.__file__).resolve().parent
_BUNDLE = PACKAGE / "bundle"
ROOT = _BUNDLE if _BUNDLE.is_dir() else PACKAGE.parent
JOB = ROOT / "jobs" / "orchestrator.py"
JOB_NAME = "loopwright orchestrator"
PACKAGES = ("loopwright", "udfs", "jobs")  # what workers import
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the same code always makes the same archive


def files(root: Path | None = None) -> Iterator[tuple[str, Path]]:
    """The files of the packages, each with its path inside an archive, in a fixed order. `root`: a copy, instead of what runs here."""
    for name in PACKAGES:
        folder = (root or (PACKAGE.parent if name == PACKAGE.name else ROOT)) / name
        for file in sorted(folder.rglob("*")):
            path = file.relative_to(folder)
            if file.is_file() and "__pycache__" not in path.parts and path.parts[0] != _BUNDLE.name:
                yield f"{name}/{path.as_posix()}", file


def digest(root: Path | None = None) -> str:
    """What tells one state of the code from another: 16 hexadecimal digits of a SHA-256 over the files' names and contents."""
    return _digest(root)


@cache
def _digest(root: Path | None) -> str:
    found = hashlib.sha256()
    for name, file in files(root):
        content = file.read_bytes()
        found.update(f"{name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:16]


def copied(target: Path) -> Path:
    """A copy of the packages in the folder `target`, which is made; later changes of the original do not reach it."""
    for name, file in files():
        there = target / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, there)
    return target


def zipped(root: Path | None, target: Path) -> Path:
    """The packages, or those of the copy at `root`, as the zip file `target`, as Flink's `-pyfs` takes it."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files(root):
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def main() -> None:
    """`python -m loopwright.edges.platform.code FILE`: write the archive, for a `flink run` by hand."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m loopwright.edges.platform.code FILE.zip")
    print(zipped(None, Path(sys.argv[1])))  # noqa: T201  # it is a command


if __name__ == "__main__":
    main()
