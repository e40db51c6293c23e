"""The segmentation branch: an ensemble of pixel classifiers on the generator's features.

Per pixel, on all feature maps up-sampled to the output size and concatenated (DatasetGAN, Zhang
et al. 2021): D -> H1 -> ReLU -> BN -> H2 -> ReLU -> BN -> K, several members, mean of logits.
Here the same numbers come without the [N, D, H, W] tensor:

    layer 1  commutes with bilinear up-sampling, whose weights sum to 1 and act on other axes: each
             native map is projected to the members' stacked H1 channels, then up-sampled
    constant the generator's constant input is the same for every image: its part of layer 1 is a
             fixed bias map
    layer 2  BatchNorm after ReLU is an affine map of its input: folded into the next linear layer
    layer 3  logits are averaged: the members' last layers merge into one matrix
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.config import SegmentationConfig
from engine.errors import SettingsError, ShapeError
from engine.folding import FoldedLayers, fold_constant, fold_members
from engine.resampling import (
    check_pixels,
    gather_bilinear,
    pixel_rows,
    source_band,
    upsample_band,
)

# Size of one stacked hidden map of a piece of the work; two to three of them live at a time. On a
# CPU a piece should stay near the caches, elsewhere it should be worth a launch.
CPU_PIECE_BYTES = 4 * 2**20
PIECE_BYTES = 256 * 2**20

# A gradient needs the hidden maps again: up to this size they are kept, beyond it each piece
# computes its own a second time.
KEPT_BYTES = 256 * 2**20


class SegmentationBranch(nn.Module):
    """Features -> seg_logits, for inference; differentiable with respect to the features.

    Build it with `from_members`. It has no trainable parameters.

    Attributes:
        config: Labels, members, hidden sizes and feature channels.
    """

    weight1: Tensor  # [E*H1, D]
    base: Tensor  # [E*H1, 4, 4] with a folded constant, else [E*H1, 1, 1]
    weight2: Tensor  # [E, H2, H1]
    bias2: Tensor  # [E, H2, 1]
    weight3: Tensor  # [E, K, H2]
    bias3: Tensor  # [E, K, 1]
    merged_weight: Tensor  # [K, E*H2]
    merged_bias: Tensor  # [K, 1]

    def __init__(self, config: SegmentationConfig, layers: FoldedLayers) -> None:
        super().__init__()
        self.config = config
        self.skip_first = layers.base.shape[1] > 1
        for name, tensor in layers._asdict().items():
            self.register_buffer(name, tensor)
        merged_weight = (layers.weight3 / config.members).transpose(0, 1).flatten(1)
        self.register_buffer("merged_weight", merged_weight)
        self.register_buffer("merged_bias", layers.bias3.mean(dim=0))

    @classmethod
    def from_members(
        cls,
        state: Mapping[str, Tensor],
        config: SegmentationConfig,
        constant: Tensor | None = None,
    ) -> Self:
        """Fold trained members into a branch.

        Args:
            state: Weights of all members: `<member>.layers.{0,2,3,5,6}.*` (linear, BatchNorm,
                linear, BatchNorm, linear), members counted from 0; `<member>.module.layers.*`
                is read as well.
            config: The sizes to expect.
            constant: The generator's constant input [C, h, w]. The branch then ignores
                `features[0]` and uses a fixed bias map in its place. None treats `features[0]`
                as an ordinary map.

        Raises:
            BundleError: A weight is missing or its name is unknown.
            ShapeError: A weight or the constant has the wrong shape or dtype.
            SettingsError: `constant` is given and the settings say that there is none.
        """
        layers = fold_members(state, config)
        if constant is not None:
            layers = fold_constant(layers, constant, config)
        return cls(config, layers)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits of all pixels.

        Args:
            features: Feature maps [N, C_i, h_i, w_i], coarse to fine.

        Returns:
            seg_logits [N, K, H, W] at the size of the last map.

        Raises:
            ShapeError: The features do not fit the branch.
        """
        return self._map_pieces(features, self._mean_logits)

    def member_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Logits of each member, [E, N, K, H, W]; see `forward`."""
        return self._map_pieces(features, self._each_logits).transpose(0, 1)

    def uncertainty(self, features: Sequence[Tensor]) -> Tensor:
        """Jensen-Shannon divergence of the members, in nats, [N, H, W]; see `forward`."""

        def divergence(hidden: Tensor) -> Tensor:
            return jensen_shannon(self._each_logits(hidden).transpose(0, 1))

        return self._map_pieces(features, divergence)

    def logits_at(self, features: Sequence[Tensor], pixels: Tensor) -> Tensor:
        """Logits of a list of pixels, without any tensor of the full size.

        Equal to `forward(features)[n, :, y, x]`. The cost follows the number of pixels.

        Args:
            features: Feature maps [N, C_i, h_i, w_i], coarse to fine.
            pixels: Integers (n, y, x), [P, 3].

        Returns:
            Logits [P, K].

        Raises:
            ShapeError: The features do not fit the branch, or a pixel lies outside.
        """
        groups = self._groups(features)
        size = groups[-1].size
        check_pixels(pixels, extent=(features[0].shape[0], *size))
        sources = [self._pixel_source(group, count=len(pixels)) for group in groups]

        def piece(part: Tensor) -> Tensor:
            total: Tensor | None = None
            for source in sources:
                rows = gather_bilinear(source.rows, part, source=source.size, target=size)
                if source.weight is not None:
                    rows = rows @ source.weight.t()
                total = rows if total is None else total + rows
            assert total is not None
            logits = self._mean_logits(self._hidden2(total.t()[None, :, None]))
            return logits[0, :, 0].t()

        parts = torch.split(pixels, self._pixels_per_piece())
        run = self._runner(piece, num_pixels=len(pixels))
        return torch.cat([run(part) for part in parts])

    # The two hidden layers.

    def _hidden1(self, groups: "Sequence[_Group]", rows: tuple[int, int]) -> Tensor:
        """Layer 1 before its ReLU on a band of rows: [N, E*H1, rows, W]."""
        target = groups[-1].size
        total: Tensor | None = None
        for group in reversed(groups):  # the finest first: it has the full batch
            low, high = source_band(*rows, source=group.size[0], target=target[0])
            band = self._project(group, low, high)
            band = upsample_band(band, rows=rows, source_height=group.size[0], target=target)
            total = band if total is None else total.add_(band)
        assert total is not None
        return total

    def _project(self, group: "_Group", low: int, high: int) -> Tensor:
        """Layer 1 on rows [low, high) of the native maps of one size: [N, E*H1, rows, w]."""
        base = self.base if group.coarsest else None
        if base is not None and base.shape[1] > 1:
            base = base[:, low:high]
        if not group.maps:
            assert base is not None
            return base[None]
        maps = [maps[:, :, low:high] for maps in group.maps]
        stacked = maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)
        count, _, height, width = stacked.shape
        weight = self.weight1[:, group.columns].expand(count, -1, -1)
        projected = torch.bmm(weight, stacked.flatten(2)).view(
            count, weight.shape[1], height, width
        )
        return projected if base is None else projected.add_(base)

    def _hidden2(self, hidden1: Tensor) -> Tensor:
        """Layer 2 of each member: [N, E*H1, rows, W] -> [N, E, H2, rows, W]."""
        count, _, height, width = hidden1.shape
        members, width2, width1 = self.weight2.shape
        x = hidden1.relu_().reshape(count, members, width1, height * width)
        x = (self.weight2 @ x).add_(self.bias2).relu_()
        return x.view(count, members, width2, height, width)

    # The last layer, on [N, E, H2, rows, W].

    def _mean_logits(self, hidden2: Tensor) -> Tensor:
        """Mean of the members' logits, in one product: [N, K, rows, W]."""
        stacked = hidden2.flatten(1, 2)
        logits = self.merged_weight @ stacked.flatten(2) + self.merged_bias
        return logits.view(len(hidden2), self.config.num_labels, *hidden2.shape[3:])

    def _each_logits(self, hidden2: Tensor) -> Tensor:
        """The members' own logits: [N, E, K, rows, W]."""
        logits = self.weight3 @ hidden2.flatten(3) + self.bias3
        return logits.view(*hidden2.shape[:2], self.config.num_labels, *hidden2.shape[3:])

    # Pieces of the work.

    def _map_pieces(self, features: Sequence[Tensor], head: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `head` to the second hidden layer, over bands of rows and parts of the batch."""
        groups = self._groups(features)
        count, size = features[0].shape[0], groups[-1].size

        def piece(images: slice, rows: tuple[int, int]) -> Tensor:
            parts = [group.select(images) for group in groups]
            return head(self._hidden2(self._hidden1(parts, rows)))

        pieces = list(_pieces(count, size[0], self._pixels_per_piece() / size[1]))
        run = self._runner(piece, num_pixels=count * size[0] * size[1])
        outputs = [run(images, rows) for images, rows in pieces]
        per_image = sum(1 for images, _ in pieces if images == pieces[0][0])
        batches = [
            torch.cat(outputs[first : first + per_image], dim=-2)
            for first in range(0, len(outputs), per_image)
        ]
        return torch.cat(batches)

    def _pixels_per_piece(self) -> int:
        """Pixels whose stacked first hidden layer fits a piece."""
        budget = CPU_PIECE_BYTES if self.weight1.device.type == "cpu" else PIECE_BYTES
        return max(1, budget // (self.weight1.shape[0] * self.weight1.element_size()))

    def _runner(self, piece: Callable[..., Tensor], *, num_pixels: int) -> Callable[..., Tensor]:
        """`piece`, made to compute its hidden maps again where keeping them takes too much."""
        kept = num_pixels * self.weight1.shape[0] * self.weight1.element_size()
        if not torch.is_grad_enabled() or kept <= KEPT_BYTES:
            return piece

        return partial(checkpoint, piece, use_reentrant=False, preserve_rng_state=False)

    def _pixel_source(self, group: "_Group", *, count: int) -> "_PixelSource":
        """What to gather pixels from: projected rows, or raw ones where pixels are fewer."""
        height, width = group.size
        images = len(group.maps[0]) if group.maps else 1
        if group.coarsest or images * height * width <= count:
            projected = self._project(group, 0, height)
            if len(projected) != group.num_images:
                projected = projected.expand(group.num_images, -1, -1, -1)
            return _PixelSource(pixel_rows(projected), group.size, None)
        rows = pixel_rows(torch.cat(group.maps, dim=1))
        return _PixelSource(rows, group.size, self.weight1[:, group.columns])

    def _groups(self, features: Sequence[Tensor]) -> "list[_Group]":
        """Check the features and collect the maps of each size, coarse to fine."""
        self._check_features(features)
        groups: list[_Group] = []
        first = 0
        for index, maps in enumerate(features):
            size = (maps.shape[2], maps.shape[3])
            if not groups or groups[-1].size != size:
                columns = slice(first, first)
                groups.append(_Group([], columns, size, len(maps), coarsest=not groups))
            skipped = index == 0 and self.skip_first
            group = groups[-1]
            start = first + maps.shape[1] if skipped else group.columns.start
            first += maps.shape[1]
            groups[-1] = group._replace(
                maps=group.maps if skipped else [*group.maps, maps],
                columns=slice(start, first),
            )
        return groups

    def _check_features(self, features: Sequence[Tensor]) -> None:
        """Check the features against the settings and the branch's own tensors."""
        check_features(features, self.config.feature_channels)
        if features[0].dtype != self.weight1.dtype:
            raise ShapeError(f"features: expected {self.weight1.dtype}, got {features[0].dtype}")
        if self.skip_first and features[0].shape[2:] != self.base.shape[1:]:
            raise ShapeError(
                f"features[0]: expected the constant's size {list(self.base.shape[1:])}, "
                f"got {list(features[0].shape[2:])}"
            )


def check_features(features: Sequence[Tensor], channels: Sequence[int]) -> None:
    """Check that features are maps [N, C_i, h_i, w_i] of one batch and dtype, coarse to fine.

    Raises:
        ShapeError: They are not.
    """
    if len(features) != len(channels):
        raise ShapeError(f"features: expected {len(channels)} maps, got {len(features)}")
    if len(features[0]) == 0:
        raise ShapeError("features: expected at least one image, got none")
    size = (0, 0)
    for index, (maps, expected) in enumerate(zip(features, channels, strict=True)):
        name = f"features[{index}]"
        if maps.ndim != 4 or maps.shape[1] != expected or len(maps) != len(features[0]):
            raise ShapeError(
                f"{name}: expected [{len(features[0])}, {expected}, h, w], got {list(maps.shape)}"
            )
        if maps.shape[2] < size[0] or maps.shape[3] < size[1]:
            raise ShapeError(f"{name}: expected maps from coarse to fine")
        if maps.dtype != features[0].dtype:
            raise ShapeError(f"{name}: expected {features[0].dtype}, got {maps.dtype}")
        size = (maps.shape[2], maps.shape[3])


def jensen_shannon(member_logits: Tensor) -> Tensor:
    """Disagreement of the members: H(mean of softmax) - mean of H(softmax).

    Args:
        member_logits: [E, N, K, H, W].

    Returns:
        [N, H, W] in nats, from 0 (all members agree) to the logarithm of min(E, K).

    Raises:
        ShapeError: The tensor does not have five dimensions.

    Example:
        >>> agreeing = torch.randn(1, 2, 5, 4, 4).expand(3, -1, -1, -1, -1)
        >>> float(jensen_shannon(agreeing).max()) < 1e-5
        True
    """
    if member_logits.ndim != 5:
        raise ShapeError(
            f"member_logits: expected [E, N, K, H, W], got {list(member_logits.shape)}"
        )
    log_probabilities = member_logits.log_softmax(dim=2)
    probabilities = log_probabilities.exp()
    own = -(probabilities * log_probabilities).sum(dim=2).mean(dim=0)
    mean = probabilities.mean(dim=0)
    joint = -torch.xlogy(mean, mean).sum(dim=1)
    return (joint - own).clamp(min=0)


def image_uncertainty(uncertainty: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Score of each image: the mean of its most uncertain pixels.

    Args:
        uncertainty: [N, H, W], for example from `SegmentationBranch.uncertainty`.
        fraction: Share of the pixels that count, in (0, 1].

    Returns:
        [N].

    Raises:
        SettingsError: `fraction` is out of range.
    """
    if not 0 < fraction <= 1:
        raise SettingsError(f"fraction: expected a number in (0, 1], got {fraction}")
    flat = uncertainty.flatten(1)
    count = max(1, round(fraction * flat.shape[1]))
    return flat.topk(count, dim=1).values.mean(dim=1)


# ---------------------------------------------------------------------------------------------
# Pieces of the work.


class _Group(NamedTuple):
    """The feature maps of one native size."""

    maps: list[Tensor]  # [N, C_i, h, w]; empty where only the folded constant has this size
    columns: slice  # Their columns of layer 1.
    size: tuple[int, int]  # (h, w)
    num_images: int  # N
    coarsest: bool  # Does the base of layer 1 join here?

    def select(self, images: slice) -> "_Group":
        """The same for a part of the batch."""
        maps = [maps[images] for maps in self.maps]
        return self._replace(maps=maps, num_images=len(range(self.num_images)[images]))


class _PixelSource(NamedTuple):
    """One row per native pixel, to gather from."""

    rows: Tensor  # [N*h*w, E*H1], or [N*h*w, C] when `weight` is still to be applied
    size: tuple[int, int]  # (h, w)
    weight: Tensor | None  # [E*H1, C]


def _pieces(count: int, height: int, rows: float) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Cut `count` images of `height` rows into pieces of about `rows` rows."""
    step = max(1, min(int(rows), height))
    images = max(1, int(rows / height))
    for first in range(0, count, images):
        for start in range(0, height, step):
            yield slice(first, min(first + images, count)), (start, min(start + step, height))
