"""Pixels that count nowhere: how files say them, and how masks carry them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.cli import main
from editvec.engine import shapes
from editvec.registry.errors import BundleFormatError, MaskError, SchemeError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.labels.label import IGNORED, VOID_COLOR, Label
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.labels.spellings import parse_spellings, spellings_to_json
from editvec.registry.masks.export import convert_masks, draw_edit, draw_mask, encode_as, summarise
from editvec.registry.masks.operation_text import parse_edits
from editvec.registry.masks.operations import edit_mask
from editvec.registry.masks.png import MaskArray, check_labels, decode_mask, encode_mask
from editvec.registry.masks.sources import open_masks, read_any_mask
from tests.support.mask_drawings import write_png

PLAIN = parse_scheme('parts: [background, {name: a, color: "#ff0000"}, b]')


def test_both_floors_mean_the_same() -> None:
    assert IGNORED == shapes.IGNORED


def _mask() -> MaskArray:
    """Every part, and ignored pixels between and inside them."""
    mask = np.zeros((10, 14), np.int32)
    mask[2:5, 1:6] = 1
    mask[6:9, 7:12] = 2
    mask[3, 3] = mask[5, :8] = mask[8, 11] = IGNORED
    return mask


def _values(scheme: LabelScheme, void: int) -> np.ndarray:
    return np.array([*scheme.values, void], np.uint8)[_mask()]


# --- reading ---


@pytest.mark.parametrize(
    ("said", "void"),
    [
        ("", 255),
        ("ignore: 200", 200),
        ("ignore: {value: 9}", 9),
        ("ignore: {also: [7]}", 7),
        ("ignore: {also: [7]}", 255),
        ('ignore: {color: "#123456"}', 255),
    ],
)
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_value_counts_nowhere(tmp_path: Path, said: str, void: int, mode: str) -> None:
    scheme = parse_scheme(f"parts: [background, a, b]\n{said}")
    values = _values(scheme, void)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([level for value in range(256) for level in [value] * 3])
    if mode == "RGB":
        image = Image.fromarray(np.repeat(values[..., None], 3, axis=2))
    image.save(tmp_path / "a.png")

    assert (read_any_mask(tmp_path / "a.png", scheme) == _mask()).all()


def test_another_value_than_the_scheme_says_is_refused(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [background, a, b]\nignore: 200")
    path = write_png(tmp_path / "a.png", _values(scheme, 255))

    with pytest.raises(MaskError, match="value 255 at row 3, column 3 is none of the scheme"):
        read_any_mask(path, scheme)


@pytest.mark.parametrize(
    "parts",
    [
        "parts: [background, {name: a, value: 255}]",
        "parts: [background, {name: a, also: [255]}]",
        '{"0": "background", "255": "a"}',
    ],
)
def test_255_that_is_a_part_is_that_part(tmp_path: Path, parts: str) -> None:
    scheme = parse_scheme(parts)
    path = write_png(tmp_path / "a.png", np.where(_mask() > 0, 255, 0).astype(np.uint8))

    assert (read_any_mask(path, scheme) == (_mask() > 0)).all()


def test_scheme_of_256_parts_has_no_value_of_its_own() -> None:
    many = "parts: [" + ", ".join(f"p{number}" for number in range(256)) + "]"

    assert parse_scheme(many).ignored_spelling.values == ()
    assert parse_scheme(f"{many}\nignore: 300").ignored_spelling.values == (300,)
    with pytest.raises(SchemeError, match="line 2: the value 255 is that of p255 already, line 1"):
        parse_scheme(f"{many}\nignore: 255")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("ignore: 1", "line 2: the value 1 is that of a already, line 1"),
        ("ignore: many", "line 2: value: expected a number from 0 to 65535, got 'many'"),
        ("ignore: {colour: 3}", "line 2: expected one of value, color, also, got 'colour'"),
        ("ignore: {}", "line 2: `ignore`: expected one of value, color, also"),
        ('ignore: {color: "#ff0000"}', "line 2: the colour #ff0000 is that of a already, line 1"),
        ("ignore: {also: [a]}", "line 2: the name 'a' is that of a already, line 1"),
    ],
)
def test_ignore_that_is_a_part_is_refused(said: str, message: str) -> None:
    with pytest.raises(SchemeError, match=message):
        parse_scheme(f'parts: [background, {{name: a, color: "#ff0000"}}]\n{said}')


def test_void_colour_and_transparency_stay_apart(tmp_path: Path) -> None:
    colors = np.array([*(one.color for one in PLAIN.labels), VOID_COLOR], np.uint8)[_mask()]
    opaque = np.full((10, 14, 1), 255, np.uint8)
    opaque[0] = 0
    path = write_png(tmp_path / "a.png", np.concatenate([colors, opaque], axis=2))

    assert (read_any_mask(path, PLAIN) == _mask()).all()


def test_regions_and_pictures_called_void_count_nowhere(tmp_path: Path) -> None:
    box = {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "image_id": 1}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "Void"}],
        "annotations": [box | {"category_id": 1}, box | {"category_id": 2}],
    }
    content["annotations"][1]["segmentation"] = [[2, 0, 4, 0, 4, 4, 2, 4]]  # type: ignore[index]
    (tmp_path / "a.json").write_text(json.dumps(content))
    painted = np.zeros((6, 8), np.uint8)
    painted[:4, :4] = 255
    write_png(tmp_path / "parts" / "x" / "a.png", painted)
    painted[:, :2] = 0
    write_png(tmp_path / "parts" / "x" / "void.png", painted)

    expected = np.zeros((6, 8))
    expected[:4, :2], expected[:4, 2:4] = 1, IGNORED
    assert (read_any_mask(tmp_path / "a.json", PLAIN) == expected).all()
    assert (read_any_mask(tmp_path / "parts", PLAIN) == expected).all()


def test_part_called_void_is_that_part(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [background, a, void]")
    painted = np.full((6, 8), 255, np.uint8)
    painted[0] = 0
    write_png(tmp_path / "x" / "void.png", painted)

    assert set(read_any_mask(tmp_path, scheme).ravel().tolist()) == {0, 2}


def test_value_255_that_roboflow_does_not_list_counts_nowhere(tmp_path: Path) -> None:
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, a\n2, b\n")
    write_png(tmp_path / "x_mask.png", _values(PLAIN, 255))

    assert (read_any_mask(tmp_path, PLAIN) == _mask()).all()


def test_nothing_but_ignored_pixels_is_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.full((6, 8), 255, np.uint8))

    with pytest.raises(MaskError, match=r"a\.png: every pixel is ignored"):
        read_any_mask(path, PLAIN)


def test_black_and_white_is_no_guess(tmp_path: Path) -> None:
    """A picture of one part, in white, is not read as background and void."""
    grey = write_png(tmp_path / "a.png", np.where(_mask() > 0, 255, 0).astype(np.uint8))
    white = parse_scheme('parts: [background, {name: a, color: "#ffffff"}]')
    rgb = write_png(
        tmp_path / "b.png", np.where(_mask()[..., None] > 0, [255] * 3, [0] * 3).astype(np.uint8)
    )

    with pytest.raises(MaskError, match="say `value: 255` for the part, or `ignore: 255`"):
        read_any_mask(grey, PLAIN)
    assert (read_any_mask(rgb, white) == (_mask() > 0)).all()
    said = parse_scheme("parts: [background, a]\nignore: 255")
    assert (read_any_mask(grey, said) == np.where(_mask() > 0, IGNORED, 0)).all()


def test_palette_that_colours_255_like_a_part_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(_values(PLAIN, 255))
    colors = [*(list(one.color) for one in PLAIN.labels), *[[0] * 3] * 252, [255, 0, 0]]
    image.putpalette([level for color in colors for level in color])
    image.save(tmp_path / "a.png")

    with pytest.raises(MaskError, match="value 255 means ignored, but its palette colours it like"):
        read_any_mask(tmp_path / "a.png", PLAIN)


# --- writing ---


@pytest.mark.parametrize(
    "said",
    [
        "parts: [background, a, b]",
        "parts: [background, a, b]\nignore: 77",
        "parts: [background, a, b]\nignore: 3000",
        "parts: [background, {name: a, value: 20}, {name: b, value: 255}]\nignore: 254",
        'parts: [background, {name: a, color: "#e0e0c0"}, b]\nignore: {color: "#e0e0c1"}',
        "parts: [background, {name: a, also: [x]}, void]\nignore: {value: 8, also: [nothing]}",
    ],
)
@pytest.mark.parametrize("form", ["palette", "index", "colors", "parts"])
def test_what_is_written_is_read_again(tmp_path: Path, said: str, form: str) -> None:
    scheme = parse_scheme(said)
    if form != "parts":
        (tmp_path / "x.png").write_bytes(encode_as(_mask(), scheme, form))
        assert (read_any_mask(tmp_path / "x.png", scheme) == _mask()).all()
    (tmp_path / "in.png").write_bytes(encode_as(_mask(), scheme, "index"))
    masks = open_masks(tmp_path / "in.png", scheme)
    convert_masks(masks, scheme, tmp_path / "out", form=form, is_folder=True)

    assert (read_any_mask(tmp_path / "out", scheme) == _mask()).all()


@pytest.mark.parametrize(
    ("parts", "form", "message"),
    [
        ("[background, {name: a, value: 255}, b]", "index", "no value for them"),
        ('[background, {name: a, color: "#e0e0c0"}, b]', "colors", "no colour for them"),
    ],
)
def test_ignored_pixels_that_a_form_cannot_hold_are_refused(
    parts: str, form: str, message: str
) -> None:
    with pytest.raises(MaskError, match=message):
        encode_as(_mask(), parse_scheme(f"parts: {parts}"), form)


@pytest.mark.parametrize("count", [3, 255, 256, 300])
def test_stored_masks_keep_ignored_pixels(count: int) -> None:
    labels = [Label(number, f"p{number}", (number % 256, 9, 9)) for number in range(count)]
    mask = _mask()
    mask[0, 0] = count - 1

    assert (decode_mask(encode_mask(mask, labels), labels) == mask).all()
    assert (encode_mask(np.abs(mask), labels) == encode_mask(np.abs(mask), labels)) is True


def test_labels_below_ignored_are_refused() -> None:
    with pytest.raises(MaskError, match="label -2 at row 0, column 1"):
        check_labels(np.array([[0, -2, IGNORED]]), PLAIN.labels)


def test_bundle_keeps_what_is_ignored() -> None:
    scheme = parse_scheme("parts: [background, a]\nignore: {value: 9, also: [nothing]}")
    said = json.loads(json.dumps(spellings_to_json(scheme)))

    read = parse_spellings(said, scheme.label_names, of="bundle")

    assert read.ignored == scheme.ignored is not None
    said["ignore"]["values"] = [1]
    with pytest.raises(BundleFormatError, match="1 means a and `ignore`"):
        parse_spellings(said, scheme.label_names, of="bundle")


# --- drawing, counting, editing ---


def test_shares_are_of_the_pixels_that_count() -> None:
    found = {one.part: (one.pixels, one.share) for one in summarise(_mask(), PLAIN)}

    counted = int((_mask() != IGNORED).sum())
    assert sum(pixels for pixels, _ in found.values()) == counted
    assert found["a"] == (14, 14 / counted)


def test_pictures_show_ignored_pixels_in_a_colour_of_their_own() -> None:
    drawn = draw_mask(_mask(), PLAIN, image=None, title="x")
    edited = draw_edit(_mask(), _mask(), PLAIN, image=None, title="x", subtitle="")

    for data in (drawn, edited):
        assert data.startswith(b"\x89PNG")


def test_operations_leave_no_ignored_pixels_behind() -> None:
    def edit(text: str) -> MaskArray:
        return edit_mask(_mask(), parse_edits(text), PLAIN, read_other=lambda path: _mask())

    for text in ("a: remove", "a: shift 1,0", "a: shrink 1", "a: scale 0.5"):
        was = _mask() == IGNORED
        assert not ((edit(text) == IGNORED) & ~was).any()
    removed = edit("a: remove")
    assert ((removed == IGNORED) == (_mask() == IGNORED)).all()
    assert (removed[2:5, 1:6][_mask()[2:5, 1:6] == 1] == 0).all()


def test_show_tells_and_edit_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("parts: [background, a, b]\n")
    write_png(Path("m.png"), _values(PLAIN, 255))

    def run(*words: str) -> str:
        assert main(["mask", *words]) == 0
        told = capsys.readouterr()
        return told.out + told.err

    scheme = ("--scheme", "s.yaml")
    assert "m.png: 10 of 140 pixels are ignored" in run("show", "m.png", *scheme)
    run("edit", "m.png", *scheme, "--part", "b", "--remove", "-o", "o.png")
    written = np.asarray(Image.open("o.png"))
    assert ((written == 255) == (_mask() == IGNORED)).all()
    assert "void, #e0e0c0, 255" in run("scheme", "s.yaml")
