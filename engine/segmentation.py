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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cuda_ext.bilinear import gather_bilinear, pixel_rows
from cuda_ext.segment_gather import PixelLayers, segment_gather
from engine.config import SegmentationConfig
from engine.errors import SettingsError, ShapeError
from engine.feature_groups import FeatureGroup, check_features, group_features
from engine.folding import FoldedLayers, fold_constant, fold_members
from engine.resampling import BandSum, check_pixels

# Size of the first hidden maps of a piece of the work: a band of rows of some members. On a CPU a
# piece should stay near the caches, elsewhere it should be worth a launch.
CPU_PIECE_BYTES = 4 * 2**20
PIECE_BYTES = 256 * 2**20

# Size of the first hidden layer of pixels of a list that are gathered at once. The gradient of each
# part is as large as the maps that it was gathered from: a part should not be much smaller.
PART_BYTES = 64 * 2**20

# A gradient needs the hidden maps again: up to this size they are kept, beyond it they are computed
# a second time, some members at a time.
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
        total = self._map_members(features, self._mean_part, _total)
        return total + self.merged_bias[:, :, None]

    def member_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Logits of each member, [E, N, K, H, W]; see `forward`."""
        concatenate = partial(torch.cat, dim=1)
        found: Tensor = self._map_members(features, self._each_logits, concatenate)
        return found.transpose(0, 1)

    def uncertainty(self, features: Sequence[Tensor]) -> Tensor:
        """Jensen-Shannon divergence of the members, in nats, [N, H, W]; see `forward`."""

        def sums(hidden2: Tensor, members: slice) -> Tensor:
            return _entropy_sums(self._each_logits(hidden2, members).transpose(0, 1))

        return _divergence(self._map_members(features, sums, _total), self.config.members)

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
        pixels = pixels.long()
        # A map with fewer pixels than are asked for is projected, of others the pixels are.
        coarse = [g for g in groups if g.coarsest or _num_pixels(g) <= len(pixels)]
        fine = groups[len(coarse) :]
        rows = [_pixel_rows(maps, pixels, size=size) for group in fine for maps in group.maps]
        fine_rows = torch.cat(rows, dim=1) if rows else None  # [P, C]

        def piece(members: slice) -> Tensor:
            maps = [self._project_for_pixels(group, members) for group in coarse]
            addend = None
            if fine_rows is not None:
                weight = self.weight1[self._hidden1_channels(members), fine[0].columns.start :]
                addend = fine_rows @ weight.t()
            layers = self._pixel_layers(members)
            step = self._pixels_per_part(members)
            parts = [
                segment_gather(
                    maps, pixels[part], layers, size=size,
                    addend=None if addend is None else addend[part],
                )
                for part in _slices(len(pixels), step)
            ]  # fmt: skip
            return torch.cat(parts)

        members = self._members_per_piece(len(pixels))
        run = self._runner(piece, num_pixels=len(pixels))
        logits = _total(run(some) for some in _slices(self.config.members, members))
        return logits + self.merged_bias[:, 0]

    # The two hidden layers, of the members of a slice.

    def _project(self, group: FeatureGroup, members: slice, rows: slice = slice(None)) -> Tensor:
        """Layer 1 on rows of the native maps of one size: [N or 1, E*H1, rows, w]."""
        channels = self._hidden1_channels(members)
        base = self.base[channels, rows if self.base.shape[1] > 1 else slice(None)]
        if not group.maps:
            return base[None]
        first = group.columns.start
        total: Tensor | None = None
        for maps in group.maps:
            columns = slice(first, first + maps.shape[1])
            first = columns.stop
            weight = self.weight1[channels, columns].expand(len(maps), -1, -1)
            native = maps[:, :, rows].flatten(2)
            total = torch.bmm(weight, native) if total is None else total.baddbmm_(weight, native)
        assert total is not None
        projected = total.view(*total.shape[:2], -1, group.size[1])
        return projected.add_(base) if group.coarsest else projected

    def _project_for_pixels(self, group: FeatureGroup, members: slice) -> Tensor:
        """Layer 1 on native maps, [N, E*H1, h, w]; a pixel's channels lie side by side."""
        projected = self._project(group, members).expand(group.num_images, -1, -1, -1)
        return projected.contiguous(memory_format=torch.channels_last)

    def _hidden2(self, hidden1: Tensor, members: slice) -> Tensor:
        """Layer 2 of each member: [N, E*H1, rows, W] -> [N, E, H2, rows, W]."""
        count, _, height, width = hidden1.shape
        weight = self.weight2[members]
        x = hidden1.relu_().reshape(count, len(weight), weight.shape[2], height * width)
        x = (weight @ x).add_(self.bias2[members]).relu_()
        return x.view(count, len(weight), weight.shape[1], height, width)

    def _hidden1_channels(self, members: slice) -> slice:
        width = self.config.hidden[0]
        return slice(members.start * width, members.stop * width)

    # The last layer, on [N, E, H2, rows, W].

    def _mean_part(self, hidden2: Tensor, members: slice) -> Tensor:
        """What members add to the mean logits, in one product: [N, K, rows, W]."""
        stacked = hidden2.flatten(1, 2)
        logits = self._merged(members) @ stacked.flatten(2)
        return logits.view(len(hidden2), self.config.num_labels, *hidden2.shape[3:])

    def _merged(self, members: slice) -> Tensor:
        width = self.config.hidden[1]
        return self.merged_weight[:, members.start * width : members.stop * width]

    def _pixel_layers(self, members: slice) -> PixelLayers:
        """The layers behind the first one, without the last bias, which all members share."""
        no_bias = torch.zeros_like(self.merged_bias)
        weight2, bias2 = self.weight2[members], self.bias2[members]
        return PixelLayers(weight2, bias2, self._merged(members), no_bias)

    def _each_logits(self, hidden2: Tensor, members: slice) -> Tensor:
        """The members' own logits: [N, E, K, rows, W]."""
        logits = self.weight3[members] @ hidden2.flatten(3) + self.bias3[members]
        return logits.view(*hidden2.shape[:2], self.config.num_labels, *hidden2.shape[3:])

    # Pieces of the work.

    def _map_members(
        self,
        features: Sequence[Tensor],
        head: Callable[[Tensor, slice], Tensor],
        combine: Callable[[list[Tensor]], Tensor],
    ) -> Tensor:
        """Apply `head` to the second hidden layer of some members at a time, and combine them."""
        groups = self._groups(features)
        height, width = groups[-1].size
        bands = BandSum([group.size for group in groups[:-1]], groups[-1].size, like=features[-1])
        pixels = height * width
        members = self._members_per_piece(pixels)
        rows = max(self._pixels_per_piece(members) // width, 1)
        images = max(self._pixels_per_piece(self.config.members) // pixels, 1)

        def piece(parts: Sequence[FeatureGroup], members: slice) -> Tensor:
            coarse = [self._project(group, members) for group in parts[:-1]]
            found = []
            for band in _slices(height, rows):
                hidden1 = self._project(parts[-1], members, band)
                bands.add_(hidden1, coarse, band)
                found.append(head(self._hidden2(hidden1, members), members))
            return torch.cat(found, dim=-2)

        run = self._runner(piece, num_pixels=len(features[0]) * pixels)
        batches = []
        for chosen in _slices(len(features[0]), images):
            parts = [group.select(chosen) for group in groups]
            batches.append(
                combine([run(parts, some) for some in _slices(self.config.members, members)])
            )
        return torch.cat(batches)

    def _members_per_piece(self, num_pixels: int) -> int:
        """Members whose first hidden layer of some pixels fits a piece, one at least."""
        fitting = self._pixels_per_piece(1) // max(num_pixels, 1)
        return min(max(fitting, 1), self.config.members)

    def _pixels_per_piece(self, members: int) -> int:
        """Pixels whose first hidden layer of some members fits a piece."""
        budget = CPU_PIECE_BYTES if self.weight1.device.type == "cpu" else PIECE_BYTES
        width = members * self.config.hidden[0]
        return max(1, budget // (width * self.weight1.element_size()))

    def _pixels_per_part(self, members: slice) -> int:
        """Pixels that are gathered at once."""
        width = len(range(self.config.members)[members]) * self.config.hidden[0]
        return max(1, PART_BYTES // (width * self.weight1.element_size()))

    def _runner(self, piece: Callable[..., Tensor], *, num_pixels: int) -> Callable[..., Tensor]:
        """`piece`, made to compute its hidden maps again where keeping them takes too much."""
        kept = num_pixels * self.weight1.shape[0] * self.weight1.element_size()
        if not torch.is_grad_enabled() or kept <= KEPT_BYTES:
            return piece

        return partial(checkpoint, piece, use_reentrant=False, preserve_rng_state=False)

    def _groups(self, features: Sequence[Tensor]) -> list[FeatureGroup]:
        """Check the features and collect the maps of each size, coarse to fine."""
        self._check_features(features)
        return group_features(features, skip_first=self.skip_first)

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
    return _divergence(_entropy_sums(member_logits), len(member_logits))


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


def _pixel_rows(maps: Tensor, pixels: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Values of maps [N, C, h, w], up-sampled to `size`, at pixels: [P, C]."""
    source = (maps.shape[2], maps.shape[3])
    return gather_bilinear(pixel_rows(maps), pixels, source=source, target=size)


def _num_pixels(group: FeatureGroup) -> int:
    """Native pixels of all images of the group."""
    height, width = group.size
    return (len(group.maps[0]) if group.maps else 1) * height * width


def _slices(count: int, step: int) -> Iterator[slice]:
    """Cut `count` things into slices of at most `step`; none are one empty slice."""
    for start in range(0, max(count, 1), step):
        yield slice(start, min(start + step, count))


def _total(parts: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, parts)


def _entropy_sums(member_logits: Tensor) -> Tensor:
    """Of members [E, N, K, H, W]: probabilities and entropy summed over them, [N, K+1, H, W]."""
    log_probabilities = member_logits.log_softmax(dim=2)
    probabilities = log_probabilities.exp()
    entropy = -(probabilities * log_probabilities).sum(dim=(0, 2))
    return torch.cat([probabilities.sum(dim=0), entropy[:, None]], dim=1)


def _divergence(sums: Tensor, members: int) -> Tensor:
    """Jensen-Shannon divergence [N, H, W] from what `_entropy_sums` gives of all members."""
    mean, own = sums[:, :-1] / members, sums[:, -1] / members
    joint = -torch.xlogy(mean, mean).sum(dim=1)
    return (joint - own).clamp(min=0)
