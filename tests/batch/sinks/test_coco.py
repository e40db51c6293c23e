"""COCO annotations: what pycocotools reads is what the masks hold."""

import errno
import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from sqlalchemy import insert

from editvec.batch.errors import DiskFullError
from editvec.batch.recipes.boxes import read_boxes
from editvec.batch.reports.audit import audit
from editvec.batch.runs.models import RunItem
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.sinks import coco
from editvec.batch.sinks.ledger import Entry, Ledger
from editvec.batch.sinks.opening import open_sink
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask
from editvec.registry.tables.database import now, transaction
from tests.support.folder_runs import do, pixels, request, rows

MakePictures = Callable[..., Path]
# of pycocotools itself, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_pycocotools_reads_every_part_of_every_mask(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(names=("a.b.png", "sub/ü.png", "c.png")), tmp_path / "out"
    (source / "broken.png").write_bytes(b"no picture")

    run = do(library, request(source, out, "smile=0:1:2", output="coco", chunk_size=1))

    loaded, made = COCO(str(out / "annotations.json")), rows(out)
    assert len(made) == len(loaded.getImgIds()) == 6
    by_name = {image["file_name"]: image for image in loaded.loadImgs(loaded.getImgIds())}
    for row in made:
        image = by_name[row["file_name"]]
        assert (image["width"], image["height"]) == (32, 32)
        for name in ("source", "recipe", "attributes", "vectors", "content_key", "mask_file_name"):
            assert image[name] == row[name]
        mask = pixels(out / row["mask_file_name"])
        annotations = loaded.loadAnns(loaded.getAnnIds(imgIds=[image["id"]]))
        assert [one["category_id"] for one in annotations] == [
            label + 1 for label in np.unique(mask)
        ]
        for one in annotations:
            assert one["iscrowd"] == 0  # readers leave crowds out of training
            inside = loaded.annToMask(one).astype(bool)
            assert (inside == (mask == one["category_id"] - 1)).all()
            assert one["area"] == coco_mask.area(one["segmentation"]) == inside.sum()
            assert one["bbox"] == coco_mask.toBbox(one["segmentation"]).tolist()
    assert audit(library, run).problems == []
    # our own reader of boxes leaves crowds out
    boxes = read_boxes(out / "annotations.json")
    assert boxes.crowds == 0
    assert sum(map(len, boxes.boxes.values())) == len(loaded.getAnnIds())


