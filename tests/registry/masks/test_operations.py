"""Edits of masks by program: what they must leave alone, and what they must do."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from editvec.registry.errors import LabelNotFoundError, MaskError, OperationError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.operation_text import (
    format_edits,
    parse_edits,
    pasted_files,
    place_pasted_files,
)
from editvec.registry.masks.operations import (
    Length,
    Mirror,
    Paste,
    Pieces,
    Scale,
    Shift,
    edit_mask,
)
from editvec.registry.masks.png import MaskArray

SCHEME = parse_scheme("parts: [bg, skin, eye, iris, mouth]\ngroups:\n  eyes: [eye, iris]\n")
PARTS = ("bg", "skin", "eye", "iris", "mouth")


def _no_other(path: Path) -> NoReturn:
    raise AssertionError(path)


def _edit(
    mask: MaskArray, text: str, read_other: Callable[[Path], MaskArray] = _no_other
) -> MaskArray:
    return edit_mask(mask, parse_edits(text), SCHEME, read_other=read_other)


def _face() -> MaskArray:
    mask = np.zeros((24, 32), np.int32)
    mask[2:22, 4:28] = 1
    for left in (8, 18):
        mask[6:10, left : left + 6] = 2
        mask[7:9, left + 2 : left + 4] = 3
    mask[15:18, 12:20] = 4
    return mask


@st.composite
def masks(draw: st.DrawFn) -> MaskArray:
    """Masks of blocks and noise, with every label somewhere."""
    height, width = draw(st.integers(3, 8)), draw(st.integers(3, 8))
    values = draw(st.lists(st.integers(0, 4), min_size=height * width, max_size=height * width))
    values[:5] = range(5)
    block = np.ones((draw(st.integers(1, 3)), draw(st.integers(1, 3))), np.int32)
    return np.kron(np.array(values, np.int32).reshape(height, width), block)


parts = st.sampled_from(["skin", "eye", "eyes", "mouth, skin", "iris"])
pieces = st.sampled_from(
    ["", "[each]", "[together]", "[largest]", "[left]", "[right]", "[top]", "[bottom]"]
)
operations = st.one_of(
    st.floats(0, 6).map("grow {:.2f}".format),
    st.floats(0, 6).map("shrink {:.2f}".format),
    st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)).map(lambda f: f"scale {f[0]:.2f}x{f[1]:.2f}"),
    st.floats(-400, 400).map("rotate {:.1f}".format),
    st.tuples(st.integers(-2, 2), st.integers(-2, 2)).map(lambda s: f"shift {s[0]},{s[1]}"),
    st.sampled_from(["remove", "mirror", "mirror top-bottom", "grow 20%", "shift 5%,-10%"]),
)


# --- laws ---


IDENTITIES = (
    "scale 1", "scale 1x1.0", "rotate 0", "rotate 360", "rotate -720", "shift 0,0", "grow 0",
    "shrink 0", "shift 0%,0%",
)  # fmt: skip


@given(masks(), parts, pieces, st.sampled_from(IDENTITIES))
def test_identities_change_nothing(mask: MaskArray, part: str, piece: str, text: str) -> None:
    assert (_edit(mask, f"{part}{piece}: {text}") == mask).all()


@given(masks(), parts, st.sampled_from(["left-right", "top-bottom"]))
def test_mirrored_twice_a_part_is_what_it_was(mask: MaskArray, part: str, how: str) -> None:
    there = _edit(mask, f"{part}[together]: mirror {how}")
    back = _edit(there, f"{part}[together]: mirror {how}")

    inside = np.isin(mask, SCHEME.indices([name.strip() for name in part.split(",")]))
    assert (back[inside] == mask[inside]).all()


@given(masks(), parts, pieces, st.integers(-9, 9), st.integers(-9, 9), st.integers(-180, 180))
def test_moves_that_undo_one_another_leave_no_trace(
    mask: MaskArray, part: str, piece: str, right: int, down: int, degrees: int
) -> None:
    there = f"shift {right},{down}, rotate {degrees}, scale 2x4, mirror"
    back = f"mirror, scale 0.5x0.25, rotate {-degrees}, shift {-right},{-down}"

    assert (_edit(mask, f"{part}{piece}: {there}, {back}") == mask).all()


@given(masks(), parts, pieces, operations)
def test_labels_are_those_of_the_mask_and_the_shape_stays(
    mask: MaskArray, part: str, piece: str, operation: str
) -> None:
    before = mask.copy()
    try:
        edited = _edit(mask, f"{part}{piece}: {operation}")
    except MaskError as exc:
        assume("is left in the picture" not in str(exc))
        raise

    assert edited.shape == mask.shape
    assert edited.dtype == np.int32
    assert set(np.unique(edited)) <= set(np.unique(mask))
    assert (mask == before).all()


@given(masks(), parts)
def test_remove_leaves_nothing_of_the_part_and_all_of_the_rest(mask: MaskArray, part: str) -> None:
    edited = _edit(mask, f"{part}: remove")

    labels = SCHEME.indices([name.strip() for name in part.split(",")])
    inside = np.isin(mask, labels)
    assert not np.isin(edited, labels).any()
    assert (edited[~inside] == mask[~inside]).all()


@given(masks(), parts, st.integers(0, 5), st.integers(0, 5))
def test_growing_and_shrinking_only_add_and_only_take(
    mask: MaskArray, part: str, less: int, more: int
) -> None:
    labels = SCHEME.indices([name.strip() for name in part.split(",")])
    inside = np.isin(mask, labels)
    less, more = sorted((less, more))

    small, large = (np.isin(_edit(mask, f"{part}: grow {by}"), labels) for by in (less, more))
    thick, thin = (np.isin(_edit(mask, f"{part}: shrink {by}"), labels) for by in (less, more))

    assert (inside <= small).all()
    assert (small <= large).all()
    assert (thick <= inside).all()
    assert (thin <= thick).all()


@given(st.integers(-8, 8), st.integers(-4, 4), st.sampled_from(["mouth", "eyes"]))
def test_shift_and_back_within_the_frame_restores_the_part(
    right: int, down: int, part: str
) -> None:
    face = _face()

    there = _edit(face, f"{part}[together]: shift {right},{down}")
    back = _edit(there, f"{part}[together]: shift {-right},{-down}")

    labels = SCHEME.indices([part])
    inside = np.isin(face, labels)
    assert (np.isin(back, labels) == inside).all()
    assert (back[inside] == face[inside]).all()
    if abs(right) < 4 and abs(down) < 3 and part == "mouth":
        assert (back == face).all()  # there was only skin


@given(masks(), parts, pieces, operations)
def test_what_is_written_is_what_was_read(
    mask: MaskArray, part: str, piece: str, operation: str
) -> None:
    edits = parse_edits(f"{part}{piece}: {operation}, remove; eye: paste a b.png centred")

    assert parse_edits(format_edits(edits)) == edits


# --- what they do ---


def test_scale_is_about_the_middle_of_each_piece() -> None:
    edited = _edit(_face(), "eyes: scale 1.5x2")

    for left in (8, 18):
        middle = left + 3
        assert (edited[4:12, middle - 4 : middle + 4] >= 2).all()
    assert np.isin(edited, (2, 3)).sum() == 2 * 9 * 8
    assert (edited == 3).sum() == 2 * 3 * 4


def test_pieces_together_spread_apart_when_scaled() -> None:
    each = _edit(_face(), "eyes: scale 1.2x1")
    together = _edit(_face(), "eyes[together]: scale 1.2x1")

    def gap(mask: MaskArray) -> int:
        columns = np.flatnonzero(mask[8] >= 2)
        return int(np.diff(columns).max())

    assert gap(each) < gap(_face()) < gap(together) + 1


def test_shift_moves_right_and_down_and_leaves_what_is_behind() -> None:
    edited = _edit(_face(), "mouth: shift 2,1")

    assert (edited[16:19, 14:22] == 4).all()
    assert (edited == 4).sum() == (_face() == 4).sum()
    assert (edited[15:18, 12:14] == 1).all()


def test_percent_is_of_the_mask() -> None:
    assert (
        _edit(_face(), "mouth: shift 6.25%,-12.5%") == _edit(_face(), "mouth: shift 2,-3")
    ).all()
    assert (_edit(_face(), "mouth: grow 6.25%") == _edit(_face(), "mouth: grow 2")).all()


def test_one_piece_only() -> None:
    for piece, left in (("left", 8), ("right", 18)):
        edited = _edit(_face(), f"eyes[{piece}]: remove")
        assert (edited[6:10, left : left + 6] == 1).all()
        assert (np.isin(edited, (2, 3))).sum() == 24
    tall = _face().T.copy()
    assert (_edit(tall, "eyes[top]: remove")[8:14, 6:10] == 1).all()
    assert (_edit(tall, "eyes[bottom]: remove")[18:24, 6:10] == 1).all()


def test_rotation_is_clockwise() -> None:
    mask = np.zeros((21, 21), np.int32)
    mask[10, 5:16] = 2
    mask[10, 14:16] = 3  # its right end

    edited = _edit(mask, "eyes: rotate 90")

    assert edited[5:16, 10].tolist() == [2] * 9 + [3] * 2
    assert (edited != 0).sum() == 11


SIDED = """
parts: [bg, skin, near, far, l_brow, r_brow, u_lip, l_lip]
groups: {features: [near, far, l_brow, r_brow, u_lip, l_lip]}
splits: {eye: {left: near, right: far}}
"""
# a pixel of each, its own size: near, far, brows, lips
_SIDED_FACE = """
..........
.44....5..
..........
.222..33..
..........
...666....
...7777...
..........
"""


def _sided() -> MaskArray:
    rows = [[1 if one == "." else int(one) for one in row] for row in _SIDED_FACE.split()]
    return np.array(rows, np.int32)


@pytest.mark.parametrize(
    ("text", "rows", "pairs"),
    [
        ("eye[together]: mirror left-right", (3, 4), [(2, 3)]),
        ("l_brow, r_brow[together]: mirror left-right", (1, 2), [(4, 5)]),
        ("u_lip, l_lip[together]: mirror top-bottom", (5, 7), [(6, 7)]),
        ("eye[together]: mirror left-right, mirror top-bottom, mirror left-right", (3, 4), []),
        ("eye[each]: mirror left-right", (3, 4), []),
        ("near[together]: mirror left-right", (3, 4), []),
        ("eye[together]: mirror top-bottom", (3, 4), []),
    ],
)
def test_sides_that_are_mirrored_together_change_places(
    text: str, rows: tuple[int, int], pairs: list[tuple[int, int]]
) -> None:
    mask = _sided()
    expected = mask.copy()
    if pairs:
        ((one, other),) = pairs
        inside = np.isin(mask, (one, other))
        columns = np.flatnonzero(inside.any(axis=0))
        box = (slice(*rows), slice(columns[0], columns[-1] + 1))
        turned = mask[box][::-1] if "top-bottom" in text else mask[box][:, ::-1]
        swap = np.arange(8)
        swap[[one, other]] = other, one
        expected[box] = swap[turned]

    scheme = parse_scheme(SIDED)
    found = edit_mask(mask, parse_edits(text), scheme, read_other=_no_other)

    assert (found == expected).all()


def test_mirror_is_within_the_box() -> None:
    mask = np.zeros((9, 12), np.int32)
    mask[2:6, 3] = mask[5, 3:9] = 2

    assert (_edit(mask, "eye: mirror")[2:6, 3:9] == mask[2:6, 3:9][:, ::-1]).all()
    assert (_edit(mask, "eye: mirror top-bottom")[2:6, 3:9] == mask[2:6, 3:9][::-1]).all()


def test_shrink_does_not_shrink_from_the_frame() -> None:
    mask = np.zeros((10, 10), np.int32)
    mask[4:, :] = 2

    assert (_edit(mask, "eye: shrink 2") == np.where(np.arange(10)[:, None] >= 6, 2, 0)).all()


def test_paste_replaces_the_part_by_that_of_another_mask() -> None:
    other = np.zeros((24, 32), np.int32)
    other[18:20, 2:12] = 4
    read = {Path("smile.png"): other}.__getitem__

    pasted = _edit(_face(), "mouth: paste smile.png", read)
    centred = _edit(_face(), "mouth: paste smile.png centred", read)

    assert (pasted[18:20, 2:12] == 4).all()
    assert (pasted[15:18, 12:20] == 1).all()
    assert (pasted == 4).sum() == (centred == 4).sum() == 20
    rows, columns = np.nonzero(centred == 4)
    assert (rows.min(), columns.min()) in ((15, 11), (16, 11))
    bare = _edit(_face(), "mouth: remove")
    assert (_edit(bare, "mouth: paste smile.png", read) == np.where(other == 4, 4, bare)).all()


def test_operations_follow_one_another() -> None:
    face = _face()

    once = _edit(_edit(face, "mouth: scale 1.2, shift 0,-2"), "eyes: remove")

    assert (_edit(face, "mouth: scale 1.2, shift 0,-2; eyes: remove;") == once).all()


# --- refusals ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iris: shift 40,0", "nothing of iris is left in the picture"),
        ("bg, skin, eye, iris, mouth: remove", "all of it is bg, skin, .*, so nothing is behind"),
        ("mouth: remove, grow 1", "it has no pixel of mouth"),
        ("mouth: paste empty.png", "mask empty.png: it has no pixel of mouth"),
        ("mouth: paste small.png", "mask small.png: expected 32 x 24 pixels, got 2 x 2"),
    ],
)
def test_what_cannot_be_done_is_told(text: str, message: str) -> None:
    others = {"empty.png": np.zeros((24, 32), np.int32), "small.png": np.zeros((2, 2), np.int32)}

    with pytest.raises(MaskError, match=message):
        _edit(_face(), text, lambda path: others[path.name])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected PARTS: OPERATION, got nothing"),
        ("mouth", "expected PARTS: OPERATION, such as"),
        (": grow 1", "expected names of parts, got ''"),
        ("mouth,: grow 1", "expected names of parts"),
        ("mouth[middle]: grow 1", "expected one of each, together, .*, got 'middle'"),
        ("mouth:", "expected one of grow, shrink, .*, got ''"),
        ("mouth: melt", "expected one of grow, shrink, .*, got 'melt'"),
        ("mouth: grow -1", "operation grow: expected 0 or more"),
        ("mouth: grow 1px", "operation grow: expected a number, got '1px'"),
        ("mouth: grow 1e9", "operation grow: expected at most 8192 pixels"),
        ("mouth: scale 0", "operation scale: expected one or two factors"),
        ("mouth: scale 1x2x3", "operation scale: expected one or two factors"),
        ("mouth: scale nan", "operation scale: expected a number"),
        ("mouth: shift 3", "operation shift: expected RIGHT,DOWN"),
        ("mouth: remove all", "operation remove: expected nothing after it"),
        ("mouth: mirror x", "operation mirror: expected left-right or top-bottom"),
        ("mouth: paste", "operation paste: expected a mask"),
    ],
)
def test_wrong_words_are_told(text: str, message: str) -> None:
    with pytest.raises(OperationError, match=message):
        parse_edits(text)


@pytest.mark.parametrize(
    ("text", "is_fine"),
    [
        ("grow 0", True),
        ("grow 8192", True),
        ("grow 8192.5", False),
        ("shrink 0%", True),
        ("shrink -0.1%", False),
        ("shift -8192,8192", True),
        ("shift 0,-8193", False),
        ("scale 100", True),
        ("scale 100.01", False),
        ("scale 0.01x100", True),
        ("scale 1x0.0099", False),
        ("scale 0.0099x1", False),
        ("scale -1", False),
        ("rotate .5", True),
        ("rotate -720.", True),
        ("rotate 1e400", False),
        ("rotate 0x10", False),
        ("rotate", False),
    ],
)
def test_numbers_of_words_end_at_their_limits(text: str, is_fine: bool) -> None:
    if is_fine:
        (edit,) = parse_edits(f"mouth: {text}")
        assert parse_edits(format_edits([edit])) == (edit,)
    else:
        with pytest.raises(OperationError, match=f"operation {text.split()[0]}: expected"):
            parse_edits(f"mouth: {text}")


def test_words_mean_what_they_say() -> None:
    (edit,) = parse_edits(
        "mouth, mouth [ left ] : scale 2, scale 2x3, mirror, mirror top-bottom, shift 1 , -2%,"
        "paste a, b.png centred, paste centred;"
    )

    assert (edit.parts, edit.pieces) == (("mouth",), Pieces.LEFT)
    assert edit.operations == (
        Scale(2, 2),
        Scale(2, 3),
        Mirror(1),
        Mirror(0),
        Shift(Length(1), Length(-2, is_percent=True)),
        Paste(Path("a, b.png"), is_centred=True),
        Paste(Path("centred"), is_centred=False),
    )
    assert pasted_files("mouth: grow 1, paste x.png") == [Path("x.png")]
    assert place_pasted_files("mouth: grow  1", Path("/f")) == "mouth: grow  1"
    assert place_pasted_files("mouth: paste x.png centred, grow 1", Path("/f")) == (
        "mouth: paste /f/x.png centred, grow 1"
    )


def test_unknown_part_is_refused() -> None:
    with pytest.raises(LabelNotFoundError, match="no part 'beak'"):
        _edit(_face(), "beak: remove")
