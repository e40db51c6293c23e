"""Pictures in memory are edited as a run edits files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editvec.batch.editing.pictures import PictureEditor, edit_picture
from editvec.batch.errors import RecipeError, SettingsError
from editvec.batch.recipes.settings import Composite, Mode, OutputSize, RunSettings
from editvec.engine.errors import ImageError
from editvec.registry.library.library import Library
from tests.support.color_profiles import profile_of
from tests.support.folder_runs import do, pixels, request, rows

EDITS = ("smile=-1:1:3",)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"composite": Composite.NONE},
        {"mode": Mode.REFINE, "refine_steps": 2, "max_leakage": 1.0},
        {"output_size": OutputSize.ORIGINAL},
        {"embed": "steps:2"},
    ],
    ids=["vector", "whole", "refine", "original", "steps"],
)
def test_a_picture_gets_the_pixels_that_a_run_writes(
    library: Library,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    settings: dict[str, object],
) -> None:
    source, out = make_pictures(3), tmp_path / "out"
    chosen = RunSettings(**settings)  # type: ignore[arg-type]
    do(library, request(source, out, *EDITS, **settings))
    names = sorted(path.name for path in source.iterdir())

    editor = PictureEditor(library, EDITS, class_name="tiny", settings=chosen, device="cpu")
    made = editor.edit([Image.open(source / name) for name in names])

    written = {(row["source"], row["recipe"]): row for row in rows(out)}
    recipes = [recipe.name for recipe in editor.plan.recipes]
    assert [one.recipe for one in made] == recipes * 3
    for place, one in enumerate(made):
        row = written[names[place // 3], one.recipe]
        assert (one.pixels == pixels(out / row["file_name"])).all()
        assert one.mask is not None
        assert (one.mask == pixels(out / row["mask_file_name"])).all()
        assert one.requested == row["attributes"]
        assert one.rejected is None
        for name, measured in one.measured.items():
            known = {inner: value for inner, value in measured.items() if value is not None}
            assert known.items() <= row["metrics"][name].items()


def test_kinds_of_pictures_that_hold_the_same_give_the_same(library: Library) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    tensor = torch.from_numpy(levels).permute(2, 0, 1) / 127.5 - 1

    kinds = [
        levels,
        Image.fromarray(levels),
        tensor,
        np.ascontiguousarray(levels[:, ::-1])[:, ::-1],
    ]
    made = PictureEditor(library, ["smile=1"], device="cpu").edit(kinds)

    assert all((one.pixels == made[0].pixels).all() for one in made[1:])


def test_a_picture_in_other_colours_is_taken_for_what_it_is(
    library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "in" / "p3.png"
    path.parent.mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(levels).save(path, icc_profile=profile_of("p3"))
    out = tmp_path / "out"
    do(library, request(path.parent, out, "smile=1"))

    opened = Image.open(path)
    before = np.asarray(opened).copy()
    one = edit_picture(library, opened, ["smile=1"], device="cpu")

    assert (one.pixels == pixels(out / rows(out)[0]["file_name"])).all()
    assert (np.asarray(opened) == before).all()  # what was given is not changed


def test_outside_the_region_pixels_are_the_pictures(library: Library) -> None:
    levels = np.random.default_rng(3).integers(0, 256, (80, 56, 3), dtype=np.uint8)
    original = RunSettings(output_size=OutputSize.ORIGINAL)

    one = edit_picture(library, levels, ["smile=1"], settings=original, device="cpu")

    # the view is the middle square; what is above and below it is nobody's to touch
    assert one.pixels.shape == levels.shape
    assert (one.pixels[:12] == levels[:12]).all()
    assert (one.pixels[68:] == levels[68:]).all()
    assert one.image.size == (56, 80)


def test_drawn_scales_follow_the_position_alone(library: Library) -> None:
    levels = np.full((32, 32, 3), 90, np.uint8)
    editor = PictureEditor(library, ["smile=uniform(-1,1)"], device="cpu")

    together = editor.edit([levels] * 4)
    apart = editor.edit([levels, levels], positions=[2, 3])

    scales = [one.requested["smile"] for one in together]
    assert len(set(scales)) == 4
    assert [one.requested["smile"] for one in apart] == scales[2:]
    assert (apart[1].pixels == together[3].pixels).all()


def test_what_a_gate_refuses_says_why(library: Library) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    strict = RunSettings(max_uncertainty=0.0)

    one = edit_picture(library, levels, ["smile=1"], settings=strict, device="cpu")

    assert one.rejected is not None
    assert one.rejected.endswith("is over 0")


def test_a_wanted_mask_is_fitted(library: Library) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mouth = library.get_class("tiny").label_names.index("mouth")
    wanted = np.zeros((32, 32), np.int32)
    wanted[16:24, 8:24] = mouth
    fitted = RunSettings(mode=Mode.OPTIMIZE, optimize_steps=2, roi=("mouth",))

    one = edit_picture(library, levels, [], settings=fitted, mask=wanted, device="cpu")

    assert "success_iou" in one.measured
    with pytest.raises(SettingsError, match="needs the wanted masks"):
        edit_picture(library, levels, [], settings=fitted, device="cpu")
    with pytest.raises(SettingsError, match="expected 32 x 32 labels"):
        edit_picture(library, levels, [], settings=fitted, mask=wanted[:8], device="cpu")
    with pytest.raises(SettingsError, match="no other takes them"):
        edit_picture(library, levels, ["smile=1"], mask=wanted, device="cpu")


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((32, 32), np.uint8), r"picture 0: expected a PIL image.*uint8 \[32, 32\]"),
        (np.zeros((32, 32, 3), np.float32), "picture 0: .*float32"),
        (np.zeros((0, 32, 3), np.uint8), r"picture 0: .*\[0, 32, 3\]"),
        ("a.png", "picture 0: .*got str"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "float tensor"),
        (torch.full((3, 32, 32), 2.0), r"values in \[-1, 1\], got 2 to 2"),
        (torch.full((3, 32, 32), float("nan")), r"values in \[-1, 1\], got nan"),
        (Image.new("RGB", (4, 4)), "at least 8 x 8"),
        (Image.new("F", (32, 32)), "floating-point"),
    ],
)
def test_what_is_no_picture_is_refused(library: Library, picture: object, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        edit_picture(library, picture, ["smile=1"], device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edits", "settings", "told"),
    [
        ([], {}, "expected at least one NAME=SCALE"),
        (["smile=-1:1:3"], {}, "they make 3 pictures of one"),
        (["smile=1"], {"count": 3}, "no use for sampled pictures"),
        (["smile=1"], {"boxes": "0" * 64}, "no use for boxes"),
    ],
)
def test_what_is_for_files_is_refused(
    library: Library, edits: list[str], settings: dict[str, object], told: str
) -> None:
    chosen = replace(RunSettings(), **settings)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=told):
        edit_picture(library, np.zeros((32, 32, 3), np.uint8), edits, settings=chosen, device="cpu")


def test_an_edit_that_is_none_is_refused(library: Library) -> None:
    with pytest.raises(RecipeError, match="expected NAME=SCALE"):
        PictureEditor(library, ["smile"], device="cpu")
