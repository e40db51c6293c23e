"""Reads part masks of any form: PNGs of indices or colours, and what annotation tools write.

A source is one PNG, a folder of them, or one file that speaks of many images. Each of its masks
has the name of an image, and is read when it is asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np

from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED, Color
from editvec.registry.labels.scheme import LabelScheme, plain_name
from editvec.registry.masks.annotations import MaskForm, find_drawings, pngs_in, relative_name
from editvec.registry.masks.forms.drawings import Drawing, draw
from editvec.registry.masks.forms.picture_sizes import PICTURES, upright_size
from editvec.registry.masks.forms.pictures import read_colors, read_either, read_index, read_part
from editvec.registry.masks.png import MaskArray, check_counted, check_size
from editvec.registry.masks.splits import split_parts

_VOC_MASKS, _VOC_COLORS = "SegmentationClass", "labelmap.txt"
_JOINTS = "_-. "


@dataclass(frozen=True)
class SourceMask:
    """One mask of a source.

    Attributes:
        name: of its image: a file name, with folders and suffix as far as the source knows them.
        of: what messages call it.
        read: gives its labels, int32 [H, W], `IGNORED` where nobody said one; raises MaskError.
        read_at: gives them for a height and a width, where the source does not say these.
        needs_picture: nothing but the picture says how large it is: `read` refuses.
        path: of the mask's own file, where it has one.
    """

    name: str
    of: str
    read: Callable[[], MaskArray]
    read_at: Callable[[int, int], MaskArray] | None = None
    needs_picture: bool = False
    path: Path | None = None


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
        if self.mask.read_at is not None:
            return self.mask.read_at(self.height, self.width)
        mask = self.mask.read()
        check_size(mask, self.height, self.width, of=f"{self.mask.of}, of image {self.image.name}")
        return mask


def open_masks(
    path: Path,
    scheme: LabelScheme,
    *,
    form: MaskForm | str | None = None,
    images: Path | None = None,
    skips_other_shapes: bool = False,
) -> list[SourceMask]:
    """Lists the masks of a source, by the names of their images.

    Args:
        path: a PNG; a folder of PNGs, one for each image (also in folders like those of the
            images), or one for each part (`IMAGE_part.png` or `IMAGE/part.png`); a folder of
            CVAT, LabelMe, YOLO, Roboflow or Label Studio; or a .json, .xml or .txt file.
        scheme: the parts, and how the files spell them.
        form: how the masks are written; None finds out.
        images: the pictures, or one of them: how large they are is read where the source does not
            say it.
        skips_other_shapes: points and lines that somebody drew are left out.

    Raises:
        MaskError: no such file, none of these forms, or no mask in it.
    """
    form = None if form is None else MaskForm(form)
    found: list[SourceMask]
    if (masks := _with_classes(path, scheme, form)) is not None:
        found = masks
    elif not _is_voc(path) and (drawings := find_drawings(path, form)) is not None:
        found = [
            _drawn(one, name, scheme, skips_other_shapes)
            for one, name in zip(drawings, _plain_names(drawings), strict=True)
        ]
    elif path.is_dir():
        found = _of_folder(path, scheme, form)
    else:
        found = [_of_picture(path, path.name, scheme, form)]
    if not found:
        raise MaskError(f"masks {path}: there is no mask in it")
    if images is not None:
        pictures = _pictures(images)
        found = [_sized(mask, images, pictures) for mask in found]
    return sorted(map(_counted, found), key=lambda mask: mask.name)


def read_any_mask(
    path: Path,
    scheme: LabelScheme,
    *,
    form: MaskForm | str | None = None,
    image: str | None = None,
    images: Path | None = None,
    skips_other_shapes: bool = False,
) -> MaskArray:
    """Reads one mask of any form; int32 [H, W], indices of the scheme's parts, or `IGNORED`.

    Args:
        path: as for `open_masks`.
        scheme: the parts, and how the files spell them.
        form: how the mask is written; None finds out.
        image: which image's; None where the source holds one mask only.
        images: as for `open_masks`.
        skips_other_shapes: as for `open_masks`.

    Raises:
        MaskError: it cannot be read, says something that the scheme does not know (with the place
            of the pixel), or the source has no mask, or several, of that image.
    """
    found = open_masks(
        path, scheme, form=form, images=images, skips_other_shapes=skips_other_shapes
    )
    return choose_mask(found, image, of=f"masks {path}").read()


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
    images: Path,
    masks: Path,
    scheme: LabelScheme,
    *,
    form: MaskForm | str | None = None,
    skips_other_shapes: bool = False,
) -> list[MaskedImage]:
    """Pairs a folder of images with their masks, by name.

    A mask belongs to `a.jpg` when it is called `a.jpg`, `a.jpg.png` or `a.png`, in the same
    folder or wherever the name is the only one; leading zeros of numbers do not count.

    Args:
        images: the folder; pictures in folders within it are found too.
        masks: as for `open_masks`; masks of other images are left alone.
        scheme: the parts, and how the files spell them.
        form: how the masks are written; None finds out.
        skips_other_shapes: as for `open_masks`.

    Raises:
        MaskError: an image has no mask or two, one channel only, or cannot be read.
    """
    of = f"masks {masks}"
    opened = open_masks(masks, scheme, form=form, skips_other_shapes=skips_other_shapes)
    by_name = _by_name(opened)
    own = {mask.path.resolve() for mask in opened if mask.path is not None}
    inside = masks.resolve() if masks.is_dir() else None
    found = []
    for path in sorted(images.rglob("*")):
        if path.suffix.lower() not in PICTURES or not path.is_file() or path.resolve() in own:
            continue
        if inside is not None and inside != images.resolve() and inside in path.resolve().parents:
            continue
        mask = _mask_of(path.relative_to(images).as_posix(), by_name, of=of)
        found.append(MaskedImage(path, mask, *upright_size(path, is_colored=True)))
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


def _plain_names(drawings: Sequence[Drawing]) -> list[str]:
    """The names of images; of a path of Windows the last component, where it is the only one."""
    windows = [PureWindowsPath(one.image) if "\\" in one.image else None for one in drawings]
    last = [
        one.image if path is None else path.name
        for one, path in zip(drawings, windows, strict=True)
    ]
    count = Counter(last)
    return [
        name if path is None or count[name] == 1 else path.relative_to(path.anchor).as_posix()
        for name, path in zip(last, windows, strict=True)
    ]


# --- sizes ---


def _pictures(images: Path) -> dict[str, list[Path]]:
    """The pictures of a folder by what they may be found by."""
    found: dict[str, list[Path]] = defaultdict(list)
    if images.is_dir():
        for path in sorted(images.rglob("*")):
            if path.suffix.lower() in PICTURES and path.is_file():
                for key in _keys(relative_name(path, images)):
                    found[key].append(path)
    return found


def _sized(mask: SourceMask, images: Path, pictures: dict[str, list[Path]]) -> SourceMask:
    """A mask that is as large as its picture, where only that says how large it is."""
    from editvec.registry.masks.forms.label_studio import original_name

    if mask.read_at is None:
        return mask
    keys = [*_keys(mask.name), *_keys(original_name(mask.name))]
    matches = (pictures[key] for key in keys if len(pictures.get(key, [])) == 1)
    picture = next((found[0] for found in matches), None)
    if not images.is_dir():
        picture = images
    if picture is None:
        return mask
    read = partial(mask.read_at, *upright_size(picture))
    return replace(mask, read=read, read_at=None, needs_picture=False)


def _counted(mask: SourceMask) -> SourceMask:
    """A mask that refuses to be read where every pixel is ignored."""

    def checked(labels: MaskArray) -> MaskArray:
        check_counted(labels, of=mask.of)
        return labels

    read, read_at = mask.read, mask.read_at
    return replace(
        mask,
        read=lambda: checked(read()),
        read_at=None if read_at is None else lambda *size: checked(read_at(*size)),
    )


# --- sources ---


def _of_picture(path: Path, name: str, scheme: LabelScheme, form: MaskForm | None) -> SourceMask:
    of = f"mask {path}"
    if form is None:
        return SourceMask(name, of, partial(read_either, path, scheme), path=path)
    if form is MaskForm.INDEX:
        return SourceMask(name, of, partial(read_index, path, scheme), path=path)
    if form is MaskForm.COLORS:
        return SourceMask(name, of, partial(read_colors, path, scheme), path=path)
    raise MaskError(f"{of}: expected {form.expected}, got a picture")


def _of_folder(folder: Path, scheme: LabelScheme, form: MaskForm | None) -> list[SourceMask]:
    if _is_voc(folder):
        colors = _voc_colors(folder / _VOC_COLORS, scheme)
        masks = folder / _VOC_MASKS
        return [
            SourceMask(
                relative_name(path, masks), f"mask {path}", partial(_voc, path, scheme, colors)
            )
            for path in pngs_in(masks)
        ]
    paths = pngs_in(folder)
    if form is MaskForm.PARTS or (form is None and paths and _part_of(paths[0], folder, scheme)):
        return _of_parts(paths, folder, scheme)
    return [_of_picture(path, relative_name(path, folder), scheme, form) for path in paths]


def _with_classes(
    path: Path, scheme: LabelScheme, form: MaskForm | None
) -> list[SourceMask] | None:
    """Pictures whose values or names a tool explains; None for something else."""
    from editvec.registry.masks.forms import label_studio_pngs as brushes
    from editvec.registry.masks.forms.roboflow import read_roboflow, roboflow_masks

    if form in (None, MaskForm.ROBOFLOW) and (found := roboflow_masks(path)):
        return [
            SourceMask(
                one.image,
                f"mask {one.path}",
                partial(read_roboflow, one, scheme),
                path=one.path,
            )
            for one in found
        ]
    paths = pngs_in(path) if path.is_dir() and form in (None, MaskForm.LABEL_STUDIO) else []
    if brushes.is_brush_export(paths):
        tasks = brushes.brushed_tasks(paths, path)
        controls = brushes.common_controls(tasks)
        return [
            SourceMask(one.image, one.of, partial(brushes.draw_brushes, one, scheme, controls))
            for one in tasks
        ]
    return None


def _drawn(
    drawing: Drawing, name: str, scheme: LabelScheme, skips_other_shapes: bool
) -> SourceMask:
    def read_at(height: int, width: int) -> MaskArray:
        return draw(drawing, scheme, size=(height, width), skips_other_shapes=skips_other_shapes)

    read = partial(draw, drawing, scheme, skips_other_shapes=skips_other_shapes)
    if drawing.says_size:
        return SourceMask(name, drawing.of, read)
    return SourceMask(name, drawing.of, read, read_at, needs_picture=drawing.height is None)


def _is_voc(folder: Path) -> bool:
    return (folder / _VOC_MASKS).is_dir() and (folder / _VOC_COLORS).is_file()


# --- one picture for each part ---


class _PartFile(NamedTuple):
    """A picture of one part: of which image, and the index of the part."""

    image: str
    label: int


def _part_of(path: Path, folder: Path, scheme: LabelScheme) -> _PartFile | None:
    """What the name of a part's picture says: `IMAGE/part.png` or `IMAGE_part.png`."""
    parent = PurePosixPath(relative_name(path, folder)).parent
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
        SourceMask(
            name, f"part masks of {name}", partial(_draw_parts, sorted(parts, key=_height), scheme)
        )
        for name, parts in files.items()
    ]


def _height(part: tuple[int, Path]) -> tuple[bool, int, Path]:
    """What lies above what: later parts above earlier ones, and what is ignored above all."""
    return part[0] == IGNORED, *part


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
