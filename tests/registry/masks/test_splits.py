"""Left and right, top and bottom, from connected components."""

import numpy as np
import pytest

from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.png import MaskArray
from editvec.registry.masks.splits import split_parts

SCHEME = parse_scheme(
    "parts: [bg, skin, eye_left, eye_right, lip_top, lip_bottom]\n"
    "splits: {eye: left/right, lip: top/bottom}\n"
)
EYE, LIP = 6, 7


def _face() -> MaskArray:
    mask = np.zeros((20, 30), np.int32)
    mask[2:18, 5:25] = 1
    return mask


def test_two_components_are_left_and_right() -> None:
    mask = _face()
    mask[5:8, 8:11] = EYE
    mask[5:8, 18:21] = EYE

    split = split_parts(mask, SCHEME)

    assert (split[5:8, 8:11] == 2).all()
    assert (split[5:8, 18:21] == 3).all()
    assert (split[mask == 1] == 1).all()


def test_a_part_in_pieces_is_divided_at_the_widest_gap() -> None:
    mask = _face()
    mask[5:8, 7:9] = EYE  # the left one in two pieces
    mask[5:8, 10:12] = EYE
    mask[5:8, 19:22] = EYE

    split = split_parts(mask, SCHEME)

    assert (split[5:8, 7:12] != 3).all()
    assert (split[5:8, 19:22] == 3).all()


def test_specks_go_with_the_nearest_component() -> None:
    mask = _face()
    mask[5:9, 7:12] = EYE
    mask[5:9, 18:23] = EYE
    mask[12, 8] = mask[12, 21] = EYE

    split = split_parts(mask, SCHEME)

    assert (split[12, 8], split[12, 21]) == (2, 3)


@pytest.mark.parametrize(("left", "part"), [(7, 2), (18, 3)])
def test_a_single_component_goes_to_its_side_of_the_object(left: int, part: int) -> None:
    mask = _face()
    mask[5:8, left : left + 3] = EYE

    assert (split_parts(mask, SCHEME)[5:8, left : left + 3] == part).all()


def test_a_single_component_in_the_middle_is_refused() -> None:
    mask = _face()
    mask[5:8, 14:16] = EYE

    with pytest.raises(MaskError, match="eye is one piece in the middle"):
        split_parts(mask, SCHEME)


def test_components_that_touch_at_a_corner_are_one() -> None:
    mask = _face()
    mask[5, 8] = mask[6, 9] = mask[7, 10] = EYE
    mask[5:8, 18:21] = EYE

    assert set(split_parts(mask, SCHEME)[5:8, 8:11].ravel()) == {1, 2}


def test_top_and_bottom() -> None:
    mask = _face()
    mask[11, 10:20] = LIP
    mask[14, 10:20] = LIP

    split = split_parts(mask, SCHEME)

    assert (split[11, 10:20] == 4).all()
    assert (split[14, 10:20] == 5).all()
