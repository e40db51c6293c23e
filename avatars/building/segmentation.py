"""The segmentation branch: pixel classifiers on the features of exactly 16 labelled images."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from editvec.avatars.building.checkpoints import load_state, save_state
from editvec.avatars.building.dataset import Renders, as_images
from editvec.avatars.building.generator import CONFIG
from editvec.avatars.drawing.parameters import to_unit
from editvec.avatars.drawing.render import LABELS
from editvec.engine.editing.inversion import EmbedSettings, invert
from editvec.engine.editing.losses import Networks
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.training.segmentation import train_segmentation
from editvec.engine.training.settings import SegmentationTraining

_log = logging.getLogger(__name__)

LABELLED_COUNT = 16
SEGMENTATION = SegmentationConfig(
    num_labels=len(LABELS), feature_channels=CONFIG.feature_channels, members=10
)


def choose_labelled(renders: Renders, *, count: int = LABELLED_COUNT) -> list[int]:
    """Pick renders that differ most, as somebody who labels few images would: [count].

    Farthest-point sampling in the space of the unit parameters.
    """
    unit = to_unit(renders.params)
    chosen = [int(np.square(unit).sum(axis=1).argmin())]
    distance = np.full(len(unit), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.square(unit - unit[chosen[-1]]).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return chosen


def train(
    work: Path, renders: Renders, networks: Networks, *, w_avg: Tensor, seed: int
) -> dict[str, Tensor]:
    """Embed the labelled images and train on them, or read what `work` holds."""
    path = work / "segmentation.safetensors"
    state = load_state(path)
    if state is not None:
        return state.tensors
    chosen = choose_labelled(renders)
    images = as_images(renders.pixels[chosen]).to(w_avg.device)
    masks = torch.from_numpy(renders.mask[chosen]).long().to(w_avg.device)
    embedded = invert(networks, images, w_avg=w_avg, settings=EmbedSettings(num_steps=200))
    _log.info("  labelled images embedded at %.1f dB", embedded.psnr.median())
    with torch.no_grad():
        features = networks.synthesis.with_features(embedded.ws).features
    tensors = train_segmentation(
        features,
        masks,
        SEGMENTATION,
        settings=SegmentationTraining(),
        seed=seed,
    )
    save_state(path, 0, tensors)
    return tensors
