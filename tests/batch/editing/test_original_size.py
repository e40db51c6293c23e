"""Outputs at the input picture's own size: its own pixels, and the change inside the ROI."""

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.editing.content_key import content_key
from editvec.batch.editing.mini_batches import PictureChange
from editvec.batch.editing.original_size import Pictures
from editvec.batch.editing.pixel_budget import BYTES_PER_PIXEL, PixelBudget
from editvec.batch.editing.reading import decode
from editvec.batch.errors import SettingsError
from editvec.batch.recipes.boxes import BoxFile, read_boxes
from editvec.batch.recipes.settings import Composite, Fit, Mode, Output, OutputSize, RunSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.engine.images.images import read_image
from editvec.engine.images.views import put_labels, view_of
from editvec.registry.labels.label import IGNORED
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask, read_mask
from tests.support.folder_runs import do, pixels, read_shards, request, rows

NO_PARTS = LabelScheme(labels=())

ORIGINAL = OutputSize.ORIGINAL
RECIPE = "smile+1.00"
Make = Callable[..., Path]


def photo(path: Path, width: int, height: int) -> None:
    """A picture with detail at every scale, within the range that leaves budget for a change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(width * 1000 + height)
    coarse = Image.fromarray(random.integers(60, 190, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    noise = random.integers(-8, 9, (height, width, 3))
    Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)).save(path)


def run_over(
    library: Library, source: Path, target: Path, boxes: BoxFile | None = None, **settings: Any
) -> RunRecord:
    wanted = request(source, target, "smile=1", **{"output_size": ORIGINAL, **settings})
    return do(library, dataclasses.replace(wanted, boxes=boxes))


def region_of(library: Library, run: RunRecord, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Where an input may change: the up-sampled parts, before or after, with their margin."""
    [planned] = Runs(library.engine).inputs(run.id, position, 1)
    decoded = decode(run.plan, planned, resolution=32, scheme=NO_PARTS)
    assert decoded.source_size is not None
    assert decoded.view is not None
    seen = np.zeros(decoded.source_size, np.uint8)
    put_labels(np.ones((32, 32), np.uint8), decoded.view, seen)
    return seen.astype(bool), read_image(run.plan.input_folder / planned.source)  # type: ignore[operator]


# --- settings ---


def test_the_edit_as_it_is_has_no_original_size() -> None:
    with pytest.raises(SettingsError, match=r"original adds the change .* not none"):
        RunSettings(output_size=ORIGINAL, composite=Composite.NONE)


def test_samples_have_no_original_size() -> None:
    with pytest.raises(SettingsError, match="sampled images have neither"):
        RunSettings(output_size=ORIGINAL, count=3)


def test_settings_of_an_older_plan_are_those_of_the_generator() -> None:
    stored = RunSettings().to_json()
    for name in ("output_size", "boxes", "box_margin"):
        del stored[name]

    assert RunSettings.from_json(json.loads(json.dumps(stored))) == RunSettings()
    assert RunSettings.from_json(
        json.loads(json.dumps(RunSettings(output_size=ORIGINAL).to_json()))
    ) == RunSettings(output_size=ORIGINAL)


def test_content_keys_know_the_size_only_where_it_is_the_original(
    library: Library, tmp_path: Path, make_pictures: Make
) -> None:
    plan = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run.plan
    runs = Runs(library.engine)
    [planned] = runs.inputs(runs.latest()[0].id, 0, 1)
    one = decode(plan, planned, resolution=32, scheme=NO_PARTS)
    settings = dataclasses.replace(plan.settings, output_size=ORIGINAL)
    original = dataclasses.replace(plan, settings=settings)
    # taken with the release before there were sizes and boxes
    older = dataclasses.replace(one, source_size=None, view=None)

    assert content_key(plan, 0, one) == content_key(plan, 0, older)
    assert content_key(plan, 0, one) != content_key(original, 0, one)


