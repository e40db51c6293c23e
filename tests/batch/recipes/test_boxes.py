"""Boxes of objects in pictures: the files that name them, and the items that they become."""

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.editing.content_key import content_key
from editvec.batch.editing.reading import decode
from editvec.batch.errors import PlanError, RunConflictError
from editvec.batch.recipes.boxes import Box, box_path, read_boxes
from editvec.batch.recipes.settings import Fit
from editvec.batch.runs.planning import OpenedRun, RunRequest, open_run
from editvec.batch.runs.retry import retry
from editvec.batch.runs.store import Runs
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, pixels, request, rows

NO_PARTS = LabelScheme(labels=())

EXIF_ORIENTATION = 0x0112
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of boxes."""

    def write_text(text: str) -> Path:
        path = tmp_path / "boxes"
        path.write_text(text)
        return path

    return write_text


def photo(path: Path, width: int, height: int, *, orientation: int | None = None) -> None:
    """A smooth picture of random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(width).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    image.save(path, exif=exif)


def boxed(source: Path, target: Path, boxes: Path, *edits: str, **settings: Any) -> RunRequest:
    wanted = request(source, target, *(edits or ("smile=1",)), **settings)
    return dataclasses.replace(wanted, boxes=read_boxes(boxes))


def opened_inputs(library: Library, opened: OpenedRun) -> list[tuple[str, str]]:
    runs = Runs(library.engine)
    return [(one.source, one.output_name) for one in runs.inputs(opened.run.id, 0, 100)]


# --- files ---


def test_csv_names_boxes_with_labels(write: Write) -> None:
    path = write(
        '\ufeffLabel,file_name,x,y,width,height\nface,"a,b.jpg",1,2.5,30,40\n\n,c.png,-1,0,9,9\n'
    )

    found = read_boxes(path).boxes

    assert found == {
        b"a,b.jpg": [Box(1, 2.5, 30, 40, "face")],
        b"c.png": [Box(-1, 0, 9, 9)],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,x,y,width\n", "line 1: expected the columns .* it has no height"),
        ("x,y,width,height\n", "line 1: .* it has no file_name"),
        ("path,x,y,width,height\na.png,1,2,3,4\na.png,1,2,wide,4\n", "line 3: width: .* 'wide'"),
        ("path,x,y,width,height\na.png,1,2,nan,4\n", "line 2: width: expected a number"),
        ("path,x,y,width,height\na.png,1,2,3\n", "line 2: expected 5 columns, got 4"),
        ("path,x,y,width,height\n,1,2,3,4\n", "line 2: path is empty"),
        ("path,x,y,width,height\n", "no box in it"),
        ("", "line 1: expected the columns"),
        ('{"images": [],\n "annotations": [}', "line 2"),
        ("[]", "expected COCO annotations"),
        ('{"images": []}', "annotations: expected a list"),
        (
            '{"images": [], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}',
            r"annotations\[0\]: no image has the id 1",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], '
            '"annotations": [{"image_id": 1, "bbox": 4}]}',
            r"annotations\[0\]: bbox: expected",
        ),
        *(
            (
                json.dumps(
                    {
                        "images": [{"id": 1, "file_name": "a"}],
                        "annotations": [{"image_id": 1, "bbox": bbox}],
                    }
                ),
                rf"annotations\[0\]: bbox: expected {wanted}",
            )
            for bbox, wanted in (
                ([1, 2, 3], r"\[x, y, width, height\], got \[1, 2, 3\]"),
                ([1, 2, 3, 4, 5], r"\[x, y, width, height\], got"),
                ([], r"\[x, y, width, height\], got"),
                ("1234", r"\[x, y, width, height\], got '1234'"),
                ({"x": 1, "y": 2, "w": 3, "h": 4}, r"\[x, y, width, height\], got"),
                (None, r"\[x, y, width, height\], got None"),
                ([1, 2, 3, True], "a number of pixels, got True"),
                ([1, 2, 3, None], "a number of pixels, got None"),
                ([1, 2, 3, [4]], r"a number of pixels, got \[4\]"),
                ([1, 2, 3, 1e9 + 1], "a number of pixels, got 1000000001"),
                ([-1e9 - 1, 2, 3, 4], "a number of pixels, got -1000000001"),
            )
        ),
        (
            '{"images": [{"id": 1, "file_name": "\\ud800"}], '
            '"annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}',
            "can be the name of no file",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "b"}, '
            '{"id": 1, "file_name": "c"}], "annotations": []}',
            r"images\[2\]: the id 1 is that of images\[0\] already: 'a' and 'c'",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "a"}], '
            '"annotations": []}',
            r"images\[1\]: the id 1 is that of images\[0\] already",
        ),
        (
            '{"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], '
            '"annotations": []}',
            r"categories\[1\]: the id 1 is that of categories\[0\] already: 'a' and 'b'",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": 2.5, "height": 3}], '
            '"annotations": []}',
            r"images\[0\]: height and width: expected numbers of pixels",
        ),
    ],
)
def test_what_is_no_file_of_boxes_is_refused_by_its_line(
    write: Write, text: str, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        read_boxes(write(text))


def test_coco_annotations_name_boxes_with_categories(write: Write) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "sub/é.jpg"}, {"id": 8, "file_name": "./b.png"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 8, "bbox": [0, 0, 10, 10], "category_id": 1, "iscrowd": 1},
            {"id": 2, "image_id": 8, "bbox": [1, 2, 30.5, 40], "category_id": 1},
            {"id": 3, "image_id": 7, "bbox": [0, 0, 10, 10]},
        ],
    }

    found = read_boxes(write(json.dumps(coco)))

    assert found.boxes == {
        b"b.png": [Box(1, 2, 30.5, 40, "dog", "2")],
        "sub/é.jpg".encode(): [Box(0, 0, 10, 10, None, "3")],
    }
    assert found.crowds == 1


