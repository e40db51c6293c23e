"""What is in a mask, counted by hand, and the files that masks are converted to."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.outputs import OutputError
from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.export import (
    PartSummary,
    assume_size,
    convert_masks,
    draw_mask,
    encode_as,
    summarise,
    summarise_all,
)
from editvec.registry.masks.png import MaskArray
from editvec.registry.masks.sources import SourceMask, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask


def _mask(name: str, labels: MaskArray | None = None) -> SourceMask:
    found = drawn_mask() if labels is None else labels
    return SourceMask(name, f"mask {name}", lambda: found)


def test_parts_are_counted_with_their_pieces_and_boxes() -> None:
    mask = drawn_mask()
    mask[0, 19] = mask[11, 0] = 2  # in corners
    mask[1, 18] = 2  # it touches one of them

    found = summarise(mask, SCHEME)

    assert found == [
        PartSummary("background", 240 - 162 - 3, 75 / 240, 1, (0, 0, 20, 12)),
        PartSummary("body", 162 - 24, 138 / 240, 1, (1, 2, 18, 9)),
        PartSummary("eye_left", 15, 15 / 240, 3, (0, 0, 20, 12)),
        PartSummary("eye_right", 12, 12 / 240, 1, (12, 4, 4, 3)),
    ]
    assert [one.part for one in summarise(np.zeros((1, 1), np.int32), SCHEME)] == ["background"]


def test_two_masks_of_one_image_are_refused_by_name() -> None:
    assert list(summarise_all([_mask("b"), _mask("a")], SCHEME)) == ["b", "a"]
    with pytest.raises(MaskError, match="mask a: a second mask for a, after mask a"):
        summarise_all([_mask("a"), _mask("a")], SCHEME)


def test_only_masks_without_a_size_are_counted_as_of_one() -> None:
    def refuse() -> MaskArray:
        raise AssertionError

    def read_at(height: int, width: int) -> MaskArray:
        return np.zeros((height, width), np.int32)

    unsized = SourceMask("a", "a", refuse, read_at, needs_picture=True)
    sized = SourceMask("a", "a", partial(read_at, 2, 3), read_at)

    assert assume_size(unsized).read().shape == (1000, 1000)
    assert not assume_size(unsized).needs_picture
    assert assume_size(sized) is sized
    assert assume_size(SourceMask("a", "a", refuse)).read is refuse


@pytest.mark.parametrize(("last", "mode", "palette"), [(255, "P", True), (256, "I;16", False)])
def test_values_over_255_take_16_bits(tmp_path: Path, last: int, mode: str, palette: bool) -> None:
    scheme = parse_scheme(f"parts: [background, {{name: body, value: {last}, color: '#0a0b0c'}}]")
    mask = (drawn_mask() > 0).astype(np.int32)

    for form in ("palette", "index"):
        path = tmp_path / f"{form}.png"
        path.write_bytes(encode_as(mask, scheme, form))
        with Image.open(path) as image:
            is_palette = palette and form == "palette"
            assert image.mode == (mode if is_palette or not palette else "L")
            assert (np.asarray(image) == mask * last).all()
            if is_palette:
                assert image.convert("RGB").getpixel((5, 5)) == (10, 11, 12)
                assert len(image.getpalette() or []) == 3 * 256
        assert (read_any_mask(path, scheme) == mask).all()


@pytest.mark.parametrize("form", ["palette", "index", "colors"])
def test_several_masks_become_files_of_a_folder(tmp_path: Path, form: str) -> None:
    masks = [_mask("x/a.jpg"), _mask("/b.png"), _mask("c.d")]

    written = convert_masks(masks, SCHEME, tmp_path / "out", form=form, is_folder=True)

    names = [path.relative_to(tmp_path).as_posix() for path in written]
    assert names == ["out/x/a.png", "out/b.png", "out/c.d.png"]
    for path in written:
        assert (read_any_mask(path, SCHEME) == drawn_mask()).all()
    before = written[0].read_bytes()
    written[0].write_bytes(before + b"more")
    with pytest.raises(OutputError, match="editvec did not write it or it was changed since"):
        convert_masks(masks[:1], SCHEME, tmp_path / "out", form="index", is_folder=True)
    assert written[0].read_bytes() == before + b"more"
    (one,) = convert_masks(masks[:1], SCHEME, tmp_path / "a.png", form=form, is_folder=False)
    assert one == tmp_path / "a.png"


def test_parts_become_a_picture_each(tmp_path: Path) -> None:
    labels = np.where(drawn_mask() == 3, 1, drawn_mask())

    written = convert_masks(
        [_mask("x/a.jpg", labels)], SCHEME, tmp_path / "out", form="parts", is_folder=False
    )

    folder = tmp_path / "out" / "x" / "a"
    assert written == [folder / f"{name}.png" for name in ("background", "body", "eye_left")]
    for index, path in enumerate(written):
        with Image.open(path) as image:
            assert image.mode == "L"
            assert (np.asarray(image) == 255 * (labels == index)).all()


@pytest.mark.parametrize(
    "name", ["../a.png", "x/../a.png", "", "/", "a\nb.png", "a\u2028.png", "a\u202eb", "a\ud800"]
)
def test_names_that_are_none_for_a_file_are_refused(tmp_path: Path, name: str) -> None:
    masks = [_mask("fine.png"), _mask(name)]

    with pytest.raises(MaskError) as caught:
        convert_masks(masks, SCHEME, tmp_path / "out", form="index", is_folder=True)

    assert "\n" not in str(caught.value).removeprefix(f"mask {name}")
    assert not (tmp_path / "out").exists()  # names are looked at before anything is written


def test_a_picture_of_a_mask_shows_it_beside_its_image(tmp_path: Path) -> None:
    Image.new("RGB", (20, 12), (9, 99, 200)).save(tmp_path / "a.png")
    (tmp_path / "mask.png").write_bytes(
        draw_mask(drawn_mask(), SCHEME, image=tmp_path / "a.png", title="t")
    )
    Image.new("RGB", (12, 20)).save(tmp_path / "b.png")

    with Image.open(tmp_path / "mask.png") as image:
        sheet = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colors = {tuple(color) for color in np.unique(sheet, axis=0).tolist()}
    assert {(9, 99, 200), (255, 0, 0), (0, 255, 0), (0, 0, 255)} <= colors
    with pytest.raises(MaskError, match="mask: expected 12 x 20 pixels, got 20 x 12"):
        draw_mask(drawn_mask(), SCHEME, image=tmp_path / "b.png", title="t")
