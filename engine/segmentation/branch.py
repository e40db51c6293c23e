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

from editvec.cuda_ext.bilinear import gather_bilinear, pixel_rows
from editvec.cuda_ext.dispatch import takes_kernel
from editvec.cuda_ext.segment_gather import PixelLayers, segment_gather
from editvec.engine.errors import ShapeError
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.segmentation.feature_groups import FeatureGroup, check_features, group_features
from editvec.engine.segmentation.folding import FoldedLayers, fold_constant, fold_members
from editvec.engine.segmentation.pixel_logits import PixelClassifiers, pixel_logits
from editvec.engine.segmentation.pixel_plan import PixelPlan, plan_pixels
from editvec.engine.segmentation.resampling import BandSum, Scratch, check_pixels
from editvec.engine.segmentation.uncertainty import divergence, entropy_sums

# Size of the first hidden maps of a piece of the work: a band of rows of some members. On a CPU a
# piece should stay near the caches, elsewhere it should be worth a launch.
CPU_PIECE_BYTES = 4 * 2**20
PIECE_BYTES = 256 * 2**20

# Size of what layer 1 makes of an image's coarse maps: beyond it, some members come after others.
COARSE_BYTES = 64 * 2**20

# Size of the first hidden layer of one member, of pixels of a list that are computed at once. Parts
# share native pixels at their edges: they should not be small.
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
            return entropy_sums(self._each_logits(hidden2, members).transpose(0, 1))

        return divergence(self._map_members(features, sums, _total), self.config.members)

    def plan_pixels(self, features: Sequence[Tensor], pixels: Tensor) -> PixelPlan:
        """What `logits_at` finds out about a list of pixels; for many steps on the same one.

        Args:
            features: As in `logits_at`; only sizes, dtype and device count.
            pixels: Integers (n, y, x), [P, 3].

        Raises:
            ShapeError: The features do not fit the branch, or a pixel lies outside.
        """
        groups = self._groups(features)
        size = groups[-1].size
        check_pixels(pixels, extent=(features[0].shape[0], *size))
        return plan_pixels(
            pixels.long(),
            [group.size for group in groups],
            num_images=groups[0].num_images,
            dtype=features[-1].dtype,
            part_size=self._pixels_per_part(),
        )

    def logits_at(self, features: Sequence[Tensor], pixels: Tensor | PixelPlan) -> Tensor:
        """Logits of a list of pixels, without any tensor of the full size.

        Equal to `forward(features)[n, :, y, x]`. The cost follows the number of pixels. On a CPU
        neighbours in the list should be neighbours in the image, as `nonzero` of a mask lists them.

        Args:
            features: Feature maps [N, C_i, h_i, w_i], coarse to fine.
            pixels: Integers (n, y, x), [P, 3], or the plan of them.

        Returns:
            Logits [P, K]. They have a first derivative with respect to the features.

        Raises:
            ShapeError: The features do not fit the branch or the plan, or a pixel lies outside.
        """
        groups = self._groups(features)
        plan = pixels if isinstance(pixels, PixelPlan) else self.plan_pixels(features, pixels)
        sizes = [group.size for group in groups]
        if (plan.sizes, plan.num_images) != (sizes, groups[0].num_images):
            raise ShapeError(
                f"pixels: expected a plan for {groups[0].num_images} images with maps of {sizes}, "
                f"got one for {plan.num_images} with {plan.sizes}"
            )
        if plan.parts and plan.parts[0].gather.weights.dtype != features[-1].dtype:
            dtypes = features[-1].dtype, plan.parts[0].gather.weights.dtype
            raise ShapeError(f"pixels: expected a plan for {dtypes[0]}, got one for {dtypes[1]}")
        if takes_kernel("segment_gather", features[-1]):
            return self._logits_by_kernel(groups, plan.pixels)
        count = len(plan.pixels)
        hidden = self.weight1.shape[0] + self.weight2[:, :, 0].numel()
        logits = pixel_logits(
            groups,
            plan,
            self._classifiers(),
            members=self._members_per_piece(min(count, self._pixels_per_part())),
            is_kept=count * hidden <= KEPT_BYTES,
        )
        return logits + self.merged_bias[:, 0]

    def _classifiers(self) -> PixelClassifiers:
        members, width = self.config.members, self.config.hidden[1]
        weight3 = self.merged_weight.view(-1, members, width).transpose(0, 1)
        return PixelClassifiers(self.weight1, self.base, self.weight2, self.bias2, weight3)

    def _logits_by_kernel(self, groups: Sequence[FeatureGroup], pixels: Tensor) -> Tensor:
        """The same by `editvec.cuda_ext.segment_gather`, from whole maps."""
        size = groups[-1].size
        # A map that is smaller than what is asked for is projected whole; of a larger one only
        # the pixels that are asked for are.
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
            return segment_gather(
                maps, pixels, self._pixel_layers(members), size=size, addend=addend
            )

        members = self._members_per_piece(len(pixels))
        run = self._runner(piece, num_pixels=len(pixels))
        logits = _total(run(some) for some in _slices(self.config.members, members))
        return logits + self.merged_bias[:, 0]

    # The two hidden layers, of the members of a slice.

    def _project(
        self,
        group: FeatureGroup,
        members: slice,
        rows: slice = slice(None),
        *,
        scratch: Scratch | None = None,
    ) -> Tensor:
        """Layer 1 on rows of the native maps of one size: [N or 1, rows, w, E*H1]."""
        channels = self._hidden1_channels(members)
        base = self.base[channels, rows if self.base.shape[1] > 1 else slice(None)]
        base = base.permute(1, 2, 0)
        if not group.maps:
            return base.contiguous()[None]
        first = group.columns.start
        total: Tensor | None = None
        for maps in group.maps:
            columns = slice(first, first + maps.shape[1])
            first = columns.stop
            weight = self.weight1[channels, columns].t().expand(len(maps), -1, -1)
            native = maps[:, :, rows].flatten(2).transpose(1, 2)
            if total is not None:
                total = total.baddbmm_(native, weight)
            elif scratch is not None:
                shape = (*native.shape[:2], weight.shape[2])
                total = torch.bmm(native, weight, out=scratch.take(group.size, shape))
            else:
                total = torch.bmm(native, weight)
        assert total is not None
        projected = total.view(len(total), -1, group.size[1], total.shape[2])
        return projected.add_(base) if group.coarsest else projected

    def _project_for_pixels(self, group: FeatureGroup, members: slice) -> Tensor:
        """Layer 1 on native maps, [N, E*H1, h, w]; a pixel's channels lie side by side."""
        projected = self._project(group, members).expand(group.num_images, -1, -1, -1)
        return projected.contiguous().permute(0, 3, 1, 2)

    def _hidden2(
        self, hidden1: Tensor, members: slice, *, scratch: Scratch | None = None
    ) -> Tensor:
        """Layer 2 of each member: [N, rows, W, E*H1] -> [N, rows, W, E, H2]."""
        count, height, width, _ = hidden1.shape
        weight, bias = self.weight2[members].transpose(1, 2), self.bias2[members, :, 0]
        x = hidden1.relu_().view(count, height * width, len(weight), -1).transpose(1, 2)
        if scratch is None:
            hidden2 = torch.stack([torch.bmm(one, weight) for one in x]).transpose(1, 2)
        else:
            hidden2 = scratch.take("hidden2", (count, height * width, *bias.shape))
            for one, place in zip(x, hidden2, strict=True):
                torch.bmm(one, weight, out=place.transpose(0, 1))
        return hidden2.add_(bias).relu_().view(count, height, width, *bias.shape)

    def _hidden1_channels(self, members: slice) -> slice:
        width = self.config.hidden[0]
        return slice(members.start * width, members.stop * width)

    # The last layer, on [N, rows, W, E, H2].

    def _mean_part(self, hidden2: Tensor, members: slice) -> Tensor:
        """What members add to the mean logits, in one product: [N, K, rows, W]."""
        stacked = hidden2.flatten(3).flatten(1, 2)
        logits = self._merged(members) @ stacked.transpose(1, 2)
        return logits.view(len(hidden2), self.config.num_labels, *hidden2.shape[1:3])

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
        stacked = hidden2.flatten(1, 2).permute(0, 2, 3, 1)
        logits = self.weight3[members] @ stacked + self.bias3[members]
        return logits.view(*logits.shape[:3], *hidden2.shape[1:3])

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
        members = self._members_together(groups[:-1])
        rows = max(self._pixels_per_piece(members) // width, 1)
        images = max(self._pixels_per_piece(self.config.members) // pixels, 1)

        scratch = None if torch.is_grad_enabled() else Scratch(like=features[-1])

        def piece(parts: Sequence[FeatureGroup], members: slice) -> Tensor:
            coarse = [self._project(group, members, scratch=scratch) for group in parts[:-1]]
            found = []
            for band in _slices(height, rows):
                hidden1 = self._project(parts[-1], members, band, scratch=scratch)
                bands.add_(hidden1, coarse, band, scratch=scratch)
                hidden2 = self._hidden2(hidden1, members, scratch=scratch)
                found.append(head(hidden2, members))
            return torch.cat(found, dim=-2)

        run = self._runner(piece, num_pixels=len(features[0]) * pixels)
        batches = []
        for chosen in _slices(len(features[0]), images):
            parts = [group.select(chosen) for group in groups]
            batches.append(
                combine([run(parts, some) for some in _slices(self.config.members, members)])
            )
        return torch.cat(batches)

    def _members_together(self, coarse: Sequence[FeatureGroup]) -> int:
        """Members whose projected coarse maps of one image are kept, one at least."""
        pixels = sum(height * width for height, width in (group.size for group in coarse))
        each = pixels * self.config.hidden[0] * self.weight1.element_size()
        return min(max(COARSE_BYTES // max(each, 1), 1), self.config.members)

    def _members_per_piece(self, num_pixels: int) -> int:
        """Members whose first hidden layer of some pixels fits a piece, one at least."""
        fitting = self._pixels_per_piece(1) // max(num_pixels, 1)
        return min(max(fitting, 1), self.config.members)

    def _pixels_per_piece(self, members: int) -> int:
        """Pixels whose first hidden layer of some members fits a piece."""
        budget = CPU_PIECE_BYTES if self.weight1.device.type == "cpu" else PIECE_BYTES
        width = members * self.config.hidden[0]
        return max(1, budget // (width * self.weight1.element_size()))

    def _pixels_per_part(self) -> int:
        """Pixels of a list that are computed at once, of one member at least."""
        return max(1, PART_BYTES // (self.config.hidden[0] * self.weight1.element_size()))

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