def test_categories_that_are_listed_twice_alike_are_one(write: Write) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 1, "name": "dog"}],
        "annotations": [{"image_id": 7, "bbox": [0, 0, 10, 10], "category_id": 1}],
    }

    assert read_boxes(write(json.dumps(coco))).boxes == {b"a.jpg": [Box(0, 0, 10, 10, "dog")]}


def test_files_that_are_not_utf_8_are_read_by_their_mark_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    text = "path,x,y,width,height,label\na.png,1,2,30,40,Ada\ncafé.png,1,2,30,40,Zoë\n"

    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        found = read_boxes(path).boxes
        assert found["café.png".encode()] == [Box(1, 2, 30, 40, "Zoë")]
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PlanError, match=r"boxes.csv, line 3: expected text in UTF-8.* 0xe9"):
        read_boxes(path)
    path.write_bytes(text.encode("utf-16") + b"x")
    with pytest.raises(PlanError, match="begins like UTF-16 and is none"):
        read_boxes(path)


def test_the_digest_is_of_what_is_said_and_not_of_the_format(write: Write) -> None:
    first = read_boxes(write("file_name,x,y,width,height\na.png,1,2,30,40\n")).digest
    same = read_boxes(write("height,width,y,x,path\n40,30,2,1,./a.png\n")).digest
    other = read_boxes(write("file_name,x,y,width,height\na.png,1,2,30,41\n")).digest

    assert first == same != other


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"boxes .*none\.csv: No such file"):
        read_boxes(tmp_path / "none.csv")


def test_a_box_has_a_path_of_its_own() -> None:
    assert box_path(b"a.b/photo.v2.jpg", 3) == b"a.b/photo.v2~box3.jpg"
    assert box_path(b"a.b/.png", 1) == b"a.b/.png~box1"


# --- inputs ---


def test_every_box_is_an_input_in_a_stable_order(
    library: Library, tmp_path: Path, write: Write
) -> None:
    for name in ("b.png", "a.jpg", "a.png", "bare.png", "a~box1.png"):
        photo(tmp_path / "in" / name, 60, 40)
    header = "file_name,x,y,width,height\n"
    lines = ["b.png,9,9,20,20", "a.png,0,0,20,20", "b.png,1,1,20,20", "gone.png,1,1,20,20",
             "a~box1.png,1,1,20,20", "a.jpg,1,1,20,20"]  # fmt: skip

    opened = open_run(
        library, boxed(tmp_path / "in", tmp_path / "out", write(header + "\n".join(lines)))
    )

    assert opened_inputs(library, opened) == [
        ("a.jpg", "a~box1~jpg"),
        ("a.png", "a~box1~png"),
        ("a~box1.png", "a~box1~box1"),
        ("b.png", "b~box1"),
        ("b.png", "b~box2"),
    ]
    assert opened.notes == [
        "1 images without a box are left out",
        "boxes of 1 pictures that are not in the input folder are left out",
    ]


def test_boxes_of_no_picture_in_the_folder_are_refused(
    library: Library, tmp_path: Path, write: Write
) -> None:
    photo(tmp_path / "in" / "a.png", 40, 40)
    boxes = write("path,x,y,width,height\nother/a.png,0,0,9,9\n")

    with pytest.raises(PlanError, match="none of the 1 pictures that they name is among the 1"):
        open_run(library, boxed(tmp_path / "in", tmp_path / "out", boxes))


