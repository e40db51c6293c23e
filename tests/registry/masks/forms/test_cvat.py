"""Masks in exports of CVAT."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.run_lengths import decode_cvat
from editvec.registry.masks.sources import open_masks, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask

_CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id></task></meta>
<image id="0" name="x/a.jpg" width="20" height="12">
  <box label="eye" xtl="12" ytl="4" xbr="16" ybr="7" z_order="2" rotation="180"/>
  <mask label="eye" rle="0, 4, 1, 4, 1, 4, 1" left="3" top="4" width="5" height="3" z_order="1"/>
  <polygon label="body" points="1.0,2.0;19,2;19,11;1,11" z_order="0"><attribute name="a"/></polygon>
  <tag label="good"/>
</image>
<image id="1" name="b.jpg" width="20" height="12"></image>
</annotations>"""


def test_cvat_by_z_order(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(_CVAT)

    assert (read_any_mask(tmp_path / "a.xml", SCHEME, image="x/a.jpg") == drawn_mask()).all()


def test_image_without_shapes_is_background(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        _CVAT.replace("</image>\n</ann", '<tag label="t"/></image></ann')
    )

    assert (read_any_mask(tmp_path / "a.xml", SCHEME, image="b.jpg") == np.zeros((12, 20))).all()


def test_points_and_lines_are_of_their_image_only_and_can_be_left_out(tmp_path: Path) -> None:
    shapes = "".join(
        f'<{kind} label="anything" points="3,3;4,4" z_order="9"/>'
        for kind in ("points", "polyline", "skeleton", "cuboid")
    )
    (tmp_path / "a.xml").write_text(
        _CVAT.replace('height="12"></image>', f'height="12">{shapes}</image>')
    )
    (tmp_path / "b.xml").write_text(_CVAT.replace("  <tag", f"{shapes}<tag"))

    assert (read_any_mask(tmp_path / "a.xml", SCHEME, image="a.jpg") == drawn_mask()).all()
    with pytest.raises(MaskError, match=r"image 'b.jpg': points 'anything': it covers no pixels"):
        read_any_mask(tmp_path / "a.xml", SCHEME, image="b.jpg")
    read = read_any_mask(tmp_path / "b.xml", SCHEME, image="a.jpg", skips_other_shapes=True)
    assert (read == drawn_mask()).all()


def test_images_of_subsets_are_listed_by_both_names(tmp_path: Path) -> None:
    text = _CVAT.replace('name="x/a.jpg"', 'name="a.jpg" subset="train"')
    text = text.replace('name="b.jpg"', 'name="a.jpg" subset="val"')
    (tmp_path / "a.xml").write_text(text)

    found = open_masks(tmp_path / "a.xml", SCHEME)

    assert [mask.name for mask in found] == ["train/a.jpg", "val/a.jpg"]
    assert [int(mask.read().max()) for mask in found] == [3, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_document_types_are_found_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    plain = _CVAT.replace("utf-8", encoding[:6]).replace(
        "x/a.jpg", "<!DOCTYPE".replace("<", "&lt;")
    )
    path = tmp_path / "a.xml"

    path.write_bytes(mark + plain.encode(encoding))
    assert (read_any_mask(path, SCHEME, image="<!DOCTYPE") == drawn_mask()).all()
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">]>'
    path.write_bytes(mark + plain.replace("<annotations>", f"{bomb}<annotations>").encode(encoding))
    with pytest.raises(MaskError, match="defines entities"):
        open_masks(path, SCHEME)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("box label", "points label", "image 'x/a.jpg': points 'eye': it covers no pixels"),
        ('width="20"', 'width="x"', "width: expected a number, got 'x'"),
        ('left="3"', 'left="30"', "its box is not inside of the picture"),
        ('rle="0,', 'rle="1,', "its runs have 16 pixels, the mask has 15"),
        ("19,2;", "19,;", "points: expected a number, got ''"),
        ('xtl="12"', 'xtl="nan"', "expected a place in the picture"),
        ("<meta>", '<track id="0"/><meta>', "tracks of a video"),
        ("<annotations>", "<!DOCTYPE x><annotations>", "defines entities"),
        ("annotations>", "notes>", "expected <annotations> of CVAT"),
        ('label="body"', 'label="wing"', "'wing' is none of the parts"),
    ],
)
def test_wrong_cvat_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(_CVAT.replace(old, new))

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path / "a.xml", SCHEME, image="x/a.jpg")


