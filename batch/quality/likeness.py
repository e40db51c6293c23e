"""Images that do not look like the class: its generator cannot make them.

One rule for photographs and for annotated images. Each has an error of its reconstruction:
perceptual distance times root mean squared error (without a perceptual network, mean squared
error), so that an image stands out by what both say and not by either alone. It does not look like
the class when the logarithm of its error is farther above the median than three deviations (median
absolute deviation, scaled to that of a normal distribution), because such errors spread by factors,
and when it is at the same time

- worse than every sample of the generator, and than twice the median, where samples were measured
  in the same way: `train encoder` has them;
- worse than ten times the median, where they were not: `train segmentation`, whose images are
  embedded by inversion, which says nothing of samples.

If all photographs are hardly better than the average image, nothing of the class is in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import SettingsError
from editvec.batch.quality.reconstruction import Errors

DEVIATIONS = 3.0
LEAST_RATIO = 10.0  # to the median
LEAST_RATIO_BESIDE_SAMPLES = 2.0
LEAST_KNOWN = 0.1  # share of the samples' error that an encoder must explain to judge by
LEAST_EXPLAINED = 0.25  # of what it explains of samples
_MAD_TO_DEVIATION = 1.4826


class Unlike(NamedTuple):
    """A photograph that does not look like the class."""

    name: str
    psnr: float
    perceptual: float | None

    def to_json(self) -> dict[str, object]:
        """For `--json` and the bundle."""
        return {"path": self.name, "psnr": self.psnr, "perceptual": self.perceptual}


def find_unlike(images: Errors, samples: Errors | None = None) -> list[int]:
    """Positions of the images that do not look like the class.

    Args:
        images: Errors of their reconstructions.
        samples: The same of samples of the generator that no training has seen; None where they
            were not measured.
    """
    badness = _logarithm(images)
    median = float(np.median(badness))
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(badness - median)))
    bound = median + DEVIATIONS * deviation
    if samples is None:
        bound = max(bound, median + math.log(LEAST_RATIO))
    else:
        least = median + math.log(LEAST_RATIO_BESIDE_SAMPLES)
        bound = max(bound, least, float(_logarithm(samples).max()))
    return [int(place) for place in np.flatnonzero(badness > bound)]


def check_likeness(
    photographs: Errors, samples: Errors, *, average: tuple[Errors, Errors], class_name: str
) -> None:
    """Refuse photographs none of which looks like the class.

    Args:
        photographs: Errors of the encoder on photographs.
        samples: The same on samples of the generator that it has not seen.
        average: Errors of the average image on photographs and on samples.
        class_name: For the message.

    Raises:
        SettingsError: The encoder explains of them next to nothing, while it explains samples.
    """
    explained = [
        1 - float(np.median(found.badness) / np.median(blind.badness))
        for found, blind in zip((photographs, samples), average, strict=True)
    ]
    if explained[1] < LEAST_KNOWN or explained[0] >= LEAST_EXPLAINED * explained[1]:
        return
    raise SettingsError(
        f"photographs: they do not look like class {class_name}: reconstructed with "
        f"{np.median(photographs.psnr):.1f} dB (median; samples of the class "
        f"{np.median(samples.psnr):.1f} dB), hardly better than its average image; "
        "--keep-unlike trains on them nonetheless"
    )


def described(names: Sequence[str], errors: Errors, places: Sequence[int]) -> list[Unlike]:
    """Those photographs with their errors, the worst first."""
    order = sorted(places, key=lambda place: -float(errors.badness[place]))
    distances = errors.perceptual
    return [
        Unlike(
            names[place],
            round(float(errors.psnr[place]), 2),
            None if distances is None else round(float(distances[place]), 4),
        )
        for place in order
    ]


def _logarithm(errors: Errors) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.log(np.maximum(errors.badness, 1e-12))
    return found