def test_a_run_goes_on_with_its_own_boxes_only(
    library: Library, tmp_path: Path, write: Write
) -> None:
    photo(tmp_path / "in" / "a.png", 40, 40)
    line = "path,x,y,width,height\na.png,0,0,{},20\n"
    first = open_run(library, boxed(tmp_path / "in", tmp_path / "out", write(line.format(20))))

    again = open_run(library, boxed(tmp_path / "in", tmp_path / "out", write(line.format("2e1"))))
    assert (again.is_new, again.run.id) == (False, first.run.id)
    with pytest.raises(RunConflictError, match=r"boxes was .*, now"):
        open_run(library, boxed(tmp_path / "in", tmp_path / "out", write(line.format(21))))
    with pytest.raises(RunConflictError, match=r"boxes was .*, now null"):
        open_run(library, request(tmp_path / "in", tmp_path / "out", "smile=1"))
    with pytest.raises(RunConflictError, match=r"box_margin was 0\.1, now 0\.2"):
        open_run(
            library,
            boxed(tmp_path / "in", tmp_path / "out", write(line.format(20)), box_margin=0.2),
        )


def test_a_box_that_shows_too_little_fails_with_its_reason(
    library: Library, tmp_path: Path, write: Write
) -> None:
    photo(tmp_path / "in" / "a.png", 60, 40)
    boxes = write(
        "path,x,y,width,height,id\na.png,70,0,20,20,out\na.png,55,0,20,20,cut\n"
        "a.png,5,5,0,20,flat\na.png,-10,-10,30,30,good\n"
    )

    run = do(library, boxed(tmp_path / "in", tmp_path / "out", boxes))

    assert run.state == "completed_with_failures"
    failed = rows(tmp_path / "out", "failed.jsonl")
    assert [(row["box_id"], row["reason"]) for row in failed] == [
        ("out", "box: at 70, 0 it lies outside the upright picture of 60 x 40 pixels"),
        ("cut", "box: 5 x 20 pixels in the upright picture of 60 x 40, expected at least 8 x 8"),
        ("flat", "box: it is empty, 0 x 20 pixels"),
    ]
    [done] = rows(tmp_path / "out")
    assert done["file_name"] == "images/smile+1.00/a~box4.png"
    assert (done["box"], done["box_id"]) == ([-10.0, -10.0, 30.0, 30.0], "good")
    assert (done["source_width"], done["source_height"]) == (60, 40)
    assert "source_size" not in done["metrics"]
    # a second attempt at the failed ones still knows their boxes
    assert retry(library.engine, run).inputs == 3
    assert Runs(library.engine).inputs(run.id, 0, 4)[1].box == Box(55, 0, 20, 20, None, "cut")


# --- what is seen ---


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_pixels_of_the_upright_picture(
    library: Library, tmp_path: Path, write: Write, orientation: int
) -> None:
    stored = np.zeros((40, 60, 3), np.uint8)
    upright = np.zeros((40, 60, 3) if orientation < 5 else (60, 40, 3), np.uint8)
    upright[4:36, 6:38] = 255  # the object, in the upright picture
    turn: dict[int, Callable[[Any], Any]] = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p.transpose(1, 0, 2), 2),
        8: lambda p: np.rot90(p, -1),
    }
    stored = np.ascontiguousarray(turn[orientation](upright))
    assert stored.shape == (40, 60, 3)
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(stored).save(tmp_path / "in" / "a.png", exif=exif)
    boxes = write("path,x,y,width,height\na.png,6,4,32,32\n")

    opened = open_run(library, boxed(tmp_path / "in", tmp_path / "out", boxes, box_margin=0.0))

    [planned] = Runs(library.engine).inputs(opened.run.id, 0, 1)
    decoded = decode(opened.run.plan, planned, resolution=32, scheme=NO_PARTS)
    assert decoded.reason is None
    assert decoded.pixels is not None
    assert (decoded.pixels == 255).all()


@pytest.mark.parametrize("fit", list(Fit))
def test_a_box_at_the_corner_is_seen_whole(
    library: Library, tmp_path: Path, write: Write, fit: Fit
) -> None:
    picture = np.zeros((50, 100, 3), np.uint8)
    picture[:50, 70:] = 255
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    boxes = write("path,x,y,width,height\na.png,70,0,30,50\n")

    opened = open_run(
        library, boxed(tmp_path / "in", tmp_path / "out", boxes, box_margin=0.0, fit=fit)
    )

    [planned] = Runs(library.engine).inputs(opened.run.id, 0, 1)
    decoded = decode(opened.run.plan, planned, resolution=32, scheme=NO_PARTS)
    assert decoded.view is not None
    assert decoded.pixels is not None
    assert decoded.pixels.shape == (32, 32, 3)
    white = (decoded.pixels > 127).mean()
    assert white == {Fit.CROP: 0.59375, Fit.STRETCH: 1.0, Fit.PAD: 0.59375}[fit]


