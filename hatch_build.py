"""What a wheel holds beside the package: the job and what it needs, inside the package: no further name is claimed in site-packages."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("jobs", "udfs", "sql", "agents")
KINDS = (".py", ".sql", ".yaml", ".json")


class Bundle(BuildHookInterface[Any]):
    """Puts the files into `loopwright/bundle/`. An editable installation finds them in the repository."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version == "editable":
            return
        root = Path(self.root)
        files = [file for name in BUNDLED for file in root.joinpath(name).rglob("*") if file.suffix in KINDS]
        build_data["force_include"] |= {str(file): f"loopwright/bundle/{file.relative_to(root)}" for file in files}