# --- pictures ---


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("composite", [Composite.FEATHER, Composite.GRADIENT])
def test_outputs_have_their_pictures_sizes_and_the_pixels_outside(
    library: Library, tmp_path: Path, fit: Fit, composite: Composite
) -> None:
    sizes = [(120, 90), (70, 150), (32, 32), (20, 28)]
    for number, size in enumerate(sizes):
        photo(tmp_path / "in" / f"{number}.png", *size)

    run = run_over(library, tmp_path / "in", tmp_path / "out", fit=fit, composite=composite)

    assert run.state == "completed"
    for number, ((width, height), row) in enumerate(
        zip(sizes, rows(tmp_path / "out"), strict=True)
    ):
        after = pixels(tmp_path / "out" / row["file_name"])
        mask = read_mask(tmp_path / "out" / row["mask_file_name"])
        assert after.shape == (height, width, 3)
        assert mask.shape == (height, width)
        assert (row["source_width"], row["source_height"]) == (width, height)
        seen, before = region_of(library, run, number)
        assert (after[~seen] == before[~seen]).all()
        assert (mask[~seen] == 0).all()
        assert len(np.unique(mask[seen])) > 1
        changed = (after != before).any(axis=2)
        assert 0 < changed.mean() < 0.9  # of what may change, and nothing else


def test_pixels_outside_the_edited_parts_are_the_input_s(library: Library, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "0.png", 320, 240)
    run = run_over(library, tmp_path / "in", tmp_path / "out")
    small = run_over(library, tmp_path / "in", tmp_path / "small", output_size=OutputSize.GENERATOR)

    [row], [small_row] = rows(tmp_path / "out"), rows(tmp_path / "small")
    after, before = pixels(tmp_path / "out" / row["file_name"]), pixels(tmp_path / "in" / "0.png")
    # where the small output differs from its input is inside the region
    decoded = decode(
        small.plan, Runs(library.engine).inputs(small.id, 0, 1)[0], resolution=32, scheme=NO_PARTS
    )
    differs = (pixels(tmp_path / "small" / small_row["file_name"]) != decoded.pixels).any(axis=2)
    region = np.zeros((240, 320), np.uint8)
    grown = differs.copy()
    for axis in (0, 1):  # the border of the region may by chance not differ
        grown = grown | np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
    put_labels(grown.astype(np.uint8), view_of(240, 320, 32), region)
    assert 0 < region.mean() < 1
    assert (after[region == 0] == before[region == 0]).all()
    assert (after[region == 1] != before[region == 1]).any()
    # the mask is that of the small output, enlarged
    enlarged = np.zeros((240, 320), np.uint8)
    put_labels(
        read_mask(tmp_path / "small" / small_row["mask_file_name"]),
        view_of(240, 320, 32),
        enlarged,
    )
    assert (read_mask(tmp_path / "out" / row["mask_file_name"]) == enlarged).all()
    assert run.plan.settings.to_json()["output_size"] == "original"


def test_objects_are_edited_in_place(library: Library, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "0.png", 400, 300)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "path,x,y,width,height,label\n0.png,10,10,90,100,left\n0.png,310,200,120,150,corner\n"
    )

    run = run_over(library, tmp_path / "in", tmp_path / "out", read_boxes(boxes))

    before = pixels(tmp_path / "in" / "0.png")
    made = rows(tmp_path / "out")
    assert [row["file_name"] for row in made] == [
        f"images/{RECIPE}/0~box1.png",
        f"images/{RECIPE}/0~box2.png",
    ]
    for position, row in enumerate(made):
        after = pixels(tmp_path / "out" / row["file_name"])
        seen, _ = region_of(library, run, position)
        assert after.shape == before.shape
        assert (after[~seen] == before[~seen]).all()
        assert (after != before).any()
        mask = read_mask(tmp_path / "out" / row["mask_file_name"])
        assert (mask[~seen] == 0).all()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["boxes"]


@pytest.mark.parametrize("name", ["palette.png", "alpha.png", "deep.png", "cmyk.jpg"])
def test_every_kind_of_picture_comes_back_in_rgb(
    library: Library, tmp_path: Path, name: str
) -> None:
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    channels = {"palette.png": 3, "alpha.png": 4, "cmyk.jpg": 4}.get(name)
    if channels is None:
        image = Image.fromarray(random.integers(0, 65536, (60, 80)).astype(np.uint16))
    else:
        values = random.integers(0, 256, (60, 80, channels), dtype=np.uint8)
        image = Image.fromarray(
            values, {3: "RGB", 4: "CMYK" if "cmyk" in name else "RGBA"}[channels]
        )
        image = image.quantize(64) if "palette" in name else image
    image.save(tmp_path / "in" / name)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"path,x,y,width,height\n{name},40,20,30,30\n")

    run = run_over(library, tmp_path / "in", tmp_path / "out", read_boxes(boxes))

    [row] = rows(tmp_path / "out")
    after = pixels(tmp_path / "out" / row["file_name"])
    seen, before = region_of(library, run, 0)
    assert (after[~seen] == before[~seen]).all()