# --- what decides an item ---


def test_content_keys_know_boxes_only_where_there_are_some(
    library: Library, tmp_path: Path, write: Write, make_pictures: Callable[..., Path]
) -> None:
    source = make_pictures(1)
    plain = open_run(library, request(source, tmp_path / "plain", "smile=1")).run
    [whole] = Runs(library.engine).inputs(plain.id, 0, 1)
    key = content_key(
        plain.plan,
        0,
        dataclasses.replace(decode(plain.plan, whole, resolution=32, scheme=NO_PARTS)),
    )
    boxes = write("path,x,y,width,height\n0.png,0,0,30,30\n0.png,0,0,30,31\n")
    run = open_run(library, boxed(source, tmp_path / "boxed", boxes)).run
    keys = [
        content_key(run.plan, 0, decode(run.plan, one, resolution=32, scheme=NO_PARTS))
        for one in Runs(library.engine).inputs(run.id, 0, 2)
    ]

    assert len({key, *keys}) == 3
    # a margin changes what is seen of a box, and means nothing without one
    other = dataclasses.replace(plain.plan.settings, box_margin=0.5)
    plan = dataclasses.replace(plain.plan, settings=other)
    assert content_key(plan, 0, decode(plan, whole, resolution=32, scheme=NO_PARTS)) == key
    boxed_plan = dataclasses.replace(
        run.plan, settings=dataclasses.replace(run.plan.settings, box_margin=0.5)
    )
    [one, _] = Runs(library.engine).inputs(run.id, 0, 2)
    wider = content_key(boxed_plan, 0, decode(boxed_plan, one, resolution=32, scheme=NO_PARTS))
    assert wider not in keys


def test_odd_names_find_their_boxes(library: Library, tmp_path: Path, write: Write) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    photo(tmp_path / "in" / name, 40, 40)
    photo(tmp_path / "in" / "deep" / "ü 🙂.png", 40, 40)
    path = tmp_path / "boxes.json"
    # JSON escapes what UTF-8 cannot hold
    coco = {
        "images": [{"id": 1, "file_name": name}, {"id": 2, "file_name": "./deep/ü 🙂.png"}],
        "categories": [{"id": 1, "name": "\udcff"}],
        "annotations": [
            {"image_id": 1, "bbox": [0, 0, 20, 20], "category_id": 1},
            {"image_id": 2, "bbox": [0, 0, 20, 20]},
        ],
    }
    path.write_text(json.dumps(coco), encoding="ascii")

    run = do(library, boxed(tmp_path / "in", tmp_path / "out", path))

    assert run.state == "completed"
    made = rows(tmp_path / "out")
    assert {row["file_name"] for row in made} == {
        "images/smile+1.00/caf%E9~box1.png",
        "images/smile+1.00/deep/ü 🙂~box1.png",
    }
    assert {row["box_label"] for row in made} == {"", "\ufffd"}
    assert all(pixels(tmp_path / "out" / row["file_name"]).shape == (32, 32, 3) for row in made)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((40, 60), None),
        ((60, 40), "has 40 x 60 pixels, the upright one has 60 x 40; .* EXIF orientation"),
        ((80, 120), "has 120 x 80 pixels, the upright one has 60 x 40$"),
        ((None, None), None),
    ],
)
def test_boxes_of_a_picture_of_another_size_are_refused(
    library: Library,
    tmp_path: Path,
    write: Write,
    size: tuple[int | None, int | None],
    reason: str | None,
) -> None:
    photo(tmp_path / "in" / "p.jpg", 40, 60, orientation=6)  # upright: 60 x 40
    image = {"id": 1, "file_name": "p.jpg", "height": size[0], "width": size[1]}
    box = {"image_id": 1, "bbox": [5, 5, 20, 20]}
    path = write(json.dumps({"images": [image], "annotations": [box]}))

    run = do(library, boxed(tmp_path / "in", tmp_path / "out", path))

    assert run.state == ("completed" if reason is None else "completed_with_failures")
    if reason is None:
        assert [row["box"] for row in rows(tmp_path / "out")] == [[5, 5, 20, 20]]
    else:
        [row] = rows(tmp_path / "out", "failed.jsonl")
        assert re.search(reason, row["reason"])
