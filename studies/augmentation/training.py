"""A small classifier and a small segmenter, trained on examples and measured on held-out ones."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from editvec.avatars.building.dataset import as_images
from editvec.avatars.drawing.render import LABELS
from editvec.engine.metrics.edits import label_ious, mean_iou
from studies.augmentation.sets import Examples

_CLASSIFIER_RATE, _SEGMENTER_RATE = 5e-3, 1e-2
_WARM_UP = 0.2  # of the steps
_AT_ONCE = 100


class Schedule(NamedTuple):
    """How long networks are trained; the same in every arm.

    Attributes:
        classifier_steps: Steps of 16 images.
        segmenter_steps: Steps of 8 images.
    """

    classifier_steps: int
    segmenter_steps: int


class Way(NamedTuple):
    """How examples are shown.

    Attributes:
        jitter: Whether images are flipped and their colours changed.
        evenly: Whether both classes are drawn as often.
        seed: Of weights, order and jitter.
    """

    jitter: bool
    evenly: bool
    seed: int


CLASSIFIER_BATCH, SEGMENTER_BATCH = 16, 8


class SmallClassifier(nn.Module):
    """Images [N, 3, 64, 64] to one logit each, [N]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(3, 16, stride=2),
            _convolution(16, 32, stride=2),
            _convolution(32, 64, stride=2),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] to logits [N]."""
        logits: Tensor = self.layers(images)[:, 0]
        return logits


class SmallUNet(nn.Module):
    """Images [N, 3, H, W] to logits of parts [N, K, H, W]; three sizes, joined on the way up."""

    def __init__(self, num_labels: int, width: int = 8) -> None:
        super().__init__()
        self.fine = _convolution(3, width)
        self.middle = _convolution(width, 2 * width, stride=2)
        self.coarse = nn.Sequential(
            _convolution(2 * width, 4 * width, stride=2), _convolution(4 * width, 4 * width)
        )
        self.coarse_up = nn.Conv2d(4 * width, 2 * width, 1)
        self.middle_joined = _convolution(4 * width, 2 * width)
        self.middle_up = nn.Conv2d(2 * width, width, 1)
        self.fine_joined = _convolution(2 * width, width)
        self.logits = nn.Conv2d(width, num_labels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] to [N, K, H, W]."""
        fine = self.fine(images)
        middle = self.middle(fine)
        raised = functional.interpolate(self.coarse_up(self.coarse(middle)), scale_factor=2.0)
        joined = self.middle_joined(torch.cat([raised, middle], dim=1))
        raised = functional.interpolate(self.middle_up(joined), scale_factor=2.0)
        logits: Tensor = self.logits(self.fine_joined(torch.cat([raised, fine], dim=1)))
        return logits


def classifier_scores(
    train: Examples, held_out: Examples, way: Way, *, steps: int
) -> dict[str, float]:
    """Train a classifier and measure it.

    Args:
        train: What it is trained on.
        held_out: What it is measured on.
        way: How it is shown.
        steps: Of the optimiser.
    """
    torch.manual_seed(way.seed)
    network = SmallClassifier()
    targets = torch.from_numpy(train.positive).float()
    images = as_images(train.pixels)
    optimizer, schedule = _optimizer(network, steps, _CLASSIFIER_RATE)
    generator = torch.Generator().manual_seed(way.seed)
    shares = train.positive if way.evenly else None
    for rows in _batches(len(images), CLASSIFIER_BATCH, steps, generator, shares):
        shown = images[rows]
        if way.jitter:
            shown, _ = jittered(shown, None, generator)
        loss = functional.binary_cross_entropy_with_logits(network(shown), targets[rows])
        _step(loss, optimizer, schedule)
    logits = _answers(network, held_out)
    return scores_of_logits(logits, torch.from_numpy(held_out.positive))


def scores_of_logits(logits: Tensor, positive: Tensor) -> dict[str, float]:
    """What a classifier is worth.

    Args:
        logits: [N]; above 0 says yes.
        positive: The truth, bool [N], some of either kind.

    Returns:
        recall, specificity, their mean balanced_accuracy, and auc: the chance that a positive gets
        a higher logit than a negative, which does not depend on the threshold.
    """
    yes, no = logits[positive], logits[~positive]
    recall, specificity = float((yes > 0).float().mean()), float((no <= 0).float().mean())
    above = (yes[:, None] > no[None]).double() + 0.5 * (yes[:, None] == no[None]).double()
    return {
        "balanced_accuracy": (recall + specificity) / 2,
        "recall": recall,
        "specificity": specificity,
        "auc": float(above.mean()),
    }


