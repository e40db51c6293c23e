"""Annotated images: pictures with their part masks, as the generator sees them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.batch.errors import PlanError
from editvec.engine.images.images import Fit, read_image
from editvec.engine.images.views import see, see_labels, view_of

if TYPE_CHECKING:
    from editvec.registry.labels.scheme import LabelScheme
    from editvec.registry.masks.annotations import MaskForm
    from editvec.registry.masks.sources import MaskedImage

MIN_PAIRS = 4
SENSIBLE_PAIRS = 16
IMAGES_FOLDER = "images"
_YOLO_LABELS = "labels"
_MASKS = ("masks", "masks.json", "masks.xml", "annotations.json", "annotations.xml")


class Pairs(NamedTuple):
    """Annotated images.

    Attributes:
        names: Paths under the images' folder.
        pixels: uint8 [N, H, W, 3].
        masks: Label indices, or `IGNORED`, int32 [N, H, W].
        digests: Of the pixels of each.
        same: Names that show what another one shows, with that one's name; they are left out.
    """

    names: list[str]
    pixels: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.int32]
    digests: list[str]
    same: list[tuple[str, str]]

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels and masks: what a training on them depends on."""
        digest = hashlib.sha256("".join(self.digests).encode())
        digest.update(self.masks.astype("<i4").tobytes())
        return digest.hexdigest()


def read_pairs(
    source: Path,
    scheme: LabelScheme,
    *,
    resolution: int,
    fit: Fit,
    masks: Path | None = None,
    form: MaskForm | str | None = None,
    skips_other_shapes: bool = False,
) -> Pairs:
    """Read images and masks, and bring both to the generator's square.

    Args:
        source: Folder with `images` and `masks` (or `masks.json`, `annotations.xml`, YOLO's
            `labels`...); with `masks` given, the images themselves.
        scheme: The parts, and how the files spell them.
        resolution: Of the generator.
        fit: How a picture of another shape becomes a square; masks follow, by the nearest pixel.
        masks: A folder of masks or one file that speaks of all; None looks into `source`.
        form: How the masks are written; None finds out.
        skips_other_shapes: Points and lines that somebody drew are left out.

    Raises:
        PlanError: The folder does not hold them, or too few.
        MaskError: An image has no mask, one channel or no readable file; a mask has another size
            than its image, says something that the scheme does not know, or ignores all pixels.
        ImageError: An image cannot be read.
    """
    from editvec.registry.masks.sources import masked_images

    if not source.is_dir():
        raise PlanError(f"PAIRS: expected a folder, {source} is none")
    images, found = (source, masks) if masks is not None else _inside(source)
    wanted = masked_images(images, found, scheme, form=form, skips_other_shapes=skips_other_shapes)
    if len(wanted) < MIN_PAIRS:
        raise PlanError(
            f"PAIRS: expected at least {MIN_PAIRS} annotated images ({SENSIBLE_PAIRS} to "
            f"{2 * SENSIBLE_PAIRS} are sensible), {source} holds {len(wanted)}"
        )
    return _read(wanted, images, resolution=resolution, fit=fit)


def _inside(source: Path) -> tuple[Path, Path]:
    """Images and masks of a folder that holds both."""
    images = source / IMAGES_FOLDER
    masks = [source / name for name in _MASKS if (source / name).exists()]
    if not masks and (source / _YOLO_LABELS).is_dir():
        masks = [source / _YOLO_LABELS]
    if not images.is_dir() or len(masks) != 1:
        raise PlanError(
            f"PAIRS: expected {IMAGES_FOLDER}/ and one of {', '.join(_MASKS)} in {source}; "
            "--masks says where masks are that lie elsewhere"
        )
    return images, masks[0]


def _read(wanted: list[MaskedImage], images: Path, *, resolution: int, fit: Fit) -> Pairs:
    from editvec.registry.masks.png import check_counted

    found = Pairs(
        [],
        np.empty((len(wanted), resolution, resolution, 3), np.uint8),
        np.empty((len(wanted), resolution, resolution), np.int32),
        [],
        [],
    )
    for pair in wanted:
        name = pair.image.relative_to(images).as_posix()
        view = view_of(pair.height, pair.width, resolution, fit=fit)
        pixels = see(read_image(pair.image), view, resolution)
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        mask = see_labels(pair.read_mask(), view, resolution)
        top, left, bottom, right = view.inner
        check_counted(mask[top:bottom, left:right], of=f"{pair.mask.of}, as the generator sees it")
        if digest in found.digests:
            # the same picture in two folds would be judged by who has seen it
            found.same.append((name, found.names[found.digests.index(digest)]))
            continue
        place = len(found.names)
        found.pixels[place], found.masks[place] = pixels, mask
        found.names.append(name)
        found.digests.append(digest)
    count = len(found.names)
    if count < MIN_PAIRS:
        raise PlanError(
            f"PAIRS: expected at least {MIN_PAIRS} different images, {images} holds {count}"
        )
    return found._replace(pixels=found.pixels[:count], masks=found.masks[:count])


def chosen_pairs(pairs: Pairs, rows: list[int]) -> Pairs:
    """Some of the pairs, in the order of `rows`."""
    return Pairs(
        [pairs.names[row] for row in rows],
        pairs.pixels[rows],
        pairs.masks[rows],
        [pairs.digests[row] for row in rows],
        pairs.same,
    )
