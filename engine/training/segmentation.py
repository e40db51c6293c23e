"""Training of the segmentation branch on a few labelled images.

All members train in one batched step, each on pixels of its own. Native feature maps are kept and
sampled where a pixel was drawn, so that no image is ever spread out to [H, W, D] unless all of
them together are small.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import SegmentationConfig
from engine.errors import NonFiniteError, SettingsError, ShapeError
from engine.folding import BATCH_NORM_EPS
from engine.resampling import gather_bilinear, pixel_rows
from engine.segmentation import check_features
from engine.shapes import check_mask

# Up to this size the features of all pixels are gathered once and then only looked up.
TABLE_BYTES = 2 * 2**30

INIT_STD = 0.02
BATCH_NORM_MOMENTUM = 0.1
CALIBRATION_STEPS = 100

# Loss is compared over windows of this many steps; less than this gain is no improvement.
WINDOW_STEPS = 100
MIN_GAIN = 0.02


@dataclass(frozen=True)
class SegmentationTraining:
    """Settings of `train_segmentation`.

    Attributes:
        num_steps: Most steps to make.
        batch_size: Pixels per member and step.
        learning_rate: Adam's, until the ramp-down.
        ramp_down: Share of `num_steps` at the end in which the learning rate falls to 0.
        patience_steps: Start the ramp-down early after this many steps without improvement.
        label_power: A label is drawn in proportion to (its pixels)^label_power: 1 draws every
            pixel alike, 0 every label alike.
    """

    num_steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 1e-3
    ramp_down: float = 0.25
    patience_steps: int = 500
    label_power: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("num_steps", 1), ("batch_size", 2), ("patience_steps", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise SettingsError(f"learning_rate: expected > 0, got {self.learning_rate}")
        for name in ("ramp_down", "label_power"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name}: expected 0 to 1, got {getattr(self, name)}")


class SegmentationStep(NamedTuple):
    """What one step measured, on the pixels it trained on and before its update.

    Attributes:
        step: 0 for the first.
        loss: Cross-entropy in nats, mean over members and pixels.
        accuracy: Share of the pixels whose label was right, mean over members.
        learning_rate: Adam's, of this step.
    """

    step: int
    loss: float
    accuracy: float
    learning_rate: float


def train_segmentation(
    features: Sequence[Tensor],
    masks: Tensor,
    config: SegmentationConfig,
    *,
    generator: torch.Generator,
    settings: SegmentationTraining | None = None,
    on_step: Callable[[SegmentationStep], None] | None = None,
) -> dict[str, Tensor]:
    """Train the members of a segmentation branch.

    Args:
        features: Native feature maps of all labelled images [N, C_i, h_i, w_i], coarse to fine.
        masks: Their labels, integers [N, H, W] at the size of the last map.
        config: Labels, members, hidden sizes and feature channels.
        generator: Source of the initial weights and of the pixels.
        settings: How long and how; None for the defaults.
        on_step: Called after every step.

    Returns:
        Weights of all members, `<member>.layers.{0,2,3,5,6}.*`, on the device and in the dtype of
        the features: what `SegmentationBranch.from_members` reads.

    Raises:
        ShapeError: Features or masks do not fit the settings or each other.
        NonFiniteError: The loss is not a number.
    """
    settings = settings or SegmentationTraining()
    check_features(features, config.feature_channels)
    check_mask(masks, size=features[-1].shape[2:], num_labels=config.num_labels, name="masks")
    if len(masks) != len(features[0]):
        raise ShapeError(f"masks: expected {len(features[0])} images, got {len(masks)}")

    rows_of = _row_lookup([maps.detach() for maps in features])
    labels = masks.flatten().long().to(features[0].device)
    sampler = _PixelSampler(labels.to(generator.device), settings.label_power, generator)
    members = _Members(config, generator=generator).to(features[0])

    def draw() -> tuple[Tensor, Tensor]:
        picked = sampler.draw(config.members * settings.batch_size).to(labels.device)
        shape = (config.members, settings.batch_size)
        return rows_of(picked).view(*shape, -1), labels[picked].view(shape)

    with torch.enable_grad():
        _optimise(members, draw, settings, on_step)
    with torch.no_grad():
        # Statistics of the final weights instead of a trail of earlier ones.
        for index in range(CALIBRATION_STEPS):
            members(draw()[0], momentum=1 / (index + 1))
    return members.member_state()


def _optimise(
    members: "_Members",
    draw: Callable[[], tuple[Tensor, Tensor]],
    settings: SegmentationTraining,
    on_step: Callable[[SegmentationStep], None] | None,
) -> None:
    """Adam at a constant rate until time or patience is up, then a cosine to 0."""
    optimizer = torch.optim.Adam(members.parameters(), lr=settings.learning_rate, fused=True)
    ramp_steps = round(settings.ramp_down * settings.num_steps)
    last = settings.num_steps
    plateau = _Plateau(patience=settings.patience_steps)
    step = 0
    while step < last:
        left = last - step
        ramp = 0.5 - 0.5 * math.cos(math.pi * min(1.0, left / max(ramp_steps, 1)))
        optimizer.param_groups[0]["lr"] = settings.learning_rate * ramp
        rows, labels = draw()
        logits = members(rows, momentum=BATCH_NORM_MOMENTUM)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        # Each member's gradient is that of its own mean, as if it trained alone.
        torch.autograd.backward(loss * len(labels))
        optimizer.step()
        if on_step is not None:
            accuracy = float((logits.argmax(dim=2) == labels).double().mean())
            learning_rate = optimizer.param_groups[0]["lr"]
            on_step(SegmentationStep(step, float(loss.detach()), accuracy, learning_rate))
        step += 1
        if plateau.reached(loss.detach()) and left > ramp_steps:
            last = step + ramp_steps


class _Plateau:
    """Watches the loss over windows of steps."""

    def __init__(self, *, patience: int) -> None:
        self.patience = patience
        self.losses: list[Tensor] = []
        self.best = math.inf
        self.stale_steps = 0

    def reached(self, loss: Tensor) -> bool:
        """Whether `patience` steps brought no improvement, at the end of a window."""
        self.losses.append(loss)
        if len(self.losses) < WINDOW_STEPS:
            return False
        mean = float(torch.stack(self.losses).mean())
        self.losses.clear()
        if not math.isfinite(mean):
            raise NonFiniteError(f"segmentation loss: expected a finite number, got {mean}")
        improved = mean < self.best * (1 - MIN_GAIN)
        self.best = min(self.best, mean)
        self.stale_steps = 0 if improved else self.stale_steps + WINDOW_STEPS
        return self.stale_steps >= self.patience


class _PixelSampler:
    """Draws pixels by label."""

    def __init__(self, labels: Tensor, label_power: float, generator: torch.Generator) -> None:
        self.generator = generator
        self.order = labels.argsort(stable=True)
        self.counts = labels.bincount()
        self.starts = self.counts.cumsum(0) - self.counts
        shares = self.counts.double().pow(label_power)
        self.shares = torch.where(self.counts > 0, shares, torch.zeros_like(shares))

    def draw(self, count: int) -> Tensor:
        """Indices of `count` pixels, with replacement: long [count]."""
        label = self.shares.multinomial(count, replacement=True, generator=self.generator)
        uniform = torch.rand(
            count, generator=self.generator, device=label.device, dtype=torch.float64
        )
        offset = (uniform * self.counts[label]).long()
        return self.order[self.starts[label] + offset]


def _row_lookup(features: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """A function from indices of pixels [P] in N*H*W to their features [P, D]."""
    height, width = features[-1].shape[2:]
    sizes = [(maps.shape[2], maps.shape[3]) for maps in features]
    native = [pixel_rows(maps) for maps in features]

    def gather(picked: Tensor) -> Tensor:
        n, inside = picked // (height * width), picked % (height * width)
        pixels = torch.stack([n, inside // width, inside % width], dim=1)
        parts = [
            gather_bilinear(rows, pixels, source=size, target=sizes[-1])
            for rows, size in zip(native, sizes, strict=True)
        ]
        return torch.cat(parts, dim=1)

    total = len(features[0]) * height * width
    per_pixel = sum(rows.shape[1] for rows in native) * native[0].element_size()
    if total * per_pixel > TABLE_BYTES:
        return gather
    indices = torch.arange(total, device=features[0].device)
    table = torch.cat([gather(part) for part in torch.split(indices, height * width)])
    return lambda picked: table.index_select(0, picked)


class _Members(nn.Module):
    """All members side by side, in training."""

    def __init__(self, config: SegmentationConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        first, second = config.hidden
        sizes = {"0": (first, sum(config.feature_channels)), "3": (second, first)}
        sizes["6"] = (config.num_labels, second)
        self.weights = nn.ParameterDict()
        for layer, (out, into) in sizes.items():
            drawn = torch.randn(
                config.members, out, into, generator=generator, device=generator.device
            )
            self.weights[f"{layer}_weight"] = nn.Parameter(drawn * INIT_STD)
            self.weights[f"{layer}_bias"] = nn.Parameter(torch.zeros(config.members, out))
        for layer, width in (("2", first), ("5", second)):
            self.weights[f"{layer}_weight"] = nn.Parameter(torch.ones(config.members, width))
            self.weights[f"{layer}_bias"] = nn.Parameter(torch.zeros(config.members, width))
            self.register_buffer(f"{layer}_running_mean", torch.zeros(config.members, width))
            self.register_buffer(f"{layer}_running_var", torch.ones(config.members, width))

    def forward(self, rows: Tensor, *, momentum: float) -> Tensor:
        """Logits [E, B, K] of pixels [E, B, D], normalised by their own statistics."""
        x = self._linear("0", rows).relu()
        x = self._batch_norm("2", x, momentum)
        x = self._linear("3", x).relu()
        x = self._batch_norm("5", x, momentum)
        return self._linear("6", x)

    def member_state(self) -> dict[str, Tensor]:
        """Weights by `<member>.layers.<layer>.<name>`."""
        tensors: Mapping[str, Tensor] = {**self.weights, **dict(self.named_buffers())}
        state = {}
        for member in range(len(self.weights["0_bias"])):
            for key, stacked in sorted(tensors.items()):
                layer, name = key.split("_", 1)
                state[f"{member}.layers.{layer}.{name}"] = stacked[member].detach().clone()
        return state

    def _linear(self, layer: str, x: Tensor) -> Tensor:
        """A linear layer of each member: [E, B, in] -> [E, B, out]."""
        bias = self.weights[f"{layer}_bias"][:, None, :]
        return torch.baddbmm(bias, x, self.weights[f"{layer}_weight"].transpose(1, 2))

    def _batch_norm(self, layer: str, x: Tensor, momentum: float) -> Tensor:
        """BatchNorm of each member over its own pixels: [E, B, H]."""
        count, pixels, width = x.shape
        normalised = F.batch_norm(
            x.transpose(0, 1).reshape(pixels, count * width),
            self.get_buffer(f"{layer}_running_mean").view(-1),
            self.get_buffer(f"{layer}_running_var").view(-1),
            self.weights[f"{layer}_weight"].view(-1),
            self.weights[f"{layer}_bias"].view(-1),
            training=True,
            momentum=momentum,
            eps=BATCH_NORM_EPS,
        )
        return normalised.view(pixels, count, width).transpose(0, 1)
