"""Image folders in every format: what `datasets`, Pillow and an audit make of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.errors import RunConflictError
from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library
from editvec.registry.release import engine_version
from editvec.whole_files import digest_of_file
from tests.support.folder_runs import do, pixels, provenance_in, request, rows

MakePictures = Callable[..., Path]


def format_of(path: Path) -> str | None:
    with Image.open(path) as image:
        return image.format


@pytest.mark.parametrize(
    ("image_format", "suffix", "kind"),
    [("png", "png", "PNG"), ("jpeg:80", "jpg", "JPEG"), ("webp:lossless", "webp", "WEBP")],
)
def test_every_image_tells_its_vectors_its_source_and_its_key(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    image_format: str,
    suffix: str,
    kind: str,
) -> None:
    source, out = make_pictures(2), tmp_path / "out"

    run = do(library, request(source, out, "smile=0.5", "frown=1", image_format=image_format))

    for row in rows(out):
        assert row["file_name"].endswith(f".{suffix}")
        assert format_of(out / row["file_name"]) == kind
        assert format_of(out / row["mask_file_name"]) == "PNG"
        program, provenance = provenance_in((out / row["file_name"]).read_bytes())
        assert program == provenance["edited_by"] == engine_version()
        assert provenance["vectors"] == [
            {"address": f"tiny/{name}@1", "delta_digest": digest, "scale": scale}
            for name, digest, scale in (
                ("smile", library.get_vector("tiny/smile").delta_digest, 0.5),
                ("frown", library.get_vector("tiny/frown").delta_digest, 1.0),
            )
        ]
        assert provenance["source_digest"] == digest_of_file(source / row["source"])
        assert provenance["generator_digest"] == run.plan.generator_digest
        assert provenance["content_key"] == row["content_key"]
    assert audit(library, run).problems == []


def test_only_another_format_than_png_changes_content_keys(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(1)
    keys = []
    for number, settings in enumerate(
        [{}, {"image_format": "png"}, {"image_format": "jpeg"}, {"image_format": "jpeg:80"}]
    ):
        do(library, request(source, tmp_path / str(number), "smile=1", **settings))
        keys.append(rows(tmp_path / str(number))[0]["content_key"])

    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_pictures_without_loss_are_the_same_in_every_format(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(2)
    made = {}
    for image_format in ("png", "webp:lossless"):
        out = tmp_path / image_format.partition(":")[0]
        do(library, request(source, out, "smile=1", image_format=image_format))
        made[image_format] = [pixels(out / row["file_name"]) for row in rows(out)]

    for one, other in zip(*made.values(), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"image_format": "jpeg"}, 'image_format was "png", now "jpeg:95"'),
        ({"output": "coco"}, 'output was "imagefolder", now "coco"'),
    ],
)
def test_a_run_is_not_continued_in_another_format(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    changed: dict[str, Any],
    complaint: str,
) -> None:
    source = make_pictures(1)
    open_run(library, request(source, tmp_path / "out", "smile=1"))

    with pytest.raises(RunConflictError, match=complaint):
        open_run(library, request(source, tmp_path / "out", "smile=1", **changed))


def test_jpegs_load_with_hugging_face_datasets_with_their_labels_and_masks(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    names = ("a.b.c.png", "sub/ü 😀.png", "c.png", "c.jpg")
    do(library, request(make_pictures(names=names), out, "smile=0:1:2", image_format="jpeg"))

    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )

    made = {(row["source"], row["recipe"]): row for row in rows(out)}
    assert len(loaded) == len(made) == 8
    assert set(loaded.column_names) == {
        *("image", "mask", "source", "recipe", "vectors", "attributes"),
        *("metrics", "verdict", "content_key", "color"),
    }
    for example in loaded:
        row = made[example["source"], example["recipe"]]
        assert example["attributes"] == row["attributes"]
        assert example["vectors"] == row["vectors"]
        assert (np.asarray(example["image"]) == pixels(out / row["file_name"])).all()
        assert example["mask"].mode == "P"
        assert (np.asarray(example["mask"]) == pixels(out / row["mask_file_name"])).all()


def test_samples_in_another_format_name_their_unedited_images(
    library: Library, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    run = do(library, request(None, out, "smile=1", count=2, image_format="webp"))

    for row in rows(out):
        assert (out / row["source"]).suffix == ".webp"
        assert (out / row["source"]).is_file()
    _, provenance = provenance_in((out / rows(out)[0]["file_name"]).read_bytes())
    assert rows(out)[0]["recipe"] == SOURCE_RECIPE
    assert provenance["vectors"] == []
    assert Runs(library.engine).counts(run.id).done == 4
