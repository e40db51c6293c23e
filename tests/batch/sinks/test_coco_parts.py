"""Run-length encoding against pycocotools, which is independent of it."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from editvec.batch.sinks.coco import parts_of

# of pycocotools itself, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@st.composite
def masks(draw: st.DrawFn) -> npt.NDArray[np.uint8]:
    """Masks of a few labels, of noise or of blocks, rarely square."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    values = draw(st.lists(st.integers(0, 3), min_size=height * width, max_size=height * width))
    block = np.ones((draw(st.integers(1, 40)), draw(st.integers(1, 40))), np.uint8)
    return np.kron(np.array(values, np.uint8).reshape(height, width), block)


@given(masks())
def test_every_part_is_what_pycocotools_makes_of_it(mask: npt.NDArray[np.uint8]) -> None:
    parts = list(parts_of(mask))

    assert [part.label for part in parts] == sorted(set(mask.ravel().tolist()))
    for part in parts:
        inside = np.asfortranarray(mask == part.label).astype(np.uint8, order="F")
        expected = coco.encode(inside)
        assert part.to_json() == {
            "size": list(mask.shape),
            "counts": expected["counts"].decode("ascii"),
        }
        assert part.area == coco.area(expected)
        assert list(part.bounding_box) == coco.toBbox(expected).tolist()
        assert (coco.decode(part.to_json()) == inside).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (512, 300)])
def test_long_runs_and_single_pixels_survive(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.int32)
    mask[-1, -1] = 300

    (*_, part) = parts_of(mask)

    assert (part.label, part.area) == (300, 1)
    assert part.bounding_box == (shape[1] - 1, shape[0] - 1, 1, 1)
    assert (coco.decode(part.to_json()) == (mask == 300)).all()
