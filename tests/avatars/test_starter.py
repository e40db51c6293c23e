"""The starter library's mask pairs: every edit is clear and stays within its parts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.avatars.drawing.parameters import with_values
from editvec.avatars.drawing.render import LABELS, render
from editvec.avatars.starter import STARTERS, SURPRISE, Starter, write_pair, write_starters

ALL = [*STARTERS, SURPRISE]


def _ids(starter: Starter) -> str:
    return starter.name


def test_the_library_has_at_least_eight_vectors_of_different_names() -> None:
    names = [starter.name for starter in ALL]

    assert len(STARTERS) >= 8
    assert len(set(names)) == len(names)
    assert {"smile", "frown", "open-mouth", "close-eyes", "look-left"} <= set(names)


@pytest.mark.parametrize("starter", ALL, ids=_ids)
def test_the_picture_and_its_mask_are_the_exact_render_of_one_face(starter: Starter) -> None:
    drawn = render(starter.parameters(), 64)

    pair = starter.mask_pair(64)

    np.testing.assert_array_equal(pair.pixels, drawn.pixels[0])
    np.testing.assert_array_equal(pair.mask_before, drawn.mask[0])


@pytest.mark.parametrize("starter", ALL, ids=_ids)
def test_every_changed_pixel_belongs_to_a_part_of_the_roi_before_or_after(starter: Starter) -> None:
    pair = starter.mask_pair(64)
    roi = [LABELS.index(label) for label in starter.roi_labels]

    changed = pair.mask_before != pair.mask_after
    covered = np.isin(pair.mask_before, roi) | np.isin(pair.mask_after, roi)

    assert not np.any(changed & ~covered)


@pytest.mark.parametrize("starter", ALL, ids=_ids)
def test_the_edit_is_large_enough_to_be_learned_at_the_class_resolution(starter: Starter) -> None:
    pair = starter.mask_pair(64)

    changed = int(np.count_nonzero(pair.mask_before != pair.mask_after))

    # the smallest part, the nose, grows by some ten pixels; half of a picture would be another face
    assert 8 <= changed <= 64 * 64 // 4


@pytest.mark.parametrize("starter", ALL, ids=_ids)
def test_the_edit_changes_only_the_parameters_that_it_names(starter: Starter) -> None:
    before = starter.parameters()

    after = with_values(before, **starter.after)

    assert np.count_nonzero(before != after) == len(starter.after)


def test_written_pairs_read_back_as_index_pictures_with_their_list(tmp_path: Path) -> None:
    listing = write_starters(tmp_path / "pairs")

    entries = json.loads(listing.read_text(encoding="utf-8"))["vectors"]
    assert [entry["address"] for entry in entries] == [starter.address for starter in STARTERS]
    for starter, entry in zip(STARTERS, entries, strict=True):
        pair = starter.mask_pair()
        folder = listing.parent
        with Image.open(folder / entry["mask_after"]) as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(np.asarray(mask), pair.mask_after)
        with Image.open(folder / entry["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image), pair.pixels)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write_pair(SURPRISE, tmp_path / folder)

    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_the_command_writes_the_list_and_prints_where_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "editvec.avatars.starter",
            str(tmp_path / "with space"),
            "--resolution=32",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(done.stdout.strip()) == tmp_path / "with space" / "starter.json"
    assert len(list((tmp_path / "with space").glob("*.png"))) == 3 * len(STARTERS)
