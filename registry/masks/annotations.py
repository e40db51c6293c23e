"""Which form masks are written in, and the text files of annotation tools, one or a folder."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.documents import parse_json, read_document
from editvec.registry.masks.forms.drawings import Drawing


class MaskForm(StrEnum):
    """How masks are written."""

    INDEX = "index"
    COLORS = "colors"
    PARTS = "parts"
    COCO = "coco"
    LABEL_STUDIO = "label-studio"
    CVAT = "cvat"
    LABELME = "labelme"
    YOLO = "yolo"
    ROBOFLOW = "roboflow"

    @property
    def expected(self) -> str:
        """What messages call files of this form."""
        return _EXPECTED[self]


_EXPECTED = {
    MaskForm.INDEX: "a PNG of indices",
    MaskForm.COLORS: "a PNG of colours",
    MaskForm.PARTS: "a folder with one PNG for each part",
    MaskForm.COCO: "COCO's JSON",
    MaskForm.LABEL_STUDIO: "Label Studio's JSON",
    MaskForm.CVAT: "CVAT's XML",
    MaskForm.LABELME: "LabelMe's JSON",
    MaskForm.YOLO: "YOLO's text files and the names of their classes",
    MaskForm.ROBOFLOW: "Roboflow's `_mask.png` files and _classes.csv",
}
_IMAGES = "images"
_DRAWN = (MaskForm.COCO, MaskForm.LABEL_STUDIO, MaskForm.CVAT, MaskForm.LABELME, MaskForm.YOLO)


def find_drawings(path: Path, form: MaskForm | None) -> list[Drawing] | None:
    """What the text files of a tool say, one or a folder of them; None for pictures.

    Args:
        path: a file or a folder.
        form: how the masks are written; None finds out.

    Raises:
        MaskError: they cannot be read, are of another form, or of none that is known.
    """
    from editvec.registry.masks.forms.labelme import read_labelme_folder
    from editvec.registry.masks.forms.yolo import is_yolo, label_files, read_yolo

    if not path.is_dir():
        if path.suffix.lower() in (".json", ".xml"):
            return _of_document(path, form)
        if path.suffix.lower() == ".txt" and form in (None, MaskForm.YOLO):
            return read_yolo([path], path.parent)
        return None
    if form in (None, MaskForm.LABELME) and (drawings := read_labelme_folder(path)):
        _check_photographs(path, [Path(one.image).name for one in drawings], form)
        return drawings
    if form in (None, MaskForm.YOLO):
        files = label_files(path)
        if files and (form is not None or any(is_yolo(file) for file in files)):
            photographs = [one.name for one in pngs_in(path) if _IMAGES in one.parts]
            _check_photographs(path, [*photographs, *(f"{one.stem}.png" for one in files)], form)
            return read_yolo(files, path)
    documents = [one for one in path.iterdir() if one.suffix.lower() in (".json", ".xml")]
    if len(documents) == 1 and (form in _DRAWN or not pngs_in(path)):
        return _of_document(documents[0], form)
    if form in _DRAWN:
        raise MaskError(f"masks {path}: expected {form.expected}, got a folder of other files")
    return None


def pngs_in(folder: Path) -> list[Path]:
    """The PNGs of a folder, and of those within it."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png")


def relative_name(path: Path, folder: Path) -> str:
    """The path of a file below a folder, as masks are called by it."""
    return path.relative_to(folder).as_posix()


def _of_document(path: Path, form: MaskForm | None) -> list[Drawing]:
    from editvec.registry.masks.forms.coco import is_coco, read_coco
    from editvec.registry.masks.forms.cvat import read_cvat
    from editvec.registry.masks.forms.label_studio import is_label_studio, read_label_studio
    from editvec.registry.masks.forms.labelme import is_labelme, read_labelme

    of = f"annotations {path}"
    data = read_document(path)
    if path.suffix.lower() == ".xml":
        if form not in (None, MaskForm.CVAT):
            raise MaskError(f"{of}: expected {form.expected}, got XML")
        return read_cvat(data, of=of)
    content = parse_json(data, of=of)
    if form is MaskForm.COCO or (form is None and is_coco(content)):
        return read_coco(content, of=of)
    if form is MaskForm.LABEL_STUDIO or (form is None and is_label_studio(content)):
        return read_label_studio(content, of=of)
    if form is MaskForm.LABELME or (form is None and is_labelme(content)):
        return [read_labelme(content, of=of)]
    expected = "COCO, Label Studio or LabelMe" if form is None else form.expected
    raise MaskError(f"{of}: expected {expected}, got JSON of another kind")


def _check_photographs(folder: Path, names: Iterable[str], form: MaskForm | None) -> None:
    """Refuses PNGs beside what a tool drew, where they may be masks as well."""
    known = {name.casefold() for name in names}
    for path in pngs_in(folder):
        if form is None and path.name.casefold() not in known:
            raise MaskError(
                f"masks {folder}: there are files of an annotation tool and PNGs that it does not "
                f"speak of, such as {relative_name(path, folder)}; say which are meant (--form)"
            )
