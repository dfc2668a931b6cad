"""Where checkpoints and savepoints of the local platform lie: in its state folder, or in another folder that somebody named.

In the second case `data/checkpoints` and `data/savepoints` are links. So their names stay, which stand in the checkpoints themselves, and
what was written earlier can be restored after it was moved.
"""

import hashlib
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopwright.edges.platform.layout import Layout
from loopwright.errors import InvalidSettings, PlatformFailed

VARIABLE = "LOOPWRIGHT_STATE__CHECKPOINTS"


def folder_named(setting: str) -> Path | None:
    """The folder that the setting names, by path or `file:` URI; None for the state folder.

    Raises InvalidSettings for any other URI: the local platform looks for what to resume from, and it can look into folders alone.
    """
    if not setting:
        return None
    parts = urlsplit(setting)
    if parts.scheme not in ("", "file") or parts.netloc:
        remedy = f"name a folder in {VARIABLE}; s3://... is for a cluster of your own (docs/containers.md)"
        raise InvalidSettings("the local platform cannot keep checkpoints there", f"{VARIABLE} is {setting}", remedy)
    return Path(unquote(parts.path) if parts.scheme else setting).expanduser().resolve()


def place(layout: Layout, folder: Path | None) -> None:
    """Have checkpoints and savepoints lie in `folder` (None: in the state folder), and move there what there is. Nothing may be running.

    Platforms with other state folders may be given the same folder: each has one of its own in it. Raises PlatformFailed.
    """
    mark = hashlib.sha256(str(layout.home).encode()).hexdigest()[:8]
    own = folder / f"{layout.home.name.lstrip('.')}-{mark}" if folder else None
    for at in (layout.checkpoints, layout.savepoints):
        if at.is_symlink() and not at.exists():  # such as a disk that is not mounted: without them the job would begin anew
            remedy = "bring it back; `loopwright down --wipe` begins anew"
            raise PlatformFailed("the folder of the checkpoints is not there", f"{at} leads to {at.readlink()}", remedy)
        try:
            _place(at, own / at.name if own else None)
        except OSError as error:
            why = f"{own or at}: {error.strerror or error}"
            raise PlatformFailed("the folder of the checkpoints cannot be used", why, f"correct {VARIABLE}, or make room there") from error


def _place(at: Path, there: Path | None) -> None:
    if there is not None:
        there.mkdir(parents=True, exist_ok=True)
    if at.resolve() == (there or at.parent.resolve() / at.name):
        return
    target = there or at.with_name(f"{at.name}.new")
    target.mkdir(exist_ok=True)
    for one in sorted(at.iterdir()):
        shutil.move(one, target / one.name)
    if at.is_symlink():
        at.unlink()
    else:
        at.rmdir()
    if there is None:
        target.rename(at)
    else:
        at.symlink_to(there, target_is_directory=True)


def wipe_elsewhere(layout: Layout) -> None:
    """Delete what lies outside the state folder; the links go with it."""
    for at in (layout.checkpoints, layout.savepoints):
        if at.is_symlink():
            shutil.rmtree(at.resolve(), ignore_errors=True)
