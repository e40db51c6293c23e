"""Runs over pictures that are not sRGB: what becomes of their colours, and what the rows say."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import Output, OutputSize, RunSettings
from editvec.engine.images.primaries import Chromaticities, make_profile
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, pixels, read_shards, request, rows

WIDE = make_profile(
    "wide",
    gamma=1 / 1.8,
    primaries=Chromaticities(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06),
    is_grey=False,
)


def samples(width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth colours, within the range that leaves room for a change."""
    random = np.random.default_rng(width)
    coarse = Image.fromarray(random.integers(60, 190, (4, 4, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def srgb_by_littlecms(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    converted = ImageCms.profileToProfile(
        Image.fromarray(values), io.BytesIO(WIDE), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None
    return np.asarray(converted)


def folder(path: Path, width: int, height: int) -> Path:
    """The same samples, called wide by a profile, linear by PNG, and nothing; a broken profile."""
    path.mkdir()
    image = Image.fromarray(samples(width, height))
    image.save(path / "wide.png", icc_profile=WIDE)
    info = PngInfo()
    info.add(b"gAMA", (100_000).to_bytes(4))
    image.save(path / "linear.png", pnginfo=info)
    image.save(path / "plain.png")
    image.save(path / "broken.png", icc_profile=WIDE[:300] + bytes(40))
    return path


@pytest.mark.parametrize(
    ("size", "output_size"),
    [((32, 32), OutputSize.GENERATOR), ((120, 90), OutputSize.ORIGINAL)],
)
def test_outside_the_region_outputs_are_the_input_in_srgb(
    library: Library, tmp_path: Path, size: tuple[int, int], output_size: OutputSize
) -> None:
    source = folder(tmp_path / "in", *size)

    do(library, request(source, tmp_path / "out", "smile=1", output_size=output_size))

    made = {row["source"]: row for row in rows(tmp_path / "out")}
    light = samples(*size) / 255
    linear = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    wanted = {
        "plain.png": samples(*size),
        "wide.png": srgb_by_littlecms(samples(*size)),
        "linear.png": linear,
    }
    for name, before in wanted.items():
        after = pixels(tmp_path / "out" / made[name]["file_name"])
        near = np.abs(after - before.astype(float)) <= (1 if name == "linear.png" else 0)
        # The region of these edits leaves much of the picture alone, and changes some of it.
        assert 0.2 < near.all(axis=2).mean() < 1, name
        corner = near[:4, :4] if output_size is OutputSize.GENERATOR else near[:, :10]
        assert corner.all(), name
        with Image.open(tmp_path / "out" / made[name]["file_name"]) as image:
            assert "icc_profile" not in image.info
            assert "gamma" not in image.info


def test_rows_say_what_was_done_with_the_colours(library: Library, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", 40, 40)

    do(library, request(source, tmp_path / "out", "smile=1", max_leakage=1e9))

    said = {row["source"]: row["color"] for row in rows(tmp_path / "out")}
    assert said == {
        "linear.png": "gamma 1 to sRGB",
        "plain.png": "sRGB",
        "wide.png": "wide to sRGB",
    }
    assert all("color" not in row["metrics"] for row in rows(tmp_path / "out"))
    [failed] = rows(tmp_path / "out", "failed.jsonl")
    assert failed["source"] == "broken.png"
    assert "its colour profile is broken" in failed["reason"]
    assert failed["color"] is None


def test_rows_of_rejected_items_say_it_too(library: Library, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", 40, 40)

    do(library, request(source, tmp_path / "out", "smile=1", max_reconstruction=0.0))

    rejected = rows(tmp_path / "out", "rejected.jsonl")
    assert sorted(row["color"] for row in rejected) == ["gamma 1 to sRGB", "sRGB", "wide to sRGB"]
    assert all("color" not in row["metrics"] for row in rejected)


def test_sampled_items_have_no_colours_to_tell_of(library: Library, tmp_path: Path) -> None:
    do(library, request(None, tmp_path / "out", "smile=1", count=2))

    assert all("color" not in row for row in rows(tmp_path / "out"))


# `webdataset` leaves the shards that it read to the garbage collector
@pytest.mark.filterwarnings("ignore:unclosed file.*tar:ResourceWarning")
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in.*\.tar:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("output", [Output.COCO, Output.WEBDATASET])
def test_every_kind_of_output_says_it(library: Library, tmp_path: Path, output: Output) -> None:
    source = folder(tmp_path / "in", 40, 40)

    do(library, request(source, tmp_path / "out", "smile=1", output=output))

    if output is Output.COCO:
        said = json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]
    else:
        said = [sample["record"] for sample in read_shards(tmp_path / "out").values()]
    assert sorted(one["color"] for one in said) == ["gamma 1 to sRGB", "sRGB", "wide to sRGB"]


# --- kept profiles ---


@pytest.mark.parametrize("image_format", ["png", "webp:lossless", "jpeg:100"])
@pytest.mark.parametrize("output", [Output.IMAGEFOLDER, Output.WEBDATASET])
@pytest.mark.filterwarnings("ignore:unclosed file.*tar:ResourceWarning")
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in.*\.tar:pytest.PytestUnraisableExceptionWarning"
)
def test_a_kept_profile_keeps_the_samples_outside_the_region(
    library: Library, tmp_path: Path, image_format: str, output: Output
) -> None:
    source = folder(tmp_path / "in", 120, 90)
    rgba = np.dstack([samples(120, 90), np.full((90, 120), 100, np.uint8)])
    Image.fromarray(rgba).save(source / "alpha.png", icc_profile=WIDE)

    do(
        library,
        request(
            source, tmp_path / "out", "smile=1", image_format=image_format, output=output,
            output_size=OutputSize.ORIGINAL, keep_profile=True,
        ),
    )  # fmt: skip

    suffix = {"png": "png", "webp:lossless": "webp", "jpeg:100": "jpg"}[image_format]
    if output is Output.IMAGEFOLDER:
        found = {
            row["source"]: (row, (tmp_path / "out" / row["file_name"]).read_bytes())
            for row in rows(tmp_path / "out")
        }
    else:
        found = {
            name: (sample["record"], sample[suffix])
            for (name, _), sample in read_shards(tmp_path / "out").items()
        }
    assert sorted(found) == ["alpha.png", "linear.png", "plain.png", "wide.png"]
    for name, (row, data) in found.items():
        with Image.open(io.BytesIO(data)) as image:
            after, profile = np.asarray(image), image.info.get("icc_profile")
        before = rgba if name == "alpha.png" else samples(120, 90)
        if name == "alpha.png" and suffix == "jpg":
            before = np.rint(before[..., :3] * (100 / 255) + 255 * (155 / 255)).astype(np.uint8)
        near = (np.abs(after.astype(int) - before) <= (4 if suffix == "jpg" else 0)).all(axis=2)
        assert near[:, :10].all(), name
        assert 0.2 < near.mean() < 1, name
        if name in ("wide.png", "alpha.png"):
            assert profile == WIDE
        assert (profile is None) == (name == "plain.png")
        assert row["color"] == {
            "plain.png": "sRGB", "linear.png": "gamma 1",
        }.get(name, "wide")  # fmt: skip


def test_a_kept_picture_shows_the_edit_of_a_converted_one(library: Library, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", 120, 90)
    shown = {}
    for keep_profile in (False, True):
        out = tmp_path / f"out-{keep_profile}"
        do(
            library,
            request(
                source, out, "smile=1",
                output_size=OutputSize.ORIGINAL, keep_profile=keep_profile,
            ),
        )  # fmt: skip
        shown[keep_profile] = {row["source"]: pixels(out / row["file_name"]) for row in rows(out)}
        assert len({row["content_key"] for row in rows(out)}) == 3

    assert np.array_equal(shown[True]["plain.png"], shown[False]["plain.png"])
    again = srgb_by_littlecms(shown[True]["wide.png"]).astype(int)
    changed = (shown[False]["wide.png"] != srgb_by_littlecms(samples(120, 90))).any(axis=2)
    assert changed.any()
    # A level of the wider space is up to ten of sRGB where that has little left of a primary.
    difference = np.abs(again - shown[False]["wide.png"])
    assert not difference[~changed].any()
    assert difference[changed].mean() < 1
    assert difference.max() <= 10
    assert np.abs(again - srgb_by_littlecms(samples(120, 90)))[changed].max() > 6


def test_what_cannot_be_kept_fails_by_name(library: Library, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    grey = make_profile("old paper", gamma=1.0, primaries=None, is_grey=True)
    Image.fromarray(samples(40, 40)[..., 0]).save(tmp_path / "in" / "a.png", icc_profile=grey)
    settings: dict[str, Any] = {"output_size": OutputSize.ORIGINAL, "keep_profile": True}

    do(library, request(tmp_path / "in", tmp_path / "out", "smile=1", **settings))

    [failed] = rows(tmp_path / "out", "failed.jsonl")
    assert "'old paper' is for grey samples, and cannot be kept" in failed["reason"]


def test_only_outputs_of_their_own_size_keep_a_profile() -> None:
    with pytest.raises(SettingsError, match="keep_profile: only outputs of output_size original"):
        RunSettings(keep_profile=True)
    kept = RunSettings(keep_profile=True, output_size=OutputSize.ORIGINAL)
    assert RunSettings.from_json(json.loads(json.dumps(kept.to_json()))) == kept
    older = RunSettings().to_json()
    del older["keep_profile"]
    assert RunSettings.from_json(older) == RunSettings()
