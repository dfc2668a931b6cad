"""A Flink distribution out of the apache-flink wheel: what its scripts and JVMs expect to find. In the cache of a machine, or in an image.

- `bin/` and `conf/` are copies (the scripts follow links back into the wheel); `lib/` is a real folder of links.
- flink-python stands in lib/, where the system class loader has it: as a job's own jar each job would load it anew and leak metaspace.
  The command line client insists on one in opt/ and uploads it with the job: an empty jar of that name is all it gets.
- The SQL planner stands in lib/ as itself and not inside its loader jar, which would be unpacked and opened by a class loader of its own
  at each start (1-2 s, and not archivable).
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from loopwright.errors import PlatformFailed

_LAYOUT = "1"
_PLANNER = "flink-table-planner.jar"
_LOADER = "flink-table-planner-loader"
_PYTHON = "flink-python"


@dataclass(frozen=True, slots=True)
class FlinkHome:
    """A laid out distribution."""

    folder: Path

    def classpath(self) -> tuple[Path, ...]:
        """The jars of lib/ as the scripts order them: by name, flink-dist last."""
        return tuple(sorted(self.folder.joinpath("lib").glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name)))

    def java_options(self) -> tuple[str, ...]:
        """The module flags that Flink's own configuration gives every JVM, less those for a compiler that a runtime has not."""
        said = yaml.safe_load((self.folder / "conf" / "config.yaml").read_text())["env"]["java"]["opts"]["all"]
        return tuple(option for option in said.split() if "jdk.compiler/" not in option)

    def environment(self, conf: Path, logs: Path) -> dict[str, str]:
        """The variables by which Flink's programs find it."""
        folders = {name: str(self.folder / name.lower()) for name in ("BIN", "LIB", "OPT", "PLUGINS")}
        return {
            "FLINK_HOME": str(self.folder),
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LOG_DIR": str(logs),
            **{f"FLINK_{name}_DIR": folder for name, folder in folders.items()},
        }


def lay_out(wheel: Path, jars: Sequence[Path], cache: Path) -> FlinkHome:
    """The distribution made of the `pyflink` package at `wheel` and further `jars`; made once for each combination, in `cache`/flink.

    Raises PlatformFailed where the package is not a complete apache-flink wheel.
    """
    target = cache / "flink" / _key(wheel, jars)
    if not target.is_dir():
        _forget_orphans(cache / "flink")
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
        try:
            fill(room, wheel, jars)
            room.chmod(0o755)
            os.replace(room, target)
        except OSError as error:
            shutil.rmtree(room, ignore_errors=True)
            if not target.is_dir():
                raise PlatformFailed(
                    "the Flink distribution cannot be laid out", str(error), f"check space and access in {cache}"
                ) from error
    return FlinkHome(target)


def fill(room: Path, wheel: Path, jars: Sequence[Path], plugins: Mapping[str, Sequence[Path]] | None = None) -> None:
    """Lay out the distribution in the folder `room`, which is there and empty. `plugins` are jars by plugin, each with a class loader of
    its own. Raises PlatformFailed where the package is not a complete apache-flink wheel."""
    for folder in ("bin", "conf"):
        shutil.copytree(wheel / folder, room / folder)
    for folder in ("lib", "opt", "plugins"):
        (room / folder).mkdir()
    (room / "wheel").write_text(f"{wheel}\n")
    found = [*wheel.joinpath("lib").glob("*.jar"), *wheel.joinpath("opt").glob("*.jar")]
    python = [jar for jar in found if jar.name.startswith(_PYTHON)]
    loader = [jar for jar in found if jar.name.startswith(_LOADER)]
    if len(python) != 1 or len(loader) != 1:
        raise PlatformFailed("the apache-flink package is incomplete", f"{wheel} lacks {_PYTHON} or {_LOADER}", "run `make setup` again")
    for jar in found:
        at_opt = jar.parent.name == "opt" and jar not in python
        if jar not in loader:
            (room / ("opt" if at_opt else "lib") / jar.name).symlink_to(jar)
    for jar in jars:
        (room / "lib" / jar.name).symlink_to(jar)
    for name, its in (plugins or {}).items():
        (room / "plugins" / name).mkdir()
        for jar in its:
            (room / "plugins" / name / jar.name).symlink_to(jar)
    with zipfile.ZipFile(room / "opt" / python[0].name, "w") as stub:
        stub.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\n")
    with zipfile.ZipFile(loader[0]) as packed, packed.open(_PLANNER) as inner, (room / "lib" / _PLANNER).open("wb") as out:
        shutil.copyfileobj(inner, out, 1 << 20)


def _key(wheel: Path, jars: Sequence[Path]) -> str:
    said = [_LAYOUT, str(wheel), *(f"{jar} {jar.stat().st_size}" for jar in jars)]
    said += sorted(f"{jar.name} {jar.stat().st_size}" for jar in wheel.joinpath("lib").glob("*.jar"))
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _forget_orphans(folder: Path) -> None:
    """Remove layouts whose wheel is gone: a deleted clone leaves nothing in the cache."""
    for mark in folder.glob("*/wheel"):
        if not Path(mark.read_text().strip()).is_dir():
            shutil.rmtree(mark.parent, ignore_errors=True)