def test_categories_are_the_label_scheme(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "out"

    do(library, request(None, out, "smile=1", count=1, output="coco"))

    categories = json.loads((out / "annotations.json").read_text())["categories"]
    labels = library.get_class("tiny").labels
    assert categories == [
        {"id": label.index + 1, "name": label.name, "color": list(label.color)} for label in labels
    ]


def test_ids_are_unique_and_do_not_depend_on_failures(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(3)
    do(library, request(source, tmp_path / "all", "smile=0:1:2", output="coco"))
    (source / "0.png").write_bytes(b"no picture")
    do(library, request(source, tmp_path / "some", "smile=0:1:2", output="coco"))

    whole, partial = (
        json.loads((tmp_path / name / "annotations.json").read_text()) for name in ("all", "some")
    )

    ids = [one["id"] for one in whole["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert [image["id"] for image in whole["images"]] == [1, 2, 3, 4, 5, 6]
    assert [image["id"] for image in partial["images"]] == [3, 4, 5, 6]


def test_a_run_without_images_makes_an_empty_set(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(1), tmp_path / "out"
    (source / "0.png").write_bytes(b"no picture")

    run = do(library, request(source, out, "smile=1", output="coco"))

    loaded = COCO(str(out / "annotations.json"))
    assert (loaded.getImgIds(), loaded.getAnnIds(), len(loaded.getCatIds())) == ([], [], 6)
    assert audit(library, run).problems == []


def test_an_audit_compares_the_annotations_with_the_run(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(2), out, "smile=1", output="coco"))
    path = out / "annotations.json"
    lines = path.read_text().splitlines(keepends=True)

    path.write_text(
        "".join(line for line in lines if '"file_name": "images/smile+1.00/0' not in line)
    )
    without_image = audit(library, run).problems
    path.write_text("".join(lines[: len(lines) // 2]) + "{")
    torn = audit(library, run).problems
    path.unlink()
    gone = audit(library, run).problems

    assert without_image[0].startswith("annotations.json has ")
    assert without_image[0].endswith(" annotations of no image")
    assert without_image[1] == "not in annotations.json: images/smile+1.00/0.png"
    assert torn[0].startswith("annotations.json cannot be read: ")
    assert gone[0].startswith("annotations.json cannot be read: ")


@pytest.mark.parametrize("place", ["annotations.json", "what waits for it"])
def test_a_full_disk_while_annotations_are_written_leaves_none_that_are_torn(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(2), out, "smile=1", output="coco")
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        if bytes(data[:9]) == b'{\n"info":':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(descriptor, data)

    def no_file(**options: object) -> IO[bytes]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if place == "annotations.json":
            patch.setattr(os, "write", write)
        else:
            patch.setattr(tempfile, "TemporaryFile", no_file)
        with pytest.raises(DiskFullError, match=r"no space left for .*annotations\.json"):
            do(library, wanted)
    assert not (out / "annotations.json").exists()

    run = do(library, wanted)

    assert run.state == "completed"
    assert len(COCO(str(out / "annotations.json")).getImgIds()) == 2
    assert audit(library, run).problems == []


def test_an_item_whose_mask_was_removed_has_no_annotations_and_the_audit_says_so(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import editvec.batch.reports.completion

    out = tmp_path / "out"
    wanted = request(make_pictures(2), out, "smile=1", output="coco")

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(editvec.batch.reports.completion, "write_report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            do(library, wanted)
    (out / "masks/smile+1.00/0.png").unlink()

    run = do(library, wanted)

    assert run.state == "completed"
    assert audit(library, run).problems == [
        "missing: masks/smile+1.00/0.png",
        "not in annotations.json: images/smile+1.00/0.png",
    ]


def test_the_file_says_of_which_run_it_is(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "out"

    run = do(library, request(None, out, "smile=1", count=1, output="coco"))

    written = json.loads((out / "annotations.json").read_text())
    assert list(written) == ["info", "licenses", "categories", "images", "annotations"]
    assert written["licenses"] == []
    assert written["info"] == {
        "description": f"run {run.id} of class tiny@1",
        "version": run.engine_version,
        "year": run.created_at.year,
        "date_created": run.created_at.isoformat(),
    }


def test_how_many_records_are_in_memory_changes_nothing(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(3), out, "smile=0:1:2", output="coco"))
    whole = (out / "annotations.json").read_bytes()
    (out / "annotations.json").unlink()
    monkeypatch.setattr(coco, "_ROWS_AT_A_TIME", 1)
    monkeypatch.setattr(coco, "_BLOCK", 7)

    sink = open_sink(run, library.get_class("tiny").labels, writer_name="test")
    sink.write_manifests(Runs(library.engine), {})

    assert (out / "annotations.json").read_bytes() == whole


@pytest.mark.parametrize("change", ["key", "twice", "only here"])
def test_an_audit_names_images_that_differ(
    library: Library, make_pictures: MakePictures, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(2), out, "smile=1", output="coco"))
    path, name = out / "annotations.json", "images/smile+1.00/0.png"
    text = path.read_text()
    key = json.loads(text)["images"][0]["content_key"]

    if change == "key":
        path.write_text(text.replace(key, "0" * 64))
        expected = [f"of another content key in annotations.json: {name}"]
    elif change == "only here":
        path.write_text(text.replace(f'"{name}"', '"images/x.png"'))
        expected = [f"not in annotations.json: {name}", "only in annotations.json: images/x.png"]
    else:
        line = next(line for line in text.splitlines(keepends=True) if f'"{name}"' in line)
        path.write_text(text.replace(line, line + line))
        expected = []

    assert audit(library, run).problems == expected


def test_an_audit_counts_annotations_of_no_image(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = do(library, request(None, out, "smile=1", count=1, output="coco"))
    path = out / "annotations.json"
    written = json.loads(path.read_text())
    (first, *_) = (image["id"] for image in written["images"])
    count = sum(one["image_id"] == first for one in written["annotations"])
    assert 0 < count < len(written["annotations"])

    path.write_text(path.read_text().replace(f'"image_id": {first},', '"image_id": 999,'))

    problem = f"annotations.json has {count} annotations of no image"
    assert audit(library, run).problems == [problem]


@pytest.mark.parametrize("output", ["imagefolder", "coco", "webdataset"])
def test_an_audit_of_a_run_that_has_not_begun_misses_nothing(
    library: Library, make_pictures: MakePictures, tmp_path: Path, output: str
) -> None:
    opened = open_run(
        library, request(make_pictures(1), tmp_path / "out", "smile=1", output=output)
    )

    assert audit(library, opened.run).problems == []


def test_a_full_temporary_folder_is_no_fault_of_the_annotations(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = do(library, request(None, tmp_path / "out", "smile=1", count=1, output="coco"))
    add = Ledger.add

    def full(self: Ledger, entries: Iterable[Entry]) -> int:
        taken = list(entries)
        if any(entry.side == "annotations.json" for entry in taken):
            raise DiskFullError("folder for temporary files: full")
        return add(self, taken)

    monkeypatch.setattr(Ledger, "add", full)

    with pytest.raises(DiskFullError, match="folder for temporary files"):
        audit(library, run)


@pytest.mark.slow
def test_annotations_need_no_more_memory_for_more_items(library: Library, tmp_path: Path) -> None:
    labels = library.get_class("tiny").labels
    mask = encode_mask(np.arange(60).reshape(6, 10) // 7 % len(labels), labels)
    runs, peaks = Runs(library.engine), []
    for count in (2500, 5000):
        out = tmp_path / str(count)
        run = open_run(library, request(None, out, count=count, output="coco")).run
        (out / "mask.png").write_bytes(mask)
        row = {"run_id": run.id, "recipe_position": 0, "state": "done", "finished_at": now()}
        row |= {"content_key": "0" * 64, "file_name": "image.png", "mask_file_name": "mask.png"}
        with transaction(library.engine) as session:
            session.execute(insert(RunItem), [{**row, "position": n} for n in range(count)])
        sink = open_sink(run, labels, writer_name="test")

        tracemalloc.start()
        sink.write_manifests(runs, {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

        with (out / "annotations.json").open() as lines:
            assert sum('"category_id"' in line for line in lines) == count * len(labels)
    assert peaks[1] < 1.3 * peaks[0]