@pytest.mark.parametrize("attribute", ['width="x"', 'width=""', 'height="-1"'])
def test_wrong_image_is_refused_alone(tmp_path: Path, attribute: str) -> None:
    text = _CVAT.replace('name="b.jpg" width="20" height="12"', f'name="b.jpg" {attribute}')
    (tmp_path / "a.xml").write_text(text)

    assert (read_any_mask(tmp_path / "a.xml", SCHEME, image="a.jpg") == drawn_mask()).all()
    with pytest.raises(MaskError, match=r"image 'b.jpg': "):
        read_any_mask(tmp_path / "a.xml", SCHEME, image="b.jpg")


def test_run_lengths_of_cvat() -> None:
    expected = [[False, True, True], [True, False, False]]
    assert decode_cvat("1, 3, 2", 2, 3, of="x").tolist() == expected
    with pytest.raises(MaskError, match="expected numbers and commas"):
        decode_cvat("1;3", 2, 3, of="x")


@pytest.mark.parametrize(
    ("place", "is_inside"),
    [
        ("0 0", True),
        ("18 10", True),
        ("19 10", False),
        ("18 11", False),
        ("-1 0", False),
        ("0 -1", False),
    ],
)
def test_mask_reaches_to_the_border_and_no_further(
    tmp_path: Path, place: str, is_inside: bool
) -> None:
    left, top = place.split()
    shape = f'<mask label="body" rle="1, 3" left="{left}" top="{top}" width="2" height="2"/>'
    (tmp_path / "a.xml").write_text(
        _CVAT.replace('height="12"></image>', f'height="12">{shape}</image>')
    )

    if not is_inside:
        with pytest.raises(MaskError, match="its box is not inside of the picture"):
            read_any_mask(tmp_path / "a.xml", SCHEME, image="b.jpg")
        return
    expected = np.zeros((12, 20), int)
    expected[int(top) : int(top) + 2, int(left) : int(left) + 2] = [[0, 1], [1, 1]]
    assert (read_any_mask(tmp_path / "a.xml", SCHEME, image="b.jpg") == expected).all()


def test_boxes_and_ellipses_turn_clockwise_about_their_middle(tmp_path: Path) -> None:
    shapes = (
        '<box label="body" xtl="20" ytl="40" xbr="380" ybr="160" rotation="30"/>'
        '<ellipse label="eye_left" cx="250" cy="100" rx="90" ry="40" rotation="60" z_order="1"/>'
        '<box label="Right Eye" xtl="1" ytl="170" xbr="399" ybr="199"/>'
    )
    (tmp_path / "a.xml").write_text(
        '<annotations><image id="0" name="a.jpg" width="400" height="200">'
        f"{shapes}</image></annotations>"
    )
    rows, columns = np.indices((200, 400)) + 0.5

    def from_middle(x: float, y: float, degrees: float) -> tuple[Any, Any]:
        """Places along and across a shape that was turned clockwise, y downwards."""
        angle = np.radians(degrees)
        right, down = columns - x, rows - y
        return (
            right * np.cos(angle) + down * np.sin(angle),
            down * np.cos(angle) - right * np.sin(angle),
        )

    along, across = from_middle(200, 100, 30)
    box = (np.abs(along) < 180) & (np.abs(across) < 60)
    near = (np.abs(np.abs(along) - 180) < 1e-6) | (np.abs(np.abs(across) - 60) < 1e-6)
    along, across = from_middle(250, 100, 60)
    radius = np.hypot(along / 90, across / 40)
    expected = box.astype(int)
    expected[170:199, 1:399] = 3
    expected[radius < 1] = 2

    read = read_any_mask(tmp_path / "a.xml", SCHEME)

    assert (read == expected)[~near & (np.abs(radius - 1) > 2e-3)].all()


def test_places_end_at_a_million(tmp_path: Path) -> None:
    for value, is_place in (("1000000", True), ("-1000000", True), ("1000001", False)):
        (tmp_path / "a.xml").write_text(_CVAT.replace('xtl="12"', f'xtl="{value}"'))
        if is_place:
            read_any_mask(tmp_path / "a.xml", SCHEME, image="x/a.jpg")
        else:
            with pytest.raises(MaskError, match="expected a place in the picture"):
                read_any_mask(tmp_path / "a.xml", SCHEME, image="x/a.jpg")
