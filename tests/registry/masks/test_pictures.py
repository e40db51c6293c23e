"""Pictures of mask pairs, read back pixel by pixel."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from editvec.registry.drawing import (
    ACCENT,
    MISSING,
    PAPER,
    Swatch,
    fitted,
    legend_height,
    text_width,
    write_line,
)
from editvec.registry.entities.vectors import NewMaskPair
from editvec.registry.errors import MaskError
from editvec.registry.labels.label import Label
from editvec.registry.library.library import Library
from editvec.registry.library.pictures import picture_of_pairs
from editvec.registry.masks.pictures import SIDE, draw_mask_pairs, outline
from editvec.registry.masks.png import decode_picture, encode_mask
from tests.support.registry_fixtures import RESOLUTION, mask_pair, new_vector, random_delta

LABELS = [
    Label(0, "background", (10, 20, 30)),
    Label(1, "skin", (200, 100, 50)),
    Label(2, "mouth", (220, 0, 90)),
]
_SCALE = SIDE // RESOLUTION
_LEFT, _TOP = 36, 36 + 64 + 26


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _panels(png: bytes, *, top: int = _TOP) -> list[npt.NDArray[np.uint8]]:
    """The four panels of the pair whose panels begin at a row."""
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    lefts = [_LEFT + number * (SIDE + 14) for number in range(4)]
    return [sheet[top : top + SIDE, left : left + SIDE] for left in lefts]


def _at(panel: npt.NDArray[np.uint8], row: int, column: int) -> tuple[int, ...]:
    """The colour in the middle of a pixel of the mask."""
    half = _SCALE // 2
    return tuple(int(value) for value in panel[row * _SCALE + half, column * _SCALE + half])


def _draw(*pairs: NewMaskPair, labels: Sequence[Label] = LABELS) -> bytes:
    return draw_mask_pairs(pairs, labels, title="avatars/smile@1")


def test_masks_have_the_colours_of_the_scheme() -> None:
    picture, before, after, _ = _panels(_draw(mask_pair(LABELS)))

    assert _at(picture, 5, 5) == (200, 150, 100)
    assert _at(before, 5, 5) == LABELS[0].color
    assert _at(after, 5, 5) == LABELS[2].color
    assert _at(after, 12, 12) == LABELS[0].color


def test_changed_pixels_show_their_new_part_over_a_dimmed_picture() -> None:
    changed = _panels(_draw(mask_pair(LABELS)))[3]

    assert _at(changed, 5, 5) == LABELS[2].color
    grey = _at(changed, 12, 12)
    assert len(set(grey)) <= 3
    assert min(grey) > 190, "the picture is 200, 150, 100: it is dimmed towards the paper"
    assert tuple(changed[4 * _SCALE, 6 * _SCALE]) == ACCENT, "the changed area is outlined"


def test_equal_pairs_give_equal_bytes() -> None:
    assert _draw(mask_pair(LABELS)) == _draw(mask_pair(LABELS))


def test_several_pairs_stand_one_under_another() -> None:
    plain, other = mask_pair(LABELS), mask_pair(LABELS)
    swapped = replace(
        other, mask_before_png=other.mask_after_png, mask_after_png=other.mask_before_png
    )

    one, two = (Image.open(io.BytesIO(_draw(*pairs))) for pairs in ([plain], [plain, swapped]))

    assert two.width == one.width
    shift = two.height - one.height
    assert _at(_panels(_draw(plain, swapped), top=_TOP + shift)[1], 5, 5) == LABELS[2].color


def test_picture_of_a_stored_vector_shows_its_own_pair(library: Library) -> None:
    labels = library.get_class("avatars").labels
    vector = library.add_vector(new_vector(), random_delta(), pairs=[mask_pair(labels)])

    panels = _panels(picture_of_pairs(library, vector))

    assert _at(panels[2], 5, 5) == labels[2].color


def test_vector_without_a_pair_is_refused_in_one_line(sqlite_library: Library) -> None:
    vector = sqlite_library.add_vector(new_vector(kind="imported"), random_delta())

    with pytest.raises(
        MaskError, match=r"^vector avatars/smile@1 has no mask pair: it is imported$"
    ):
        picture_of_pairs(sqlite_library, vector)


def test_pair_of_another_aspect_ratio_keeps_it() -> None:
    mask = np.zeros((8, 16), np.uint8)
    after = mask.copy()
    after[2:6, 4:8] = 2
    pair = NewMaskPair(
        image_png=_png(Image.new("RGB", (16, 8), (200, 150, 100))),
        mask_before_png=encode_mask(mask, LABELS),
        mask_after_png=encode_mask(after, LABELS),
    )

    panel = _panels(_draw(pair))[2]

    assert tuple(panel[SIDE // 2, 5 * _SCALE]) == LABELS[2].color
    assert tuple(panel[4, SIDE // 2]) == PAPER, "above a flat picture there is paper"


def test_masks_that_do_not_fit_the_picture_or_the_scheme_are_refused() -> None:
    pair = mask_pair(LABELS)
    large = encode_mask(np.zeros((32, 32), np.uint8), LABELS)

    with pytest.raises(MaskError, match="mask after: expected 16 x 16 pixels, got 32 x 32"):
        _draw(replace(pair, mask_after_png=large))
    with pytest.raises(MaskError, match=r"label 2 .* none of the 2 labels"):
        _draw(pair, labels=LABELS[:2])
    with pytest.raises(MaskError, match="image of the mask pair: not a readable PNG"):
        _draw(replace(pair, image_png=b"not a picture"))


@pytest.mark.parametrize(
    ("image", "color"),
    [
        (Image.new("L", (4, 4), 90), (90, 90, 90)),
        (Image.fromarray(np.full((4, 4), 90 << 8, np.uint16)), (90, 90, 90)),
        (Image.new("RGBA", (4, 4), (9, 9, 9, 0)), (255, 255, 255)),
        (Image.new("LA", (4, 4), (90, 255)), (90, 90, 90)),
    ],
    ids=["grey", "16 bits", "transparent", "opaque"],
)
def test_pictures_of_every_kind_become_rgb(image: Image.Image, color: tuple[int, ...]) -> None:
    decoded = decode_picture(_png(image))

    assert decoded.mode == "RGB"
    assert decoded.getpixel((1, 1)) == color


def test_outline_is_one_pixel_on_each_side_of_the_border() -> None:
    inside = np.zeros((7, 7), bool)
    inside[2:5, 2:5] = True

    border = outline(inside)

    assert border[2, 3]
    assert border[1, 3]
    assert not border[3, 3]
    assert not border[0].any()
    assert not outline(np.ones((3, 3), bool)).any(), "the edge of the picture is no border"


@pytest.mark.parametrize("side", [5, 16, 37, 100])
def test_enlarged_mask_is_made_of_equal_squares(side: int) -> None:
    board = np.indices((4, 4)).sum(axis=0) % 2 * 255
    picture = Image.fromarray(board.astype(np.uint8)).convert("RGB")

    enlarged = np.asarray(fitted(picture, side, is_mask=True))[..., 0]

    assert enlarged.shape == (side, side)
    assert abs(float(enlarged.mean()) - 127.5) < 1
    if side % 4 == 0:
        assert set(np.unique(enlarged)) == {0, 255}


def test_text_is_cut_to_its_width_and_control_characters_are_escaped() -> None:
    sheet = Image.new("RGB", (200, 40), PAPER)

    write_line(ImageDraw.Draw(sheet), (0, 4), "m" * 200, size=20, width=100)

    drawn = np.argwhere((np.asarray(sheet) != PAPER).any(axis=2))
    assert 80 < drawn[:, 1].max() <= 100
    assert text_width("a\nb", size=14) == text_width(r"a\nb", size=14)
    assert text_width("é", size=14) == text_width("e", size=14)


def test_legend_takes_as_many_rows_as_it_needs() -> None:
    entries = [Swatch(MISSING, f"part {number}") for number in range(12)]

    assert legend_height([], width=300) == 0
    assert legend_height(entries[:1], width=300) < legend_height(entries, width=300)
    assert legend_height(entries, width=3000) == legend_height(entries[:1], width=300)