def test_a_wanted_mask_of_the_picture_s_size_labels_what_is_around_the_view(
    library: Library, tmp_path: Path
) -> None:
    labels = library.get_class("tiny").labels
    photo(tmp_path / "in" / "a.png", 120, 80)
    wanted = np.full((80, 120), 3, np.uint8)
    wanted[30:50, 50:70] = 2
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(encode_mask(wanted, labels))

    run = run_over(
        library, tmp_path / "in", tmp_path / "out",
        mode=Mode.OPTIMIZE, optimize_steps=1, masks_folder=str(tmp_path / "masks"),
    )  # fmt: skip

    assert run.state == "completed"
    [row] = rows(tmp_path / "out")
    mask = read_mask(tmp_path / "out" / row["mask_file_name"])
    assert (mask[:, :20] == 3).all()
    assert (mask[:, 100:] == 3).all()


@pytest.mark.parametrize("fit", list(Fit))
def test_a_mask_is_fitted_as_its_picture_is(library: Library, tmp_path: Path, fit: Fit) -> None:
    labels = library.get_class("tiny").labels
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[20:40, 45:75] = 255
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    mask = (picture[:, :, 0] > 0).astype(np.uint8)
    (tmp_path / "masks" / "a.png").write_bytes(encode_mask(mask, labels))
    opened = open_run(
        library,
        request(
            tmp_path / "in", tmp_path / "out", "smile=1",
            mode=Mode.OPTIMIZE, fit=fit, masks_folder=str(tmp_path / "masks"),
        ),
    )  # fmt: skip

    [planned] = Runs(library.engine).inputs(opened.run.id, 0, 1)
    decoded = decode(
        opened.run.plan, planned, resolution=32, scheme=library.get_class("tiny").scheme
    )

    assert decoded.reason is None
    assert decoded.pixels is not None
    assert decoded.wanted_mask is not None
    white = decoded.pixels[:, :, 0] > 127
    assert ((decoded.wanted_mask == 1) == white).mean() > 0.97


def test_every_box_may_have_a_mask_of_its_own(library: Library, tmp_path: Path) -> None:
    labels = library.get_class("tiny").labels
    photo(tmp_path / "in" / "a.png", 120, 80)
    (tmp_path / "masks").mkdir()
    for number in (1, 2):
        mask = np.full((32, 32), number, np.uint8)
        (tmp_path / "masks" / f"a~box{number}.png").write_bytes(encode_mask(mask, labels))
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x,y,width,height\na.png,0,0,30,30\na.png,50,20,30,30\n")
    wanted = request(
        tmp_path / "in", tmp_path / "out", "smile=1",
        mode=Mode.OPTIMIZE, masks_folder=str(tmp_path / "masks"),
    )  # fmt: skip
    run = open_run(library, dataclasses.replace(wanted, boxes=read_boxes(boxes))).run

    decoded = [
        decode(run.plan, one, resolution=32, scheme=library.get_class("tiny").scheme)
        for one in Runs(library.engine).inputs(run.id, 0, 2)
    ]

    assert [np.unique(one.wanted_mask).tolist() for one in decoded] == [[1], [2]]


# --- kinds of outputs ---


def test_coco_annotations_are_of_the_pictures_sizes(library: Library, tmp_path: Path) -> None:
    for size in ((120, 90), (50, 70)):
        photo(tmp_path / "in" / f"{size[0]}.png", *size)

    run_over(library, tmp_path / "in", tmp_path / "out", output=Output.COCO)

    coco = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [(one["width"], one["height"]) for one in coco["images"]] == [(120, 90), (50, 70)]
    sizes = {one["id"]: [one["height"], one["width"]] for one in coco["images"]}
    assert coco["annotations"]
    assert all(one["segmentation"]["size"] == sizes[one["image_id"]] for one in coco["annotations"])


