"""Feature maps grouped by their native size, as the layers of segmentation read them."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from editvec.engine.errors import ShapeError


class FeatureGroup(NamedTuple):
    """The feature maps of one native size.

    Attributes:
        maps: [N, C_i, h, w]; empty where only the folded constant has this size.
        columns: Their columns of layer 1.
        size: (h, w).
        num_images: N.
        coarsest: Does the base of layer 1 join here?
    """

    maps: list[Tensor]
    columns: slice
    size: tuple[int, int]
    num_images: int
    coarsest: bool

    def select(self, images: slice) -> "FeatureGroup":
        """The same for a part of the batch."""
        maps = [maps[images] for maps in self.maps]
        return self._replace(maps=maps, num_images=len(range(self.num_images)[images]))


def group_features(features: Sequence[Tensor], *, skip_first: bool) -> list[FeatureGroup]:
    """Collect the maps of each size, coarse to fine.

    Args:
        features: Checked maps [N, C_i, h_i, w_i], coarse to fine; see `check_features`.
        skip_first: Leave the first map out, the folded constant.
    """
    groups: list[FeatureGroup] = []
    first = 0
    for index, maps in enumerate(features):
        size = (maps.shape[2], maps.shape[3])
        if not groups or groups[-1].size != size:
            columns = slice(first, first)
            groups.append(FeatureGroup([], columns, size, len(maps), coarsest=not groups))
        skipped = index == 0 and skip_first
        group = groups[-1]
        start = first + maps.shape[1] if skipped else group.columns.start
        first += maps.shape[1]
        groups[-1] = group._replace(
            maps=group.maps if skipped else [*group.maps, maps],
            columns=slice(start, first),
        )
    return groups


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
