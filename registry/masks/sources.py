"""Reads part masks of any form: PNGs of indices or colours, part by part, COCO, Label Studio, CVAT.

A source is one PNG, a folder of them, or one file that speaks of many images. Each of its masks
has the name of an image, and is read when it is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import Color
from editvec.registry.labels.scheme import LabelScheme, plain_name
from editvec.registry.masks.forms.documents import parse_json, read_document
from editvec.registry.masks.forms.drawings import Drawing, draw
from editvec.registry.masks.forms.pictures import read_colors, read_either, read_index, read_part
from editvec.registry.masks.png import MaskArray, check_size
from editvec.registry.masks.splits import split_parts

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
_VOC_MASKS, _VOC_COLORS = "SegmentationClass", "labelmap.txt"
_JOINTS = "_-. "


class MaskForm(StrEnum):
    """How masks are written."""

    INDEX = "index"
    COLORS = "colors"
    PARTS = "parts"
    COCO = "coco"
    LABEL_STUDIO = "label-studio"
    CVAT = "cvat"


@dataclass(frozen=True)
class SourceMask:
    """One mask of a source.

    Attributes:
        name: of its image: a file name, with folders and suffix as far as the source knows them.
        of: what messages call it.
        read: gives its labels, int32 [H, W]; raises MaskError.
    """

    name: str
    of: str
    read: Callable[[], MaskArray]


class MaskedImage(NamedTuple):
    """An image and its mask; `height` and `width` are those of the image in its file."""

    image: Path
    mask: SourceMask
    height: int
    width: int

    def read_mask(self) -> MaskArray:
        """The labels, int32 [H, W], of the image's own size.

        Raises:
            MaskError: it cannot be read, or has another size.
        """
        mask = self.mask.read()
        check_size(mask, self.height, self.width, of=f"{self.mask.of}, of image {self.image.name}")
        return mask


def open_masks(
    path: Path, scheme: LabelScheme, *, form: MaskForm | str | None = None
) -> list[SourceMask]:
    """Lists the masks of a source, by the names of their images.

    Args:
        path: a PNG; a folder of PNGs, one for each image (also in folders like those of the
            images), or one for each part (`IMAGE_part.png` or `IMAGE/part.png`); CVAT's folder
            with `SegmentationClass` and `labelmap.txt`; or a .json or .xml file.
        scheme: the parts, and how the files spell them.
        form: how the masks are written; None finds out.

    Raises:
        MaskError: no such file, none of these forms, or no mask in it.
    """
    form = None if form is None else MaskForm(form)
    if path.is_dir():
        found = _of_folder(path, scheme, form)
    elif path.suffix.lower() in (".json", ".xml"):
        drawings = _of_document(path, form)
        found = [SourceMask(one.image, one.of, partial(draw, one, scheme)) for one in drawings]
    else:
        found = [_of_picture(path, path.name, scheme, form)]
    if not found:
        raise MaskError(f"masks {path}: there is no mask in it")
    return sorted(found, key=lambda mask: mask.name)


def read_any_mask(
    path: Path, scheme: LabelScheme, *, form: MaskForm | str | None = None, image: str | None = None
) -> MaskArray:
    """Reads one mask of any form; int32 [H, W], indices of the scheme's parts.

    Args:
        path: as for `open_masks`.
        scheme: the parts, and how the files spell them.
        form: how the mask is written; None finds out.
        image: which image's; None where the source holds one mask only.

    Raises:
        MaskError: it cannot be read, says something that the scheme does not know (with the place
            of the pixel), or the source has no mask, or several, of that image.
    """
    return choose_mask(open_masks(path, scheme, form=form), image, of=f"masks {path}").read()


def choose_mask(masks: Sequence[SourceMask], image: str | None, *, of: str) -> SourceMask:
    """The mask of one image.

    Raises:
        MaskError: none, or several.
    """
    if image is None:
        if len(masks) > 1:
            shown = ", ".join(mask.name for mask in masks[:3])
            raise MaskError(f"{of}: {len(masks)} masks ({shown}...); say of which image")
        return masks[0]
    return _mask_of(image, _by_name(masks), of=of)


def masked_images(
    images: Path, masks: Path, scheme: LabelScheme, *, form: MaskForm | str | None = None
) -> list[MaskedImage]:
    """Pairs a folder of images with their masks, by name.

    A mask belongs to `a.jpg` when it is called `a.jpg`, `a.jpg.png` or `a.png`, in the same
    folder or wherever the name is the only one; leading zeros of numbers do not count.

    Args:
        images: the folder; pictures in folders within it are found too.
        masks: as for `open_masks`; masks of other images are left alone.
        scheme: the parts, and how the files spell them.
        form: how the masks are written; None finds out.

    Raises:
        MaskError: an image has no mask or two, one channel only, or cannot be read.
    """
    of = f"masks {masks}"
    by_name = _by_name(open_masks(masks, scheme, form=form))
    inside = masks.resolve() if masks.is_dir() else None
    found = []
    for path in sorted(images.rglob("*")):
        if path.suffix.lower() not in PICTURES or not path.is_file():
            continue
        if inside is not None and inside != images.resolve() and inside in path.resolve().parents:
            continue
        mask = _mask_of(path.relative_to(images).as_posix(), by_name, of=of)
        found.append(MaskedImage(path, mask, *_image_size(path)))
    if not found:
        raise MaskError(f"images {images}: there is no picture in it")
    used: dict[int, Path] = {}
    for pair in found:
        other = used.setdefault(id(pair.mask), pair.image)
        if other != pair.image:
            raise MaskError(
                f"{pair.mask.of}: it fits two images, {other.name} and {pair.image.name}"
            )
    return found


# --- names ---


def _keys(name: str) -> list[str]:
    """What a name may be found by, the most precise first."""
    path = PurePosixPath(name)
    bare = path.with_suffix("") if path.suffix.lower() in PICTURES else path
    number = bare.name.lstrip("0") or "0"
    keys = [f"= {path}", f"/ {bare}", f". {path.name}", f"- {bare.name}"]
    return [*keys, f"# {number}"] if bare.name.isdecimal() else keys


def _by_name(masks: Iterable[SourceMask]) -> dict[str, list[SourceMask]]:
    from editvec.registry.masks.forms.label_studio import original_name

    found: dict[str, list[SourceMask]] = defaultdict(list)
    for mask in masks:
        names = {mask.name, original_name(mask.name)}
        if PurePosixPath(mask.name).suffix.lower() == ".png":
            names.add(mask.name[: -len(".png")])  # a.jpg.png
        for key in {key for name in names for key in _keys(name)}:
            found[key].append(mask)
    return found


def _mask_of(image: str, masks: dict[str, list[SourceMask]], *, of: str) -> SourceMask:
    # one name may be a.png and a.jpg.png: of all that fit, the last two decide
    for key in _keys(image)[1:]:
        if len(found := masks.get(key, [])) == 1:
            return found[0]
        if found:
            first, second = found[0].of, found[1].of
            raise MaskError(f"{of}: two masks for image {image}: {first} and {second}")
    raise MaskError(f"{of}: image {image} has no mask")


def _image_size(path: Path) -> tuple[int, int]:
    """Height and width of an upright picture, by its header only."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if len(image.getbands()) == 1 and image.mode != "P":
                raise MaskError(
                    f"image {path}: one channel ({image.mode}); a generator sees colours: store it "
                    "as RGB if it is an image"
                )
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size
    except MaskError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise MaskError(f"image {path}: not a readable picture ({str(exc)[:100]})") from exc
    return (width, height) if turned else (height, width)


