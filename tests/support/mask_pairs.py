"""A mask pair of the class `tiny` as files, to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.batch.learning.request import LearnRequest, LearnSettings

MOUTH = 4
FAST = LearnSettings(num_steps=8, embed="steps:2")


@dataclass(frozen=True)
class Files:
    """A mask pair of the class `tiny` in files, and the arrays that are in them."""

    image: Path
    before: Path
    after: Path
    pixels: npt.NDArray[np.uint8]
    mask_before: npt.NDArray[np.uint8]
    mask_after: npt.NDArray[np.uint8]

    def request(self, **changes: object) -> LearnRequest:
        request = LearnRequest(
            address="tiny/grin",
            image=self.image,
            mask_after=self.after,
            mask_before=self.before,
            description="Widens the mouth.",
            settings=FAST,
        )
        return replace(request, **changes)  # type: ignore[arg-type]


def write_files(
    folder: Path,
    pixels: npt.NDArray[np.uint8],
    before: npt.NDArray[np.uint8],
    after: npt.NDArray[np.uint8],
) -> Files:
    image, before_file, after_file = (folder / f"{name}.png" for name in ("i", "before", "after"))
    Image.fromarray(pixels).save(image)
    Image.fromarray(before).save(before_file)
    Image.fromarray(after).save(after_file)
    return Files(image, before_file, after_file, pixels, before, after)
