"""The published method, written plainly: what the engine is measured against.

EditGAN (Ling et al. 2021) as its authors describe it, one image at a time: all features up-sampled
to the output size and concatenated, the members of the ensemble one after the other on rows of
pixels, the target's perceptual features computed again with every loss. The synthesis network, the
encoder and the perceptual trunk are the engine's own, so that only the formulation differs.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.engine.editing.losses import LossWeights
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.networks.generator import Synthesis
from editvec.engine.networks.perceptual import PerceptualDistance


def load_members(state: Mapping[str, Tensor], config: SegmentationConfig) -> nn.ModuleList:
    """Classifiers of single pixels, each a module of its own: [P, D] -> [P, num_labels]."""
    first, second = config.hidden
    members = nn.ModuleList()
    for index in range(config.members):
        layers = nn.Sequential(
            nn.Linear(sum(config.feature_channels), first),
            nn.ReLU(),
            nn.BatchNorm1d(first),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.BatchNorm1d(second),
            nn.Linear(second, config.num_labels),
        )
        prefix = f"{index}.layers."
        own = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        for name in ("2", "5"):
            own[f"{name}.num_batches_tracked"] = torch.tensor(0)
        layers.load_state_dict(own)
        members.append(layers)
    return members.eval().requires_grad_(False)


def full_features(features: Sequence[Tensor]) -> Tensor:
    """All features of one image at the size of the last map, concatenated: [D, H, W]."""
    size = features[-1].shape[2:]
    whole = [
        F.interpolate(maps, size=size, mode="bilinear", align_corners=False) for maps in features
    ]
    return torch.cat(whole, dim=1)[0]


def mean_logits(members: nn.ModuleList, rows: Tensor) -> Tensor:
    """Mean of the members' logits of pixels [P, D]: [P, num_labels]."""
    total: Tensor | None = None
    for member in members:
        logits = member(rows)
        total = logits if total is None else total + logits
    assert total is not None
    return total / len(members)


@torch.no_grad()
def segment_images(
    synthesis: Synthesis, members: nn.ModuleList, ws: Tensor
) -> tuple[Tensor, Tensor]:
    """Images [N, 3, H, W] and masks [N, H, W] of ws, one image after the other."""
    images, masks = [], []
    for one in torch.split(ws, 1):
        made, features = synthesis.with_features(one)
        whole = full_features(features)
        logits = mean_logits(members, whole.flatten(1).t())
        images.append(made)
        masks.append(logits.argmax(dim=1).view(1, *whole.shape[1:]))
    return torch.cat(images), torch.cat(masks)


def edit_loss(
    synthesis: Synthesis,
    members: nn.ModuleList,
    perceptual: PerceptualDistance,
    *,
    ws: Tensor,
    target: Tensor,
    roi: Tensor,
    mask: Tensor,
    weights: LossWeights,
) -> Tensor:
    """The loss of an edit of one image, a scalar; pixels outside the ROI are held to the target.

    Args:
        synthesis: The generator's.
        members: See `load_members`.
        perceptual: Compares the kept pixels.
        ws: [1, num_ws, w_dim].
        target: [1, 3, H, W] in [-1, 1].
        roi: bool [1, 1, H, W].
        mask: [1, H, W], read inside the ROI.
        weights: Of the perceptual, squared and cross-entropy terms.
    """
    images, features = synthesis.with_features(ws)
    keep = (~roi).to(images.dtype)
    kept, kept_target = (images + 1) / 2 * keep, (target + 1) / 2 * keep
    distance = perceptual(kept, kept_target).sum()
    mse = (kept - kept_target).square().sum() / (images.shape[1] * keep.sum()).clamp_min(1)
    inside = roi[0, 0]
    rows = full_features(features)[:, inside].t()
    cross_entropy = F.cross_entropy(mean_logits(members, rows), mask[0][inside])
    loss: Tensor = (
        weights.perceptual_weight * distance
        + weights.mse_weight * mse
        + weights.cross_entropy_weight * cross_entropy
    )
    return loss


def embedding_loss(
    synthesis: Synthesis,
    perceptual: PerceptualDistance,
    *,
    ws: Tensor,
    target: Tensor,
    weights: LossWeights,
) -> Tensor:
    """The loss of an embedding of one image, a scalar; arguments as in `edit_loss`."""
    images01, target01 = (synthesis(ws) + 1) / 2, (target + 1) / 2
    distance = perceptual(images01, target01).sum()
    mse = (images01 - target01).square().mean()
    loss: Tensor = weights.perceptual_weight * distance + weights.mse_weight * mse
    return loss
