"""Mask pairs from files: an image, its mask and the edited mask, of whatever form."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from editvec.registry.entities.vectors import NewMaskPair
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.masks.png import encode_mask, read_picture
from editvec.registry.masks.sources import read_any_mask


class PairFiles(NamedTuple):
    """The files of a mask pair."""

    image: Path
    mask_before: Path
    mask_after: Path


def read_mask_pair(files: PairFiles, scheme: LabelScheme) -> NewMaskPair:
    """Reads the three files of a mask pair; the library checks them against a class.

    Args:
        files: the masks of any form that `read_any_mask` reads.
        scheme: the parts, and how the files spell them.

    Raises:
        MaskError: a file cannot be read, or is no picture or no mask of the scheme.
    """
    before, after = (
        encode_mask(read_any_mask(path, scheme), scheme.labels)
        for path in (files.mask_before, files.mask_after)
    )
    return NewMaskPair(
        image_png=read_picture(files.image), mask_before_png=before, mask_after_png=after
    )
