"""Photographs that a training reads."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.batch.errors import PlanError
from editvec.batch.quality.photographs import CACHE_FILE, load_photographs

RED = (250, 10, 10)


def picture(path: Path, *, size: tuple[int, int] = (40, 20), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (0, 0, 255))
    width, height = size
    image.paste(RED, ((width - height) // 2, 0, (width + height) // 2, height))
    image.convert(mode).save(path)


def test_every_kind_of_photograph_is_read_and_every_bad_one_is_named(tmp_path: Path) -> None:
    source = tmp_path / "photographs"
    picture(source / "a.png")
    picture(source / "inner" / "grey.png", mode="L")
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (source / "notes.txt").write_text("mine")
    picture(source / "z.webp", size=(64, 64))
    seen: list[tuple[int, int]] = []

    read = load_photographs(
        source,
        tmp_path / "cache",
        resolution=16,
        fit="crop",
        on_read=lambda done, count: seen.append((done, count)),
    )

    assert read.names == ["a.png", "inner/grey.png", "z.webp"]
    assert read.pixels.shape == (3, 16, 16, 3)
    assert np.abs(read.pixels[0].astype(int) - RED).max() < 3  # the middle square is red
    assert np.ptp(read.pixels[1], axis=2).max() == 0
    assert [name for name, _ in read.skipped] == ["broken.jpg"]
    assert read.other_files == 1
    assert seen[-1] == (4, 4)


def test_decoded_photographs_are_kept_until_something_changes(tmp_path: Path) -> None:
    source, cache = tmp_path / "photographs", tmp_path / "cache"
    picture(source / "a.png")
    picture(source / "b.png")
    first = load_photographs(source, cache, resolution=16, fit="crop")
    kept = (cache / CACHE_FILE).stat().st_mtime_ns

    again = load_photographs(source, cache, resolution=16, fit="crop")
    unchanged = (cache / CACHE_FILE).stat().st_mtime_ns
    stretched = load_photographs(source, cache, resolution=16, fit="stretch")
    picture(source / "b.png", size=(30, 50))
    os.utime(source / "b.png", ns=(1, 1))
    changed = load_photographs(source, cache, resolution=16, fit="stretch")

    assert unchanged == kept
    assert again.digest == first.digest
    assert len({first.digest, stretched.digest, changed.digest}) == 3
    assert sorted(one.name for one in cache.iterdir()) == ["photographs.json", "photographs.npy"]


def test_folder_without_a_usable_photograph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no")
    (tmp_path / "worse.jpg").write_bytes(b"")

    with pytest.raises(PlanError, match=r"none of the 2 images .* bad\.png"):
        load_photographs(tmp_path, tmp_path / "cache", resolution=16, fit="crop")
    assert list((tmp_path / "cache").iterdir()) == []


def test_torn_cache_is_made_anew(tmp_path: Path) -> None:
    source, cache = tmp_path / "photographs", tmp_path / "cache"
    picture(source / "a.png")
    first = load_photographs(source, cache, resolution=16, fit="crop")
    content = (cache / CACHE_FILE).read_bytes()

    for torn in (content[:-100], b""):
        (cache / CACHE_FILE).write_bytes(torn)
        again = load_photographs(source, cache, resolution=16, fit="crop")

        assert again.digest == first.digest
        assert again.pixels.shape == (1, 16, 16, 3)
