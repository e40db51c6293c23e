"""What annotation tools draw on a picture: named regions, the lowest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError
from editvec.registry.labels.scheme import LabelScheme, plain_name
from editvec.registry.masks.png import MAX_PIXELS, MaskArray
from editvec.registry.masks.splits import split_parts

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnRegion:
    """Pixels of one part.

    Attributes:
        label: what the tool calls the part.
        of: what messages call the region.
        fill: its pixels, bool [H, W], for a height and a width.
    """

    label: str
    of: str
    fill: Callable[[int, int], BoolArray]


@dataclass(frozen=True)
class Drawing:
    """All regions of one picture.

    Attributes:
        image: name of the picture's file, as the tool says it, with its folders.
        of: what messages call the drawing.
        height: in pixels.
        width: in pixels.
        regions: later ones lie above earlier ones.
    """

    image: str
    of: str
    height: int
    width: int
    regions: Sequence[DrawnRegion]


def draw(drawing: Drawing, scheme: LabelScheme) -> MaskArray:
    """The labels of a drawing, int32 [H, W]; where nothing is drawn lies the first part.

    Raises:
        MaskError: a name that the scheme does not know, or a region that cannot be read.
    """
    check_extent(drawing.height, drawing.width, of=drawing.of)
    mask = np.zeros((drawing.height, drawing.width), np.int32)
    for region in drawing.regions:
        index = scheme.index_of_name.get(plain_name(region.label))
        if index is None:
            raise MaskError(
                f"{region.of}: {region.label!r} is none of the parts of {scheme.title}: "
                f"{', '.join((*scheme.label_names, *scheme.all_groups))}"
            )
        mask[region.fill(drawing.height, drawing.width)] = index
    return split_parts(mask, scheme, of=drawing.of)


def check_extent(height: object, width: object, *, of: str) -> None:
    """Refuses what is no size of a picture.

    Raises:
        MaskError: gives both numbers.
    """
    sizes = (height, width)
    if not all(type(size) is int and size > 0 for size in sizes) or height * width > MAX_PIXELS:  # type: ignore[operator]
        raise MaskError(f"{of}: {width} x {height} pixels are no size of a mask")
