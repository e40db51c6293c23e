"""Masks in every form that annotation tools write become the same labels."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.png import encode_mask
from editvec.registry.masks.sources import MaskForm, masked_images, open_masks, read_any_mask
from tests.support.mask_drawings import (
    COLORS,
    SCHEME,
    drawn_mask,
    label_studio_task,
    unsplit_mask,
    write_png,
)

# --- pictures ---


def test_index_png_holds_the_values_of_the_scheme(tmp_path: Path) -> None:
    values = np.array([0, 1, 50, 60, 70], np.uint8)
    whole = write_png(tmp_path / "a.png", values[drawn_mask()])
    unsplit = write_png(tmp_path / "b.png", values[unsplit_mask()])

    assert (read_any_mask(whole, SCHEME) == drawn_mask()).all()
    assert (read_any_mask(unsplit, SCHEME) == drawn_mask()).all()


def test_colours_are_read_from_rgb_rgba_and_palettes(tmp_path: Path) -> None:
    rgb = COLORS[drawn_mask()]
    alpha = np.where(drawn_mask() > 0, 255, 0).astype(np.uint8)[..., None]
    split = np.where((unsplit_mask() == 4)[..., None], np.uint8([255, 255, 0]), rgb)
    paths = [
        write_png(tmp_path / "rgb.png", rgb),
        write_png(tmp_path / "rgba.png", np.concatenate([rgb, alpha], axis=2)),
        write_png(tmp_path / "split.png", split),
    ]
    # a program that orders the palette as it likes
    Image.fromarray(rgb).quantize(8).save(tmp_path / "palette.png")

    for path in paths:
        assert (read_any_mask(path, SCHEME) == drawn_mask()).all()
    read = read_any_mask(tmp_path / "palette.png", SCHEME, form="colors")
    assert (read == drawn_mask()).all()


def test_palette_that_contradicts_its_values_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray((drawn_mask() % 2).astype(np.uint8), "L")
    image.putpalette([255, 0, 0, 0, 0, 0])
    image.save(tmp_path / "a.png")

    with pytest.raises(MaskError, match="means background, but its palette colours it like body"):
        read_any_mask(tmp_path / "a.png", SCHEME)
    read = read_any_mask(tmp_path / "a.png", SCHEME, form=MaskForm.COLORS)
    assert (read == 1 - drawn_mask() % 2).all()


def test_masks_of_ours_are_read_back(tmp_path: Path) -> None:
    plain = parse_scheme("parts: [background, body, a, b]")
    (tmp_path / "a.png").write_bytes(encode_mask(drawn_mask(), plain.labels))

    assert (read_any_mask(tmp_path / "a.png", plain) == drawn_mask()).all()


def test_one_picture_for_each_part(tmp_path: Path) -> None:
    for image in ("one", "two"):
        for name, index in (("body", 1), ("eye", 4)):
            inside = ((unsplit_mask() == index) * 255).astype(np.uint8)
            write_png(tmp_path / "folders" / image / f"{name}.png", inside)
            write_png(tmp_path / "flat" / f"{image}_{name}.png", np.repeat(inside[..., None], 3, 2))

    for layout in ("folders", "flat"):
        found = open_masks(tmp_path / layout, SCHEME)
        assert [mask.name for mask in found] == ["one", "two"]
        assert (found[1].read() == drawn_mask()).all()
        assert (read_any_mask(tmp_path / layout, SCHEME, image="one") == drawn_mask()).all()


def test_parts_that_overlap_lie_as_the_scheme_orders_them(tmp_path: Path) -> None:
    write_png(tmp_path / "x_eye-left.png", ((drawn_mask() == 2) * 255).astype(np.uint8))
    write_png(tmp_path / "x_body.png", ((drawn_mask() > 0) * 255).astype(np.uint8))

    assert (read_any_mask(tmp_path, SCHEME) == np.where(drawn_mask() == 3, 1, drawn_mask())).all()


def test_segmentation_mask_export_of_cvat(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nbody:9,9,9::\neye:1,2,3::\n"
    )
    colors = np.array([[0, 0, 0], [9, 9, 9], [0, 0, 0], [0, 0, 0], [1, 2, 3]], np.uint8)
    write_png(tmp_path / "SegmentationClass" / "a.png", colors[unsplit_mask()])

    assert (read_any_mask(tmp_path, SCHEME) == drawn_mask()).all()


@pytest.mark.parametrize(
    ("pixel", "form", "message"),
    [
        (np.uint8(9), None, "value 9 at row 3, column 4 is none of the scheme .*; 1 such pixels"),
        (np.uint8([1, 2, 3]), None, "colour #010203 at row 3, column 4 is that of no part"),
        (np.uint8([255, 0, 0, 9]), None, "row 3, column 4 is half transparent"),
        (np.uint8(1), "colors", "colour #010101 at row 3"),
        (np.uint8([255, 0, 0]), "index", "holds colours, not values"),
    ],
)
def test_unknown_pixel_is_refused_with_its_place(
    tmp_path: Path, pixel: npt.NDArray[np.uint8], form: str | None, message: str
) -> None:
    pixels = np.zeros((8, 8, *pixel.shape), np.uint8)
    pixels[3, 4] = pixel

    with pytest.raises(MaskError, match=message):
        read_any_mask(write_png(tmp_path / "a.png", pixels), SCHEME, form=form)


def test_soft_edge_and_strange_name_of_a_part_are_refused(tmp_path: Path) -> None:
    soft = np.zeros((8, 8), np.uint8)
    soft[2, 2:4] = (17, 255)
    write_png(tmp_path / "a_body.png", soft)

    with pytest.raises(MaskError, match="value 17 at row 2, column 2 is neither 0 nor 255"):
        read_any_mask(tmp_path, SCHEME)
    write_png(tmp_path / "a_wing.png", soft)
    with pytest.raises(MaskError, match="its name ends with none of the parts"):
        open_masks(tmp_path, SCHEME, form="parts")


def test_jpeg_and_broken_files_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    (tmp_path / "a.json").write_text("[")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "a.xml").write_text("<a")
    for name, message in (
        ("a.jpg", "JPEG changes colours"),
        ("a.png", "not a readable PNG"),
        ("a.json", "not JSON"),
        ("b.json", "expected COCO, Label Studio or LabelMe"),
        ("a.xml", "not XML"),
        ("c.png", "No such file"),
    ):
        with pytest.raises(MaskError, match=message):
            read_any_mask(tmp_path / name, SCHEME)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("body:9,9", "line 3: expected name:red,green,blue::"),
        ("body:9,9,x::", "line 3: expected name:red,green,blue::"),
        ("wing:9,9,9::", "line 3: 'wing' is none of the parts of the scheme"),
    ],
)
def test_colours_of_an_export_that_mean_nothing_are_refused(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "labelmap.txt").write_text(f"# label:color_rgb\n\n{line}\n")
    write_png(tmp_path / "SegmentationClass" / "a.png", np.zeros((2, 2, 3), np.uint8))

    with pytest.raises(MaskError, match=message):
        open_masks(tmp_path, SCHEME)


def test_pictures_of_parts_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    body = ((drawn_mask() > 0) * 255).astype(np.uint8)
    write_png(tmp_path / "x_body.png", body)
    write_png(tmp_path / "x_Eye Left.png", body[:6])

    with pytest.raises(MaskError, match=r"x_Eye Left\.png: expected 20 x 12 pixels, got 20 x 6"):
        read_any_mask(tmp_path, SCHEME)
    write_png(tmp_path / "x_Eye Left.png", body)
    write_png(tmp_path / "x_eye_left.png", body)
    with pytest.raises(MaskError, match=r"the same part as x_Eye Left.png, of the same image"):
        read_any_mask(tmp_path, SCHEME)


def test_the_longest_name_of_a_part_that_ends_the_file_s_counts(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [background, eye, left_eye]")
    for name in ("a_left_eye", "b-left-eye", "c.eye", "left_eye"):
        write_png(tmp_path / f"{name}.png", np.full((1, 2), 255, np.uint8))

    found = {mask.name: mask.read().tolist() for mask in open_masks(tmp_path, scheme, form="parts")}

    # a name that is all of the file's leaves none for the image: the shorter one counts
    assert found == {"a": [[2, 2]], "b": [[2, 2]], "c": [[1, 1]], "left": [[1, 1]]}


@pytest.mark.parametrize("form", ["coco", "cvat", "labelme", "label-studio", "yolo"])
def test_pictures_are_of_no_form_that_is_drawn(tmp_path: Path, form: str) -> None:
    write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))

    with pytest.raises(MaskError, match=r"mask .*a\.png: expected .*, got a picture"):
        open_masks(tmp_path / "a.png", SCHEME, form=form)
    with pytest.raises(MaskError, match=r"got a folder of other files|there is no mask in it"):
        open_masks(tmp_path, SCHEME, form=form)


# --- images and their masks ---


def _image(path: Path, size: tuple[int, int] = (20, 12), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def _masks(folder: Path, *names: str) -> Path:
    values = np.array([0, 1, 50, 60], np.uint8)
    for name in names:
        write_png(folder / name, values[drawn_mask()])
    return folder


def test_images_find_their_masks_by_name(tmp_path: Path) -> None:
    for name in ("a.jpg", "in/b.png", "c.jpg", "7.jpg"):
        _image(tmp_path / "images" / name)
    masks = _masks(tmp_path / "masks", "a.png", "in/b.png", "c.jpg.png", "00007.png", "other.png")

    pairs = masked_images(tmp_path / "images", masks, SCHEME)

    assert [pair.image.name for pair in pairs] == ["7.jpg", "a.jpg", "c.jpg", "b.png"]
    assert [pair.mask.name for pair in pairs] == ["00007.png", "a.png", "c.jpg.png", "in/b.png"]
    assert all((pair.read_mask() == drawn_mask()).all() for pair in pairs)


def test_images_find_their_masks_in_one_file(tmp_path: Path) -> None:
    _image(tmp_path / "a.jpg")
    (tmp_path / "tasks.json").write_text(
        json.dumps([label_studio_task(), label_studio_task(image="s3://b/other.png")])
    )

    pairs = masked_images(tmp_path, tmp_path / "tasks.json", SCHEME)

    assert [pair.mask.name for pair in pairs] == ["/data/upload/1/0a1b2c3d-a.jpg"]
    assert (pairs[0].read_mask() == drawn_mask()).all()


def test_what_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", _masks(tmp_path / "masks", "a.png")
    _image(images / "a.jpg", (21, 12))

    with pytest.raises(MaskError, match=r"a.png, of image a.jpg: expected 21 x 12 .* got 20 x 12"):
        masked_images(images, masks, SCHEME)[0].read_mask()
    _image(images / "a.jpg", mode="L")
    with pytest.raises(MaskError, match=r"image .*a.jpg: one channel \(L\)"):
        masked_images(images, masks, SCHEME)
    _image(images / "a.jpg")
    _masks(masks, "a.jpg.png")
    with pytest.raises(MaskError, match=r"two masks for image a.jpg: mask .* and mask "):
        masked_images(images, masks, SCHEME)
    (masks / "a.jpg.png").unlink()
    _image(images / "b.jpg")
    with pytest.raises(MaskError, match=r"image b.jpg has no mask"):
        masked_images(images, masks, SCHEME)
    (images / "b.jpg").rename(images / "a.png")
    with pytest.raises(MaskError, match=r"it fits two images, a.jpg and a.png"):
        masked_images(images, masks, SCHEME)
    (images / "a.png").write_bytes(b"x")
    with pytest.raises(MaskError, match="not a readable picture"):
        masked_images(images, masks, SCHEME)
    (tmp_path / "none").mkdir()
    with pytest.raises(MaskError, match="no picture in it"):
        masked_images(tmp_path / "none", masks, SCHEME)
    _masks(masks, "z.png")
    with pytest.raises(MaskError, match=r"2 masks .*say of which image"):
        read_any_mask(masks, SCHEME)


def test_turned_photographs_have_the_size_that_people_see(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (12, 20)).save(tmp_path / "images" / "a.jpg", exif=exif)

    pair = masked_images(tmp_path / "images", _masks(tmp_path / "masks", "a.png"), SCHEME)[0]

    assert pair.read_mask().shape == (12, 20)