# --- sources ---


def _of_picture(path: Path, name: str, scheme: LabelScheme, form: MaskForm | None) -> SourceMask:
    of = f"mask {path}"
    if form is None:
        return SourceMask(name, of, partial(read_either, path, scheme))
    if form is MaskForm.INDEX:
        return SourceMask(name, of, partial(read_index, path, scheme))
    if form is MaskForm.COLORS:
        return SourceMask(name, of, partial(read_colors, path, scheme))
    raise MaskError(f"{of}: expected {_expected(form)}, got a picture")


def _of_folder(folder: Path, scheme: LabelScheme, form: MaskForm | None) -> list[SourceMask]:
    if (folder / _VOC_MASKS).is_dir() and (folder / _VOC_COLORS).is_file():
        colors = _voc_colors(folder / _VOC_COLORS, scheme)
        masks = folder / _VOC_MASKS
        return [
            SourceMask(_relative(path, masks), f"mask {path}", partial(_voc, path, scheme, colors))
            for path in _pngs(masks)
        ]
    documents = [path for path in folder.iterdir() if path.suffix.lower() in (".json", ".xml")]
    paths = _pngs(folder)
    if not paths and len(documents) == 1:
        return open_masks(documents[0], scheme, form=form)
    if form is MaskForm.PARTS or (form is None and paths and _part_of(paths[0], folder, scheme)):
        return _of_parts(paths, folder, scheme)
    return [_of_picture(path, _relative(path, folder), scheme, form) for path in paths]


