"""What the package of a shipped class knows beside its bundle: what an edit should do.

It registers a judge as an entry point, by the name of the class; for bundles see
`registry/bundles/shipped.py`:

    [project.entry-points."editvec.judges"]
    avatars = "editvec.avatars.judging"    # what `Judge` describes; a module will do
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from editvec.registry.bundles.shipped import load_entry, registered, shipped_bundles

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
        BundleFormatError: the judge that is registered cannot be loaded.
    """
    found = registered(JUDGES).get(class_name)
    return None if found is None else cast(Judge, load_entry(found))


def trunk_folder() -> Path | None:
    """The bundle whose perceptual trunk classes without one borrow; None where none is shipped."""
    folders = shipped_bundles().values()
    return next((one for one in folders if (one / "perceptual.safetensors").is_file()), None)
