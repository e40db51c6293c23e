"""What inversion and editing minimise: perceptual, squared, cross-entropy and identity terms.

Every term is one number per sample, and their sum over samples is minimised, so that N samples
together are the same computation as each of them alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.engine.errors import EngineSettingsError
from editvec.engine.networks.encoder import Encoder, encode
from editvec.engine.networks.generator import Synthesis
from editvec.engine.networks.identity import identity_similarity
from editvec.engine.networks.perceptual import PerceptualDistance
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.segmentation.pixel_plan import PixelPlan
from editvec.engine.shapes import IGNORED


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; a term with weight 0 is not computed.

    Attributes:
        perceptual_weight: Perceptual distance of the kept pixels.
        mse_weight: Mean squared error of the kept pixels, images in [0, 1].
        cross_entropy_weight: Cross-entropy against the target mask, mean over the ROI's pixels.
        identity_weight: 1 - cosine of the identity embeddings.
        encoder_weight: Mean squared difference between ws and the encoder's answer to the image.
        mse_divisor: "kept" divides the squared error by the number of kept pixels; "all" by the
            number of all pixels, as the released code of the paper does, which makes the term
            smaller by the ROI's share of the image.
    """

    perceptual_weight: float = 0.0
    mse_weight: float = 0.0
    cross_entropy_weight: float = 0.0
    identity_weight: float = 0.0
    encoder_weight: float = 0.0
    mse_divisor: Literal["kept", "all"] = "kept"

    def __post_init__(self) -> None:
        """Check the ranges."""
        weights = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name.endswith("_weight")
        }
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise EngineSettingsError(f"{name}: expected a finite number >= 0, got {value}")
        if not any(weights.values()):
            raise EngineSettingsError("LossWeights: expected at least one weight above 0")
        if self.mse_divisor not in ("kept", "all"):
            raise EngineSettingsError(
                f"mse_divisor: expected 'kept' or 'all', got {self.mse_divisor!r}"
            )


# Adam's steps do not depend on the scale of the loss, so only the ratios within a preset count.
# "released" and "released-embed" are the published code's, made for LPIPS on VGG, whose values
# are several times those of a small trunk. The others are ours, for any trunk: the squared error
# leads, the cross-entropy steers, and the divisor does not depend on the ROI's size.
PRESETS: Mapping[str, LossWeights] = {
    "released": LossWeights(
        perceptual_weight=150.0,
        mse_weight=75.0,
        cross_entropy_weight=1.0,
        encoder_weight=1.0,
        mse_divisor="all",
    ),
    "released-refine": LossWeights(
        perceptual_weight=150.0, mse_weight=75.0, cross_entropy_weight=1.0, mse_divisor="all"
    ),
    "released-embed": LossWeights(
        perceptual_weight=10.0, mse_weight=1.0, encoder_weight=1.0, mse_divisor="all"
    ),
    "learn": LossWeights(perceptual_weight=20.0, mse_weight=300.0, cross_entropy_weight=1.0),
    "refine": LossWeights(perceptual_weight=20.0, mse_weight=300.0, cross_entropy_weight=1.0),
    "embed": LossWeights(perceptual_weight=1.0, mse_weight=10.0),
}


class Networks(NamedTuple):
    """The frozen networks that the losses need, in eval mode.

    Attributes:
        synthesis: W+ -> images and features.
        segmentation: Features -> logits; needed where a mask is the target.
        perceptual: Distance between images.
        encoder: Images -> W+.
        identity: Any module from images in [-1, 1] to embeddings [N, D].
    """

    synthesis: Synthesis
    segmentation: SegmentationBranch | None = None
    perceptual: PerceptualDistance | None = None
    encoder: Encoder | None = None
    identity: nn.Module | None = None


class LossTerms(NamedTuple):
    """Losses of N samples, [N] each; `total` is weighted, the others are not.

    A term that was not computed is 0.
    """

    total: Tensor
    perceptual: Tensor
    mse: Tensor
    cross_entropy: Tensor
    identity: Tensor
    encoder: Tensor

    def detach(self) -> "LossTerms":
        """The same values without their graph."""
        return LossTerms(*(term.detach() for term in self))


def masked_mse(
    images01: Tensor,
    kept_target01: Tensor,
    keep: Tensor,
    *,
    divisor: Literal["kept", "all"] = "kept",
) -> Tensor:
    """Mean squared error of the kept pixels.

    Args:
        images01: [N, 3, H, W] in [0, 1].
        kept_target01: The target, already multiplied by `keep`.
        keep: [N, 1, H, W], 1 where pixels count and 0 elsewhere.
        divisor: "kept" divides by the kept pixels, "all" by all of them.

    Returns:
        [N]; 0 where nothing is kept.
    """
    squares = (images01 * keep - kept_target01).square().sum(dim=(1, 2, 3))
    channels = images01.shape[1]
    if divisor == "all":
        return squares / images01[0].numel()
    return squares / (channels * keep.sum(dim=(1, 2, 3))).clamp_min(1)


