"""Photographs that do not look like the class: an encoder that knows the class cannot rebuild them.

The encoder that has seen nothing but the generator's samples measures them. Whatever is far worse
than the others is left out; and if all of them are hardly better than the average image, nothing
of the class is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from batch.errors import SettingsError
from batch.reconstruction import Errors

DEVIATIONS = 4.0  # robust ones, of the logarithm, from the median
LEAST_DEVIATION = 0.1
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


def find_unlike(photographs: Errors, samples: Errors) -> list[int]:
    """Positions of the photographs that are far worse than most, and than samples.

    Args:
        photographs: Errors of the encoder on photographs.
        samples: The same on samples of the generator that it has not seen.
    """
    badness = np.log(np.maximum(photographs.badness, 1e-9))
    median = np.median(badness)
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(badness - median)))
    bound = median + DEVIATIONS * max(deviation, LEAST_DEVIATION)
    bound = max(bound, float(np.log(np.maximum(samples.badness.max(), 1e-9))))
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