def _of_document(path: Path, form: MaskForm | None) -> list[Drawing]:
    from editvec.registry.masks.forms.coco import is_coco, read_coco
    from editvec.registry.masks.forms.cvat import read_cvat
    from editvec.registry.masks.forms.label_studio import is_label_studio, read_label_studio

    of = f"annotations {path}"
    data = read_document(path)
    if path.suffix.lower() == ".xml":
        if form not in (None, MaskForm.CVAT):
            raise MaskError(f"{of}: expected {_expected(form)}, got XML")
        return read_cvat(data, of=of)
    content = parse_json(data, of=of)
    if form is MaskForm.COCO or (form is None and is_coco(content)):
        return read_coco(content, of=of)
    if form is MaskForm.LABEL_STUDIO or (form is None and is_label_studio(content)):
        return read_label_studio(content, of=of)
    expected = "COCO or Label Studio" if form is None else _expected(form)
    raise MaskError(f"{of}: expected {expected}, got JSON of another kind")


def _expected(form: MaskForm) -> str:
    return {
        MaskForm.INDEX: "a PNG of indices",
        MaskForm.COLORS: "a PNG of colours",
        MaskForm.PARTS: "a folder with one PNG for each part",
        MaskForm.COCO: "COCO's JSON",
        MaskForm.LABEL_STUDIO: "Label Studio's JSON",
        MaskForm.CVAT: "CVAT's XML",
    }[form]


def _pngs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png")


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


# --- one picture for each part ---


class _PartFile(NamedTuple):
    """A picture of one part: of which image, and the index of the part."""

    image: str
    label: int


def _part_of(path: Path, folder: Path, scheme: LabelScheme) -> _PartFile | None:
    """What the name of a part's picture says: `IMAGE/part.png` or `IMAGE_part.png`."""
    parent = PurePosixPath(_relative(path, folder)).parent
    known = scheme.index_of_name
    if parent != PurePosixPath() and (index := known.get(plain_name(path.stem))) is not None:
        return _PartFile(str(parent), index)
    # the longest name that ends the file's: l_eye before eye
    for place in range(1, len(path.stem)):
        if path.stem[place - 1] in _JOINTS and place > 1:
            index = known.get(plain_name(path.stem[place:]))
            if index is not None:
                return _PartFile(str(parent / path.stem[: place - 1]), index)
    return None


def _of_parts(paths: Sequence[Path], folder: Path, scheme: LabelScheme) -> list[SourceMask]:
    files: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in paths:
        said = _part_of(path, folder, scheme)
        if said is None:
            raise MaskError(
                f"mask {path}: its name ends with none of the parts of {scheme.title}: "
                f"{', '.join((*scheme.label_names, *scheme.all_groups))}"
            )
        files[said.image].append((said.label, path))
    return [
        SourceMask(name, f"part masks of {name}", partial(_draw_parts, sorted(parts), scheme))
        for name, parts in files.items()
    ]


def _draw_parts(parts: Sequence[tuple[int, Path]], scheme: LabelScheme) -> MaskArray:
    """Later parts of the scheme lie above earlier ones; int32 [H, W]."""
    mask: MaskArray | None = None
    for (index, path), before in zip(parts, [None, *parts], strict=False):
        of = f"mask {path}"
        if before is not None and before[0] == index:
            raise MaskError(f"{of}: the same part as {before[1].name}, of the same image")
        inside = read_part(path)
        if mask is None:
            mask = np.zeros(inside.shape, np.int32)
        check_size(inside.astype(np.int32), *mask.shape, of=of)
        mask[inside] = index
    assert mask is not None
    return split_parts(mask, scheme, of=f"part masks of {parts[0][1]}")


# --- CVAT's `Segmentation mask` ---


def _voc_colors(path: Path, scheme: LabelScheme) -> dict[Color, int]:
    """The colours of a labelmap.txt: lines of `name:red,green,blue:parts:actions`."""
    colors: dict[Color, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        of = f"colours {path}, line {number}"
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.partition(":")[0].split(","))
        except ValueError as exc:
            raise MaskError(f"{of}: expected name:red,green,blue::") from exc
        index = scheme.index_of_name.get(plain_name(name))
        if index is None:
            raise MaskError(f"{of}: {name!r} is none of the parts of {scheme.title}")
        colors[red, green, blue] = index
    return colors


def _voc(path: Path, scheme: LabelScheme, colors: dict[Color, int]) -> MaskArray:
    return read_colors(path, scheme, colors=colors)
