"""FID and KID of edited images: the networks at hand, the reference, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.batch.editing.memory import images_at_a_time
from editvec.batch.evaluation.intervals import Interval, half_samples
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.runs.inputs import scan_folder
from editvec.engine.editor import Editor
from editvec.engine.errors import WeightsUnavailableError
from editvec.engine.images.images import fit_pixels, read_image, to_images
from editvec.engine.memory import Demand
from editvec.engine.metrics.distribution import (
    FeatureNetwork,
    features_of,
    frechet_distance,
    inception_features,
    kernel_distance,
    trunk_features,
)

INCEPTION = "inception-v3"
MIN_IMAGES = 16
_SAMPLED_REFERENCE = 256
_INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = (
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_INCEPTION_FILE}"
)


class SetNetworks:
    """The networks that compare sets of images, and the features of the reference.

    Attributes:
        missing: names of networks that cannot be had, with the reason.
    """

    def __init__(self, editor: Editor, settings: EvaluateSettings) -> None:
        """Loads what is at hand; nothing is downloaded.

        Args:
            editor: whose own trunk serves too, where it has one.
            settings: images and weights.
        """
        self._editor, self._settings = editor, settings
        self._networks: dict[str, FeatureNetwork] = {}
        self.missing: dict[str, str] = {}
        if editor.perceptual is not None:
            own = trunk_features(editor.perceptual)
            self._networks[own.name] = own
        self._load_inception(settings.inception)
        self._reference: dict[str, Tensor] = {}

    def _load_inception(self, weights: Path | None) -> None:
        place = Path(torch.hub.get_dir()) / "checkpoints" / _INCEPTION_FILE
        if weights is None and not place.is_file():
            self.missing[INCEPTION] = (
                f"the weights of Inception v3 are not here: put {INCEPTION_URL} into "
                f"{place.parent}, or give the file with --inception"
            )
            return
        try:
            loaded = inception_features(device=self._editor.device, weights=weights)
        except WeightsUnavailableError as exc:
            self.missing[INCEPTION] = str(exc)
            return
        self._networks[loaded.name] = loaded

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self._editor.device

    @property
    def names(self) -> list[str]:
        """Of the networks that are there."""
        return list(self._networks)

    @torch.no_grad()
    def features(self, images: Tensor | None) -> dict[str, Tensor]:
        """Features [N, F] of images by the name of the network."""
        if images is None:
            return {}
        finite = images.nan_to_num()
        return {name: features_of([finite], one) for name, one in self._networks.items()}

    def reference(self, name: str) -> Tensor:
        """Features [M, F] of the reference: a folder's images, or other samples of the class."""
        if name not in self._reference:
            self._reference[name] = features_of(self._reference_images(), self._networks[name])
        return self._reference[name]

    @property
    def reference_words(self) -> str:
        """What the reference is."""
        if self._reference_folder is not None:
            return f"the images of {self._reference_folder.name}"
        return f"{self._reference_count} other samples, seed {self._settings.seed}"

    @property
    def _reference_folder(self) -> Path | None:
        return self._settings.reference or self._settings.probe

    @property
    def _reference_count(self) -> int:
        return max(self._settings.samples, _SAMPLED_REFERENCE)

    def _reference_images(self) -> Iterator[Tensor]:
        device, resolution = self._editor.device, self._editor.bundle.resolution
        folder = self._reference_folder
        if folder is None:
            first = 0 if self._settings.renders else self._settings.samples
            few = images_at_a_time(self._editor, Demand.SYNTHESIS)
            for start in range(0, self._reference_count, few):
                count = min(few, self._reference_count - start)
                ws = self._editor.sample(count, self._settings.seed, first=first + start)
                yield self._editor.synthesize(ws)
            return
        for one in scan_folder(folder).inputs:
            try:
                picture = read_image(folder / os.fsdecode(one.relative_path))
            except (OSError, ValueError):
                continue  # the probes name it
            yield to_images([fit_pixels(picture, resolution, fit="crop")]).to(device)


def distances(
    features: Tensor, reference: Tensor, *, seed: int
) -> dict[str, tuple[float, Interval | None]]:
    """FID and KID of two sets [N, F] and [M, F], with their intervals.

    Args:
        features: of the edited images, at least `MIN_IMAGES`.
        reference: of the others.
        seed: of the halves that the intervals come from.
    """
    found = {}
    for name, distance in (("fid", frechet_distance), ("kid", kernel_distance)):

        def of_some(places: npt.NDArray[np.intp]) -> float:
            return distance(features[torch.from_numpy(places)], reference)  # noqa: B023 (used here)

        value = distance(features, reference)
        found[name] = (value, half_samples(of_some, len(features), value, seed=seed))
    return found
