"""WebDataset shards: what their readers find in them."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.reports.audit import audit
from editvec.registry.library.library import Library
from editvec.whole_files import digest_of_file
from tests.support.folder_runs import do, pixels, provenance_in, read_shards, request, rows

MakePictures = Callable[..., Path]
# `webdataset` leaves the shards that it read to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file.*tar:ResourceWarning"),
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in.*\.tar:pytest.PytestUnraisableExceptionWarning"
    ),
]
Sample = dict[str, Any]
# dots, Unicode, what becomes equal when it is escaped, and a path of more than 300 characters
ODD_NAMES = (
    "a.b.c.png",
    "a b.c.png",
    "a/b.c.png",
    "ü 😀.png",
    "long" * 50 + "/" + "x" * 200 + ".png",
    "twin.png",
    "twin.jpg",
)


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def members(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_samples_hold_what_an_image_folder_of_the_same_run_holds(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, folder, out = make_pictures(names=ODD_NAMES), tmp_path / "folder", tmp_path / "out"
    do(library, request(source, folder, "smile=0:1:2", chunk_size=3))

    run = do(library, request(source, out, "smile=0:1:2", output="webdataset", chunk_size=3))

    samples = read_shards(out)
    files = {(row["source"], row["recipe"]): row for row in rows(folder)}
    assert samples.keys() == files.keys()
    assert {source for source, _ in samples} == set(ODD_NAMES)
    for place, sample in samples.items():
        row = files[place]
        assert (decoded(sample["png"]) == pixels(folder / row["file_name"])).all()
        assert (decoded(sample["mask.png"]) == pixels(folder / row["mask_file_name"])).all()
        for name in ("vectors", "attributes", "metrics", "verdict", "content_key"):
            assert sample["record"][name] == row[name]
        _, provenance = provenance_in(sample["png"])
        assert provenance["content_key"] == row["content_key"]
    assert len({sample["__key__"] for sample in samples.values()}) == len(samples)
    for key in (sample["__key__"] for sample in samples.values()):
        assert len(key) <= 128
        assert "." not in key
    assert audit(library, run).problems == []


def test_a_shard_for_each_chunk_holds_its_samples_side_by_side(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted = request(
        make_pictures(5), out, "smile=0:1:2", output="webdataset", chunk_size=2, image_format="jpeg"
    )

    do(library, wanted)

    listed = rows(out, "shards.jsonl")
    assert [(shard["shard"], shard["samples"]) for shard in listed] == [
        ("shards/000000.tar", 4),
        ("shards/000001.tar", 4),
        ("shards/000002.tar", 2),
    ]
    metadata = iter(rows(out))
    for shard in listed:
        path = out / shard["shard"]
        assert (digest_of_file(path), path.stat().st_size) == (shard["sha256"], shard["bytes"])
        names = members(path)
        keys = [name.removesuffix(".jpg") for name in names[::3]]
        assert names == [f"{key}{end}" for key in keys for end in (".jpg", ".mask.png", ".json")]
        for key in keys:
            row = next(metadata)
            assert (row["shard"], row["key"]) == (shard["shard"], key)
            assert row["file_name"] == f"{shard['shard']}/{key}.jpg"
            assert row["mask_file_name"] == f"{shard['shard']}/{key}.mask.png"
    assert not list(out.glob(".editvec/*/staged"))


def test_equal_runs_make_equal_shards(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(4)
    digests = []
    for name in ("a", "b"):
        do(library, request(source, tmp_path / name, "smile=1", output="webdataset"))
        digests.append([shard["sha256"] for shard in rows(tmp_path / name, "shards.jsonl")])

    assert digests[0] == digests[1]


def test_shards_load_with_hugging_face_datasets(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    do(library, request(make_pictures(3), out, "smile=0:1:2", output="webdataset", chunk_size=2))

    loaded = datasets.load_dataset(
        "webdataset",
        data_files=str(out / "shards/*.tar"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )

    assert len(loaded) == 6
    for example, row in zip(loaded, rows(out), strict=True):
        assert example["__key__"] == row["key"]
        assert example["json"]["attributes"] == row["attributes"]
        assert example["mask.png"].mode == "P"


def test_sampled_images_find_their_unedited_ones_in_the_same_shard(
    library: Library, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    run = do(library, request(None, out, "smile=1", count=4, output="webdataset", chunk_size=2))

    for row in rows(out):
        assert row["source"] in members(out / row["shard"])
    assert audit(library, run).problems == []


@pytest.mark.parametrize("count", [0, 3], ids=["over a folder", "sampled"])
def test_the_report_shows_the_samples_of_shards(
    library: Library, make_pictures: MakePictures, tmp_path: Path, count: int
) -> None:
    source, out = None if count else make_pictures(3), tmp_path / "out"

    do(library, request(source, out, "smile=1", count=count, output="webdataset"))

    page = (out / "report.html").read_text()
    shown = [page.count(f'class="{kind}"') for kind in ("before", "after", "mask")]
    assert min(shown) >= 3
    assert "missing" not in page.partition("<body")[2]


def test_chunks_without_a_done_item_leave_no_shard(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    (source / "0.png").write_bytes(b"no picture")

    run = do(library, request(source, out, "smile=1", output="webdataset", chunk_size=1))

    assert [path.name for path in (out / "shards").iterdir()] == ["000001.tar"]
    assert audit(library, run).problems == []