def roi_cross_entropy(logits: Tensor, labels: Tensor, samples: Tensor, num_samples: int) -> Tensor:
    """Cross-entropy on the pixels of the ROIs, averaged within each sample.

    Args:
        logits: [P, num_labels] of the pixels.
        labels: [P], the target labels.
        samples: [P], the sample that each pixel belongs to.
        num_samples: N.

    Returns:
        [N]; 0 for a sample without pixels.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    sums = losses.new_zeros(num_samples).index_add(0, samples, losses)
    counts = torch.bincount(samples, minlength=num_samples).clamp_min(1)
    return sums / counts


class Objective:
    """The loss of ws against target images and, inside an ROI, a target mask.

    L = perceptual(G(ws)(1-r), x(1-r)) + MSE of the same + CE inside r + identity + encoder
    consistency, each with its weight. What depends on the targets only is computed once, here.

    Args:
        networks: Frozen networks.
        weights: Factors of the terms.
        images: x, [N, 3, H, W] in [-1, 1].
        base_ws: Added to the variable before synthesis, [N, num_ws, w_dim]; None is 0.
        roi: r, bool [N, 1, H, W]; None is empty.
        target_mask: [N, H, W], read inside the ROI; `IGNORED` pixels have no cross-entropy.

    Raises:
        SettingsError: A weight is above 0 and its network or target is missing.
    """

    def __init__(
        self,
        networks: Networks,
        weights: LossWeights,
        *,
        images: Tensor,
        base_ws: Tensor | None = None,
        roi: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> None:
        _check_networks(networks, weights)
        if weights.cross_entropy_weight and (roi is None or target_mask is None):
            raise EngineSettingsError(
                "cross_entropy_weight: expected 0 without a target mask and an ROI"
            )
        self.networks = networks
        self.weights = weights
        # tensors that were made under inference_mode cannot take part in autograd: clone
        images = images.detach().clone()
        self.base_ws = None if base_ws is None else base_ws.detach().clone()
        if roi is None:
            roi = torch.zeros_like(images[:, :1], dtype=torch.bool)
        self.keep = (~roi).to(images.dtype)
        self.kept01 = (images + 1) / 2 * self.keep
        told = roi[:, 0]
        if target_mask is not None:
            told = told & (target_mask != IGNORED)
        self.roi_pixels = told.nonzero()  # [P, 3]: sample, y, x
        self.roi_plan: PixelPlan | None = None
        self.roi_labels = self.roi_pixels.new_zeros(0)
        if target_mask is not None:
            self.roi_labels = target_mask[told].long()
        self.target_features: list[Tensor] = []
        self.target_embeddings: Tensor | None = None
        with torch.no_grad():
            if weights.perceptual_weight and networks.perceptual is not None:
                self.target_features = networks.perceptual.features(self.kept01)
            if weights.identity_weight and networks.identity is not None:
                self.target_embeddings = networks.identity(images)

    def select(self, index: Tensor) -> Self:
        """The objective of some of the samples, in the order of `index` [M]."""
        selected = object.__new__(type(self))
        selected.networks, selected.weights = self.networks, self.weights
        selected.base_ws = None if self.base_ws is None else self.base_ws[index]
        selected.keep, selected.kept01 = self.keep[index], self.kept01[index]
        chosen = self.roi_pixels[:, 0][None, :] == index[:, None]  # [M, P]
        position, pixel = chosen.nonzero().unbind(dim=1)
        selected.roi_pixels = self.roi_pixels[pixel].clone()
        selected.roi_pixels[:, 0] = position
        selected.roi_plan = None
        selected.roi_labels = self.roi_labels[pixel] if len(self.roi_labels) else self.roi_labels
        selected.target_features = [feature[index] for feature in self.target_features]
        embeddings = self.target_embeddings
        selected.target_embeddings = None if embeddings is None else embeddings[index]
        return selected

    def __call__(self, variable: Tensor) -> LossTerms:
        """Losses at `variable`, [N, num_ws or 1, w_dim], plus `base_ws`."""
        networks, weights = self.networks, self.weights
        ws = variable.expand(-1, networks.synthesis.config.num_ws, -1)
        ws = ws if self.base_ws is None else self.base_ws + ws
        images, features = networks.synthesis.with_features(ws)
        images01 = (images + 1) / 2
        zero = images.new_zeros(len(images))
        perceptual = cross_entropy = identity = encoder = zero
        # a gradient goes the other way: the trunk's maps are gone before those of the segmentation
        # are made
        if weights.cross_entropy_weight and len(self.roi_pixels):
            cross_entropy = self._cross_entropy(features)
        mse = masked_mse(images01, self.kept01, self.keep, divisor=weights.mse_divisor)
        if weights.perceptual_weight and networks.perceptual is not None:
            kept = images01 * self.keep
            perceptual = networks.perceptual.distance_to(kept, self.target_features)
        if self.target_embeddings is not None and networks.identity is not None:
            identity = 1 - identity_similarity(networks.identity(images), self.target_embeddings)
        if weights.encoder_weight and networks.encoder is not None:
            encoded = encode(networks.encoder, networks.synthesis, images)
            encoder = (encoded - ws).square().mean(dim=(1, 2))
        total = (
            weights.perceptual_weight * perceptual
            + weights.mse_weight * mse
            + weights.cross_entropy_weight * cross_entropy
            + weights.identity_weight * identity
            + weights.encoder_weight * encoder
        )
        return LossTerms(total, perceptual, mse, cross_entropy, identity, encoder)

    def _cross_entropy(self, features: Sequence[Tensor]) -> Tensor:
        """Cross-entropy [N] of the ROI's pixels, the only ones that are segmented."""
        assert self.networks.segmentation is not None
        if self.roi_plan is None:
            self.roi_plan = self.networks.segmentation.plan_pixels(features, self.roi_pixels)
        logits = self.networks.segmentation.logits_at(features, self.roi_plan)
        return roi_cross_entropy(logits, self.roi_labels, self.roi_pixels[:, 0], len(self.keep))


def _check_networks(networks: Networks, weights: LossWeights) -> None:
    needed = {
        "perceptual_weight": networks.perceptual,
        "cross_entropy_weight": networks.segmentation,
        "identity_weight": networks.identity,
        "encoder_weight": networks.encoder,
    }
    for name, network in needed.items():
        if getattr(weights, name) and network is None:
            raise EngineSettingsError(
                f"{name}: expected 0, because the class has no such network, "
                f"got {getattr(weights, name)}"
            )
