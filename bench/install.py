"""Installs the packages of the peers, each into an environment of its own: `python -m bench.install [NAME ...]`.

    bench/peers/NAME.requirements.txt    Python packages, pinned   -> .loopwright/bench/venvs/NAME
    bench/peers/NAME.npm.txt             npm packages, pinned      -> .loopwright/bench/venvs/NAME/npm/node_modules

A peer without requirements runs in Loopwright's own environment. What is installed already, by the same files, is left alone. Package
mirrors are taken from the configuration of pip and npm on this machine.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
VENVS = PEERS.parents[1] / ".loopwright" / "bench" / "venvs"
LONGEST_S = 900.0


class NotInstalled(Exception):
    """A peer's packages cannot be installed; the text says why."""


def peers(folder: Path = PEERS) -> list[str]:
    """The names of all peers: the modules in the folder that can be run."""
    return sorted(file.stem for file in folder.glob("*.py") if "__main__" in file.read_text())


def wanted(name: str, folder: Path = PEERS) -> dict[str, Path]:
    """The files that say what a peer needs: "pip" and "npm", where it has them."""
    files = {"pip": folder / f"{name}.requirements.txt", "npm": folder / f"{name}.npm.txt"}
    return {kind: file for kind, file in files.items() if file.is_file()}


def lines(text: str) -> list[str]:
    """The packages in such a file, without comments."""
    return [line for raw in text.splitlines() if (line := raw.split(" #")[0].strip()) and not line.startswith("#")]


def digest(files: dict[str, Path]) -> str:
    """What the stamp of an environment holds: it is made anew when this changes."""
    return hashlib.sha256("\0".join(f"{kind}\0{file.read_text()}" for kind, file in sorted(files.items())).encode()).hexdigest()


def python_of(name: str, venvs: Path = VENVS) -> str:
    """The interpreter that a peer is run by."""
    return str(venvs / name / "bin" / "python") if "pip" in wanted(name) else sys.executable


def install(name: str, venvs: Path = VENVS) -> bool:
    """Install what a peer needs; False where it is there already. Raises NotInstalled."""
    files, home = wanted(name), venvs / name
    stamp = home / "installed"
    if not files or (stamp.is_file() and stamp.read_text() == digest(files)):
        return False
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    if "pip" in files:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "-q", "--allow-existing", "--python", sys.executable, str(home)])
        _run([*uv, "pip", "install", "-q", "--python", str(home / "bin" / "python"), "-r", str(files["pip"])])
    if "npm" in files:
        (home / "npm").mkdir()
        _run(["npm", "install", "--prefix", str(home / "npm"), "--no-audit", "--no-fund", "--silent", *lines(files["npm"].read_text())])
    stamp.write_text(digest(files))
    return True


def _run(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise NotInstalled(f"{command[0]} is not on this machine")
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, env=dict(os.environ), check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{' '.join(command[:4])} took longer than {LONGEST_S:.0f} s") from error
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines() or ["nothing was said"]
        raise NotInstalled(f"{' '.join(command[:4])}: {said[-1][:300]}")


def main() -> int:
    """Install the given peers, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench.install", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    failed = 0
    for name in parser.parse_args().names or peers():
        try:
            said = "installed" if install(name) else "nothing to do"
        except NotInstalled as error:
            said, failed = f"not installed: {error}", failed + 1
        sys.stdout.write(f"{name}: {said}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