def segmenter_scores(
    train: Examples,
    held_out: Examples,
    way: Way,
    *,
    parts: tuple[str, ...],
    steps: int,
) -> dict[str, float]:
    """Train a segmenter and measure it; `parts` are those that the attribute shows in.

    Returns:
        miou over all held-out images, parts_iou on those that show the attribute (means over
        labels of IoUs pooled over the set), and parts_iou_negative on the others.
    """
    torch.manual_seed(way.seed)
    network = SmallUNet(len(LABELS)).to(memory_format=torch.channels_last)
    images, masks = as_images(train.pixels), torch.from_numpy(train.mask).long()
    optimizer, schedule = _optimizer(network, steps, _SEGMENTER_RATE)
    weights = _label_weights(masks)
    generator = torch.Generator().manual_seed(way.seed)
    shares = train.positive if way.evenly else None
    for rows in _batches(len(images), SEGMENTER_BATCH, steps, generator, shares):
        shown, wanted = images[rows], masks[rows]
        if way.jitter:
            shown, wanted = jittered(shown, wanted, generator)
        logits = network(shown.contiguous(memory_format=torch.channels_last))
        _step(functional.cross_entropy(logits, wanted, weight=weights), optimizer, schedule)
    found = _answers(network, held_out)
    return scores_of_masks(found, held_out, parts=parts)


def scores_of_masks(
    found: Tensor, held_out: Examples, *, parts: tuple[str, ...]
) -> dict[str, float]:
    """The values of `segmenter_scores` of masks [N, H, W]."""
    truth, positive = torch.from_numpy(held_out.mask).long(), torch.from_numpy(held_out.positive)
    indices = [LABELS.index(part) for part in parts]

    def parts_iou(rows: Tensor) -> float:
        ious = label_ious(found[rows], truth[rows], num_labels=len(LABELS))
        return float(ious[indices].nanmean())

    return {
        "miou": mean_iou(found, truth, num_labels=len(LABELS)),
        "parts_iou": parts_iou(positive),
        "parts_iou_negative": parts_iou(~positive),
    }


def jittered(
    images: Tensor, masks: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flip half of the images, with their masks, and change brightness, contrast and saturation.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        masks: [N, H, W]; None where none are needed.
        generator: Of the draws.

    Returns:
        The images, in [-1, 1], and the masks (without any, an empty tensor).
    """
    count = len(images)
    flips = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    drawn = torch.rand(3, count, 1, 1, 1, generator=generator) * 2 - 1
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (1 + 0.3 * drawn[0])
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + 0.2 * drawn[1]) + 0.2 * drawn[2]
    if masks is None:
        return images.clamp(-1, 1), torch.empty(0)
    return images.clamp(-1, 1), torch.where(flips[:, None, None], masks.flip(2), masks)


def _convolution(channels: int, out: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


def _label_weights(masks: Tensor) -> Tensor:
    """[K]: small parts weigh more, by the root of their share of the pixels; 1 on average."""
    shares = masks.flatten().bincount(minlength=len(LABELS)) / masks.numel()
    weights = shares.clamp_min(1e-4).rsqrt()
    return weights / (weights * shares).sum()


def _optimizer(
    network: nn.Module, steps: int, learning_rate: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=_WARM_UP
    )
    return optimizer, schedule


def _step(
    loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    schedule.step()


def _batches(
    count: int,
    size: int,
    steps: int,
    generator: torch.Generator,
    positive: np.ndarray[tuple[int], np.dtype[np.bool_]] | None,
) -> Iterator[Tensor]:
    """Rows of each step: epochs in random order, or as many of either class."""
    if positive is not None:
        kinds = [torch.from_numpy(np.flatnonzero(kind)) for kind in (positive, ~positive)]
        for _ in range(steps):
            drawn = [
                rows[torch.randint(len(rows), (size // 2,), generator=generator)] for rows in kinds
            ]
            yield torch.cat(drawn)
        return
    waiting = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]


@torch.no_grad()
def _answers(network: nn.Module, examples: Examples) -> Tensor:
    """Logits [N] of a classifier, or the most likely parts [N, H, W] of a segmenter."""
    network.eval()
    images = as_images(examples.pixels)
    found = [network(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE)]
    answers = torch.cat(found)
    return answers if answers.ndim == 1 else answers.argmax(dim=1)
