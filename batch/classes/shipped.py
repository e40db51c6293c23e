"""Classes that packages bring with them: their bundles, and judges who know what an edit should do.

A package registers them as entry points, by the name of the class:

    [project.entry-points."editvec.bundles"]
    avatars = "editvec.avatars.default:BUNDLE_FOLDER"    # a folder

    [project.entry-points."editvec.judges"]
    avatars = "editvec.avatars.judging"                  # what `Judge` describes; a module will do
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import SettingsError

BUNDLES = "editvec.bundles"
JUDGES = "editvec.judges"


class ExactEdits(Protocol):
    """Pictures, and the masks that an edit is meant to give them."""

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The pictures before the edit, [N, H, W, 3]."""

    @property
    def targets(self) -> npt.NDArray[np.uint8]:
        """The part masks after it, [N, H, W]."""


class Judge(Protocol):
    """What somebody other than the networks knows of the vectors of a class, by their names."""

    def expected_attribute(self, name: str, /) -> str | None:
        """The attribute of the class's classifier that the vector shall bring about, if any."""

    def can_render(self, name: str, /) -> bool:
        """Whether there are exact masks of what the vector is meant to change."""

    def exact_edits(self, name: str, count: int, /, *, seed: int, resolution: int) -> ExactEdits:
        """Pictures that the edit changes, and the masks that it is meant to give them."""


def judge_of(class_name: str) -> Judge | None:
    """Who judges the vectors of a class; None where nobody registered.

    Raises:
        SettingsError: the judge that is registered cannot be loaded.
    """
    found = _registered(JUDGES).get(class_name)
    return None if found is None else _load(found)


def shipped_bundles() -> dict[str, Path]:
    """The folders of the bundles that packages bring, by class; those that are really there.

    Raises:
        SettingsError: one that is registered cannot be loaded.
    """
    folders = {name: Path(_load(found)) for name, found in sorted(_registered(BUNDLES).items())}
    return {name: folder for name, folder in folders.items() if (folder / "bundle.json").is_file()}


def trunk_folder() -> Path | None:
    """The bundle whose perceptual trunk classes without one borrow; None where none is shipped."""
    folders = shipped_bundles().values()
    return next((one for one in folders if (one / "perceptual.safetensors").is_file()), None)


@cache
def _registered(group: str) -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=group)}


def _load(found: EntryPoint) -> Any:
    try:
        return found.load()
    except (ImportError, AttributeError) as exc:
        raise SettingsError(f"{found.group}: {found.name} = {found.value}: {exc}") from exc
