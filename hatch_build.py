"""Build hook: an editable install needs the autoload `.pth` named for itself.

hatchling copies `force-include` into wheels only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

AUTOLOAD = "distill_eval_autoload.pth"


class AutoloadHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the `.pth` to the top of site-packages in an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the file in the build data that only editable wheels read."""
        source = Path(self.root, "harness_tasks", AUTOLOAD)
        build_data["force_include_editable"][str(source)] = AUTOLOAD
