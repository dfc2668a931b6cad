"""What was submitted to a cluster, kept so that it can be submitted again: a copy of the code, the job's options, its settings.

A folder for each, numbered; `current` names the one whose job runs. The last two are kept.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.edges.platform import code
from loopwright.edges.platform.jobs import Job
from loopwright.edges.private_file import write_private
from loopwright.errors import PlatformFailed

_KEPT = 2
_FACTS, _CODE, _CURRENT = "release.json", "code", "current"


@dataclass(frozen=True, slots=True)
class Release:
    """The release in `folder`. `options` are Flink's for its job, `variables` the settings of Loopwright that it was submitted with."""

    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> Path:
        """What the client imports when it submits this release."""
        return self.folder / _CODE

    @property
    def digest(self) -> str:
        """The digest of its code."""
        return code.digest(self.code)

    def job(self) -> Job:
        """Its job. Workers are sent the code as one zip file."""
        sent = self.folder / f"loopwright-{self.digest}.zip"
        if not sent.exists():
            code.zipped(self.code, sent)
        return Job(self.code / code.JOB.relative_to(code.ROOT), python_files=[sent], environment=self.variables)


class Releases:
    """The releases of one cluster, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, options: Mapping[str, str], variables: Mapping[str, str]) -> Release:
        """A release of the code that runs here. It is not the current one yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = self._folder / str(max(self._numbers(), default=0) + 1)
        code.copied(folder / _CODE)
        write_private(folder / _FACTS, json.dumps({"options": dict(options), "variables": dict(variables)}, indent=2) + "\n")
        return Release(folder, options, variables)

    def current(self) -> Release | None:
        """The release whose job was submitted last; None where there is none."""
        note = self._folder / _CURRENT
        if not note.is_file():
            return None
        folder = self._folder / note.read_text().strip()
        try:
            facts = json.loads((folder / _FACTS).read_text())
            return Release(folder, facts["options"], facts["variables"])
        except (OSError, ValueError, KeyError) as error:
            remedy = "stop the job with `loopwright stop`, and submit it with --from-savepoint"
            raise PlatformFailed("the release that runs cannot be read", f"{folder}: {error}", remedy) from error

    def take(self, release: Release) -> None:
        """Make it the current one, and forget all but it and the one before it."""
        write_private(self._folder / _CURRENT, release.folder.name + "\n")
        for number in sorted(self._numbers())[:-_KEPT]:
            if str(number) != release.folder.name:
                shutil.rmtree(self._folder / str(number), ignore_errors=True)

    def drop(self, release: Release) -> None:
        """Forget one that never ran."""
        shutil.rmtree(release.folder, ignore_errors=True)

    def _numbers(self) -> list[int]:
        return [int(entry.name) for entry in self._folder.iterdir() if entry.name.isdigit()]
