"""A whole run in this process, from a folder to an image set."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from editvec.batch.errors import PlanError, RecipeError, RunConflictError, SettingsError
from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.settings import Composite, Mode
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.engine.editing.inversion import EmbedSettings
from editvec.registry.entities.vectors import NewVector
from editvec.registry.errors import RegistryError
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, pixels, request, rows

MakePictures = Callable[..., Path]


def test_a_folder_becomes_a_labelled_image_set(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(names=("a.jpg", "a.png", "sub/b.png"))
    out = tmp_path / "out"

    run = do(library, request(source, out, "smile=0:1:2", "frown=0.5"))

    assert run.state == "completed"
    made = rows(out)
    assert [row["file_name"] for row in made[:3]] == [
        "images/smile+0.00_frown+0.50/a~jpg.png",
        "images/smile+1.00_frown+0.50/a~jpg.png",
        "images/smile+0.00_frown+0.50/a~png.png",
    ]
    assert made[-1] == {
        "file_name": "images/smile+1.00_frown+0.50/sub/b.png",
        "mask_file_name": "masks/smile+1.00_frown+0.50/sub/b.png",
        "source": "sub/b.png",
        "color": "sRGB",
        "recipe": "smile+1.00_frown+0.50",
        "vectors": [
            {"address": "tiny/smile@1", "scale": 1.0},
            {"address": "tiny/frown@1", "scale": 0.5},
        ],
        "attributes": {"smile": 1.0, "frown": 0.5},
        "metrics": made[-1]["metrics"],
        "verdict": "accepted",
        "content_key": made[-1]["content_key"],
    }
    assert set(made[-1]["metrics"]) == {"reconstruction", "leakage"}
    for row in made:
        assert pixels(out / row["file_name"]).shape == (32, 32, 3)
        mask = Image.open(out / row["mask_file_name"])
        assert (mask.mode, mask.size) == ("P", (32, 32))
        assert np.asarray(mask).max() < 6
    summary = json.loads((out / "run.json").read_text())
    assert summary["counts"]["done"] == summary["counts"]["total"] == 6
    assert [label["name"] for label in summary["labels"]][-1] == "teeth"
    assert (out / "report.html").stat().st_size > 0
    assert (out / "contact_sheet.png").stat().st_size > 0
    assert audit(library, run).problems == []


def test_the_set_loads_with_hugging_face_datasets(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    do(library, request(make_pictures(3), out, "smile=0:1:2"))

    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )

    assert len(loaded) == 6
    made = {(row["source"], row["recipe"]): row for row in rows(out)}
    for example in loaded:
        row = made[example["source"], example["recipe"]]
        assert example["attributes"] == row["attributes"]
        assert (np.asarray(example["image"]) == pixels(out / row["file_name"])).all()
        assert (np.asarray(example["mask"]) == pixels(out / row["mask_file_name"])).all()


def test_pixels_outside_the_roi_are_those_of_the_input(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    from editvec.engine.editor import Editor
    from editvec.engine.images.images import to_images

    source, out = make_pictures(4), tmp_path / "out"
    model = library.get_class("tiny")
    editor = Editor.open(library.materialise_bundle(model))
    delta = torch.as_tensor(library.delta(library.get_vector("tiny/frown")))

    do(library, request(source, out, "frown=1"))

    changed = 0
    for row in rows(out):
        before = pixels(source / row["source"])
        different = (before != pixels(out / row["file_name"])).any(axis=-1)
        ws = editor.embed(to_images([before]), EmbedSettings(num_steps=0)).ws
        mask_before = editor.synthesize_with_mask(ws).mask
        mask_after = editor.synthesize_with_mask(ws + delta).mask
        roi = editor.roi(mask_before, mask_after, ["mouth"], dilation=1)[0, 0].numpy()
        assert not different[~roi].any()
        mask = pixels(out / row["mask_file_name"])
        assert (mask == np.where(roi, mask_after[0].numpy(), mask_before[0].numpy())).all()
        changed += int(different.sum())
    assert changed > 0


def test_without_compositing_the_picture_is_the_generator_s(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(2)

    do(library, request(source, tmp_path / "a", "smile=0.5", composite=Composite.NONE))

    (first, second) = rows(tmp_path / "a")
    assert not (pixels(tmp_path / "a" / first["file_name"]) == pixels(source / "0.png")).all()
    assert set(first["metrics"]) == set(second["metrics"]) == {"reconstruction"}


def test_one_bad_image_fails_alone_with_its_reason(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(32), tmp_path / "out"
    whole = (source / "7.png").read_bytes()
    (source / "7.png").write_bytes(whole[: len(whole) // 2])
    (source / "empty.jpg").write_bytes(b"")
    (source / "gone.png").symlink_to("nowhere.png")

    run = do(library, request(source, out, "smile=0:1:2"))

    assert run.state == "completed_with_failures"
    counts = Runs(library.engine).counts(run.id)
    assert (counts.done, counts.failed, counts.total) == (62, 6, 68)
    failed = rows(out, "failed.jsonl")
    assert {row["source"] for row in failed} == {"7.png", "empty.jpg", "gone.png"}
    assert all(row["reason"] and "\n" not in row["reason"] for row in failed)
    assert [row["source"] for row in rows(out)[::2]] == sorted(
        (f"{n}.png" for n in range(32) if n != 7), key=str.encode
    )
    assert audit(library, run).problems == []


def test_a_file_that_changed_since_the_plan_is_recorded_as_such(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    opened = open_run(library, request(source, out, "smile=1"))
    with (source / "0.png").open("ab") as file:
        file.write(b"more")

    run_locally(library, opened.run)

    (failed,) = rows(out, "failed.jsonl")
    assert failed["reason"].startswith("changed since the run was planned: ")


def test_a_finished_command_again_does_nothing(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    wanted = request(make_pictures(2), tmp_path / "out", "smile=1")
    do(library, wanted)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    make_pictures(names=("later.png",))

    again = open_run(library, wanted)

    assert (again.is_new, again.run.is_finished) == (False, True)
    assert again.notes == ["the input folder held 2 images when the run was planned, now 3"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == written


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"edits": ("smile=0.5",)}, r"edits was .*1\.0.*, now .*0\.5"),
        ({"embed": "steps:2"}, 'embed was "encoder", now "steps:2"'),
        ({"composite": Composite.NONE}, 'composite was "feather", now "none"'),
    ],
)
def test_a_command_with_other_parameters_is_refused_and_names_the_field(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    changed: dict[str, Any],
    complaint: str,
) -> None:
    source = make_pictures(1)
    open_run(library, request(source, tmp_path / "out", "smile=1"))

    with pytest.raises(RunConflictError, match=complaint):
        open_run(
            library,
            request(source, tmp_path / "out", *changed.pop("edits", ("smile=1",)), **changed),
        )


def test_the_same_command_keeps_its_versions_when_a_newer_vector_appears(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    wanted = request(make_pictures(1), tmp_path / "out", "smile=1")
    opened = open_run(library, wanted)
    model = library.get_class("tiny")
    delta = np.ones((model.num_ws, model.w_dim), np.float32)
    library.add_vector(NewVector(class_name="tiny", name="smile", roi_labels=("mouth",)), delta)

    again = open_run(library, wanted)

    assert again.run.id == opened.run.id
    assert again.run.plan.recipes[0].edits[0].vector.address == "tiny/smile@1"


def test_outputs_of_nobody_we_know_are_not_touched(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    (tmp_path / "out/images").mkdir(parents=True)

    with pytest.raises(RunConflictError, match="holds images of no run that this library knows"):
        open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1"))


@pytest.mark.parametrize(
    ("edits", "settings", "error", "complaint"),
    [
        ((), {}, RecipeError, "at least one --edit"),
        (("nobody=1",), {}, RegistryError, "nobody"),
        (("smile=3",), {}, RecipeError, "tiny/smile@1 is usable from None to 2.0, got 3"),
        ((), {"mode": Mode.OPTIMIZE, "masks_folder": "."}, SettingsError, "needs --roi"),
        (("smile=1",), {"roi": ("beak",)}, RegistryError, "beak"),
        (
            ("smile=1",),
            {"mode": Mode.OPTIMIZE, "masks_folder": "/nowhere"},
            PlanError,
            "/nowhere is not a folder",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    edits: Sequence[str],
    settings: dict[str, Any],
    error: type[Exception],
    complaint: str,
) -> None:
    with pytest.raises(error, match=complaint):
        open_run(library, request(make_pictures(1), tmp_path / "out", *edits, **settings))

    assert not (tmp_path / "out").exists()
    assert Runs(library.engine).latest() == []


def test_a_forced_scale_is_accepted(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    opened = open_run(
        library, request(make_pictures(1), tmp_path / "out", "smile=3", force_scale=True)
    )

    assert opened.run.plan.recipes[0].name == "smile+3.00"


def test_sampled_images_are_written_edited_and_as_they_are(
    library: Library, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    run = do(library, request(None, out, "smile=1", count=5, seed=3, chunk_size=2))

    made = rows(out)
    assert [row["recipe"] for row in made] == ["source", "smile+1.00"] * 5
    assert {row["source"] for row in made} == {
        f"images/source/seed-3-{n:06d}.png" for n in range(5)
    }
    assert made[0]["attributes"] == {"smile": 0.0}
    assert (made[-1]["seed"], made[-1]["sample"]) == (3, 4)
    assert audit(library, run).problems == []


def test_samples_do_not_depend_on_how_a_run_is_cut(library: Library, tmp_path: Path) -> None:
    do(library, request(None, tmp_path / "a", "smile=1", count=5, chunk_size=2), mini_batch=1)
    do(library, request(None, tmp_path / "b", "smile=1", count=5, chunk_size=5), mini_batch=4)

    for one, other in zip(rows(tmp_path / "a"), rows(tmp_path / "b"), strict=True):
        assert one["content_key"] == other["content_key"]
        first = pixels(tmp_path / "a" / one["file_name"]).astype(int)
        second = pixels(tmp_path / "b" / other["file_name"]).astype(int)
        assert abs(first - second).max() <= 1


def test_refinement_runs_for_whole_mini_batches(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    run = do(
        library,
        request(make_pictures(3), tmp_path / "out", "smile=1", mode=Mode.REFINE, refine_steps=2),
    )

    assert run.state == "completed"
    assert len(rows(tmp_path / "out")) == 3


def test_optimize_pairs_masks_by_name_and_records_what_is_wrong_with_them(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(
        names=(
            "good.png",
            "none.png",
            "sub/size.png",
            "unknown.png",
            "rgb.png",
            "photo.png",
            "turned.png",
        )
    )
    masks = tmp_path / "masks"
    (masks / "sub").mkdir(parents=True)
    wanted = np.zeros((32, 32), np.uint8)
    wanted[8:20, 8:20] = 4
    Image.fromarray(wanted).save(masks / "good.png")
    Image.fromarray(wanted[:5, :7]).save(masks / "sub/size.png")
    Image.fromarray(wanted + 100).save(masks / "unknown.png")
    colors = np.array([label.color for label in library.get_class("tiny").labels], np.uint8)
    Image.fromarray(colors[wanted]).save(masks / "rgb.png")
    Image.fromarray(colors[wanted] + np.uint8([0, 3, 5])).save(masks / "photo.png")
    turned = Image.fromarray(len(colors) - 1 - wanted, "L")
    turned.putpalette(colors[::-1].ravel().tolist())
    turned.save(masks / "turned.png")
    out = tmp_path / "out"

    run = do(
        library,
        request(
            source,
            out,
            mode=Mode.OPTIMIZE,
            masks_folder=str(masks),
            roi=("mouth",),
            optimize_steps=2,
        ),
    )

    assert run.state == "completed_with_failures"
    done = sorted(row["file_name"] for row in rows(out))
    assert done == ["images/optimize/good.png", "images/optimize/rgb.png"]
    reasons = {row["source"]: row["reason"] for row in rows(out, "failed.jsonl")}
    assert reasons["none.png"] == "no mask: expected none.png in the mask folder"
    assert "expected 32 x 32 pixels, got 7 x 5" in reasons["sub/size.png"]
    assert "value 100 at row 0, column 0" in reasons["unknown.png"]
    assert "at row 0, column 0 is that of no part" in reasons["photo.png"]
    assert "but its palette colours it like" in reasons["turned.png"]


def test_inverted_embeddings_are_kept_for_the_next_run(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editvec.engine.editor import Editor

    source = make_pictures(3)
    do(library, request(source, tmp_path / "a", "smile=1", embed="steps:2"))

    def embed(*arguments: Any, **options: Any) -> None:
        raise AssertionError("everything is known already")

    monkeypatch.setattr(Editor, "embed", embed)
    do(library, request(source, tmp_path / "b", "smile=1", embed="steps:2"))

    first, second = rows(tmp_path / "a"), rows(tmp_path / "b")
    assert [row["metrics"] for row in first] == [row["metrics"] for row in second]
    assert first[0]["metrics"]["reconstruction"]["num_steps"] == 2


def test_wanted_masks_ask_for_nothing_where_they_are_ignored(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, masks = make_pictures(3), tmp_path / "masks"
    masks.mkdir()
    wanted = np.zeros((32, 32), np.uint8)
    wanted[8:20, 8:20] = 4
    wanted[:, 14:] = 255
    Image.fromarray(wanted).save(masks / "0.png")
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(masks / "1.png")
    Image.fromarray(np.where(wanted == 4, 255, 0).astype(np.uint8)).save(masks / "2.png")
    out = tmp_path / "out"

    do(
        library,
        request(
            source,
            out,
            mode=Mode.OPTIMIZE,
            masks_folder=str(masks),
            roi=("mouth",),
            optimize_steps=2,
        ),
    )

    assert [row["source"] for row in rows(out)] == ["0.png"]
    reasons = {row["source"]: row["reason"] for row in rows(out, "failed.jsonl")}
    assert "every pixel is ignored" in reasons["1.png"]
    assert "whether that is a part, or counts nowhere, cannot be told" in reasons["2.png"]
