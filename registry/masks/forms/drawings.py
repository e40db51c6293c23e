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
        is_area: False for a point or a line, which covers no pixels.
    """

    label: str
    of: str
    fill: Callable[[int, int], BoolArray]
    is_area: bool = True


@dataclass(frozen=True)
class Drawing:
    """All regions of one picture.

    Attributes:
        image: name of the picture's file, as the tool says it, with its folders.
        of: what messages call the drawing.
        height: in pixels; None where nobody says it.
        width: likewise.
        regions: later ones lie above earlier ones.
        says_size: False where the size is that of the picture, whatever `height` and `width`
            suppose.
        fault: why it can be no mask; None for nothing.
    """

    image: str
    of: str
    height: int | None
    width: int | None
    regions: Sequence[DrawnRegion]
    says_size: bool = True
    fault: str | None = None


def other_shape(label: str, of: str) -> DrawnRegion:
    """A shape that is no area, such as a point or a line."""
    return DrawnRegion(label, of, lambda height, width: np.zeros((height, width), np.bool_), False)


def draw(
    drawing: Drawing,
    scheme: LabelScheme,
    *,
    size: tuple[int, int] | None = None,
    skips_other_shapes: bool = False,
) -> MaskArray:
    """The labels of a drawing, int32 [H, W]; where nothing is drawn lies the first part.

    Args:
        drawing: what is drawn.
        scheme: the parts, and how files spell them.
        size: height and width of the picture, of a drawing that does not say them.
        skips_other_shapes: points and lines are left out.

    Raises:
        MaskError: a name that the scheme does not know, a region that cannot be read or covers no
            pixels, or nobody says the size.
    """
    if drawing.fault is not None:
        raise MaskError(drawing.fault)
    height, width = (drawing.height, drawing.width) if size is None else size
    if height is None or width is None:
        raise MaskError(
            f"{drawing.of}: it does not say how many pixels its picture has, and {drawing.image} "
            "is not beside it; say where the pictures are (--images)"
        )
    check_extent(height, width, of=drawing.of)
    mask = np.zeros((height, width), np.int32)
    for region in drawing.regions:
        if not region.is_area:
            if skips_other_shapes:
                continue
            raise MaskError(
                f"{region.of}: it covers no pixels; --skip-other-shapes leaves out what is no area"
            )
        index = scheme.index_of_name.get(plain_name(region.label))
        if index is None:
            raise MaskError(
                f"{region.of}: {region.label!r} is none of the parts of {scheme.title}: "
                f"{', '.join((*scheme.label_names, *scheme.all_groups))}"
            )
        mask[region.fill(height, width)] = index
    return split_parts(mask, scheme, of=drawing.of)


def check_extent(height: object, width: object, *, of: str) -> None:
    """Refuses what is no size of a picture.

    Raises:
        MaskError: gives both numbers.
    """
    sizes = (height, width)
    if not all(type(size) is int and size > 0 for size in sizes) or height * width > MAX_PIXELS:  # type: ignore[operator]
        raise MaskError(f"{of}: {width} x {height} pixels are no size of a mask")