# `webdataset` leaves the shards that it read to the garbage collector
@pytest.mark.filterwarnings("ignore:unclosed file.*tar:ResourceWarning")
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in.*\.tar:pytest.PytestUnraisableExceptionWarning"
)
def test_shards_hold_pictures_of_several_sizes(library: Library, tmp_path: Path) -> None:
    for size in ((120, 90), (50, 70)):
        photo(tmp_path / "in" / f"{size[0]}.png", *size)

    run_over(library, tmp_path / "in", tmp_path / "out", output=Output.WEBDATASET)

    samples = read_shards(tmp_path / "out")
    assert {
        (sample["record"]["source_width"], sample["record"]["source_height"])
        for sample in samples.values()
    } == {(120, 90), (50, 70)}


# --- what is held, and what changes meanwhile ---


def finisher(
    library: Library, tmp_path: Path, budget: PixelBudget | None = None
) -> tuple[Pictures, Any]:
    run = open_run(
        library, request(tmp_path / "in", tmp_path / "out", "smile=1", output_size=ORIGINAL)
    ).run
    [planned] = Runs(library.engine).inputs(run.id, 0, 1)
    one = decode(run.plan, planned, resolution=32, scheme=NO_PARTS)
    scheme = library.get_class("tiny").scheme
    return Pictures(run.plan, scheme, resolution=32, budget=budget or PixelBudget()), one


def test_a_file_that_changed_while_it_was_edited_fails(library: Library, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", 60, 60)
    pictures, one = finisher(library, tmp_path)
    other = dataclasses.replace(one, digest="0" * 64)
    variant = _Variant()

    with (
        pytest.raises(Exception, match="changed while it was edited"),
        pictures.of(other, variant, 0),
    ):  # type: ignore[arg-type]
        pass
    (tmp_path / "in" / "a.png").unlink()
    with (
        pytest.raises(Exception, match="cannot be read again: No such"),
        pictures.of(one, variant, 0),
    ):  # type: ignore[arg-type]
        pass


def test_only_as_many_pictures_as_there_is_room_are_held_at_once(
    library: Library, tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png", 60, 60)
    pictures, one = finisher(library, tmp_path, PixelBudget(60 * 60 * BYTES_PER_PIXEL * 2))
    held, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(2)

    def hold() -> None:
        nonlocal held, most
        with pictures.of(one, _Variant(), 0):  # type: ignore[arg-type]
            with lock:
                held += 1
                most = max(most, held)
            together.wait(10)  # both that have budget are here at the same time
            with lock:
                held -= 1

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (held, most) == (0, 2)


class _Variant:
    """A variant of one picture that changes nothing."""

    masks = np.zeros((1, 32, 32), np.int64)
    changes = [PictureChange(np.zeros((3, 32, 32), np.float32), np.zeros((32, 32), bool))]  # noqa: RUF012


@pytest.mark.parametrize("output", [Output.IMAGEFOLDER, Output.COCO])
def test_ignored_pixels_of_a_wanted_mask_stay_ignored_around_the_view(
    library: Library, tmp_path: Path, output: Output
) -> None:
    labels = library.get_class("tiny").labels
    photo(tmp_path / "in" / "a.png", 120, 80)
    wanted = np.full((80, 120), 3, np.uint8)
    wanted[30:50, 50:70] = 2
    wanted[:, :20] = wanted[10:20] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(wanted).save(tmp_path / "masks" / "a.png")

    run = run_over(
        library, tmp_path / "in", tmp_path / "out", output=output,
        mode=Mode.OPTIMIZE, optimize_steps=1, masks_folder=str(tmp_path / "masks"),
    )  # fmt: skip

    assert run.state == "completed"
    [row] = rows(tmp_path / "out")
    mask = read_mask(tmp_path / "out" / row["mask_file_name"], labels)
    assert (mask[:, :20] == IGNORED).all()
    assert (mask[20:, 100:] == 3).all()
    assert (mask[:, 20:100] >= 0).all()
    if output is Output.COCO:
        content = json.loads((tmp_path / "out" / "annotations.json").read_text())
        assert all(part["category_id"] > 0 for part in content["annotations"])
        areas = sum(part["area"] for part in content["annotations"])
        assert areas == (mask != IGNORED).sum()
