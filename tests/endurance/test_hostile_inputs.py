"""Folders as people have them: every input ends as an item, and none stops a run."""

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import pixels, rows
from tests.support.places import HOSTILE_IMAGES
from tests.support.worker_processes import environment

# decodes, and is refused by rule: samples without a range, too small, or followed by rubbish
REFUSED = {
    "10ct_32bit_128.tiff",
    "jfif_unit_cm.jpg",
    "tRNS_null_1x1.png",
    "multiple_exif.jpg",
    "tiny.png",
    "orientation_rectangle.jpg",
    "broken_data_stream.png",
    "truncated_end_chunk.png",
    "apng__chunk_no_fctl.png",
}
# formats that are not read
UNREAD = (".ico", ".icns", ".psd", ".jp2")

RunEditvec = Callable[..., int]
Array = npt.NDArray[np.uint8]


def picture(size: int = 32) -> Array:
    """A smooth picture without any symmetry."""
    y, x = np.mgrid[0:size, 0:size]
    return np.stack([x * 7, y * 8, (x * y) // 5], axis=2).clip(0, 255).astype(np.uint8)


def run_over(
    run_editvec: RunEditvec, home: Path, source: Path, out: Path, *words: object
) -> tuple[int, dict[str, str]]:
    """Does a run by its command; returns the exit status and why inputs failed, by their name.

    Every planned item is accounted for, in SQL, in the manifests and on the disk.
    """
    edits = ("--edit", "smile=0:1:2")
    status = run_editvec("batch", "run", source, out, *edits, "--device", "cpu", *words)
    with Library.open(RegistryConfig.for_home(home)) as library:
        run = Runs(library.engine).latest_in(out)
        assert run is not None
        counts = Runs(library.engine).counts(run.id)
        planned = {one.source for one in Runs(library.engine).inputs(run.id, 0, run.input_count)}
        assert audit(library, run).problems == []
    made, failed = rows(out), rows(out, "failed.jsonl")
    assert counts.total == 2 * len(planned) == counts.done + counts.failed
    assert (len(made), len(failed)) == (counts.done, counts.failed)
    done, bad = {row["source"] for row in made}, {row["source"] for row in failed}
    assert done | bad == planned
    assert not done & bad
    assert all(row["reason"] and "\n" not in row["reason"] for row in failed)
    return status, {row["source"]: row["reason"] for row in failed}


@pytest.mark.skipif(
    not (HOSTILE_IMAGES / "pillow.csv").exists(), reason=f"needs hostile images in {HOSTILE_IMAGES}"
)
def test_every_file_of_a_hostile_collection_ends_as_its_items(
    run_editvec: RunEditvec, home: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    expected = {}
    with (HOSTILE_IMAGES / "pillow.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = row["file"].replace("/", "__")
            good = row["result_with_pillow_13"].startswith("ok") and name not in REFUSED
            # every one is planned, whatever its own suffix says
            expected[f"{name}.png"] = good and not name.endswith(UNREAD)
            shutil.copyfile(HOSTILE_IMAGES / "pillow" / name, source / f"{name}.png")

    status, failed = run_over(run_editvec, home, source, out)

    assert len(expected) == 76
    assert status == 3
    assert set(failed) == {name for name, good in expected.items() if not good}


# --- what never skips: files of the same kinds, made here ---


def save(path: Path, image: Image.Image, **options: Any) -> None:
    image.save(path, **options)


def png_of(width: int, height: int, data: bytes = b"0") -> bytes:
    """A PNG that declares a size and holds some bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_sound_oddities(folder: Path) -> None:
    """Pictures that are unusual and whole."""
    rgb = Image.fromarray(picture())
    frames = [rgb, rgb.rotate(90), rgb.rotate(180)]
    deep = (picture()[..., 0].astype(np.uint16) << 8) + 7
    for mode in ("L", "LA", "RGBA", "P", "1"):
        save(folder / f"mode-{mode}.png", rgb.convert(mode))
    save(folder / "transparent.png", rgb.convert("P"), transparency=3)
    save(folder / "deep.png", Image.fromarray(deep))
    save(folder / "deep.tiff", Image.fromarray(deep))
    save(folder / "big-endian.pgm", Image.fromarray(deep))
    save(folder / "cmyk.jpg", rgb.convert("CMYK"))
    save(folder / "grey.jpg", rgb.convert("L"))
    save(folder / "progressive.jpeg", rgb, progressive=True)
    save(folder / "animated.gif", frames[0], save_all=True, append_images=frames[1:])
    save(folder / "animated.webp", frames[0], save_all=True, append_images=frames[1:])
    save(folder / "animated.png", frames[0], save_all=True, append_images=frames[1:])
    save(folder / "pages.tif", frames[0], save_all=True, append_images=frames[1:])
    save(folder / "packed.tif", rgb, compression="tiff_lzw")
    save(folder / "bitmap.bmp", rgb)
    save(folder / "wide.png", rgb.resize((300, 9)))
    for name, kind in (("a-jpeg.png", "JPEG"), ("a-png.jpg", "PNG"), ("a-gif.webp", "GIF")):
        save(folder / name, rgb, format=kind)


def write_broken(folder: Path) -> dict[str, str]:
    """Files that are no pictures, or no whole ones; returns part of the reason of each."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    reasons = {}
    for kind in ("jpg", "png", "webp", "gif", "bmp", "tif"):
        save(folder / f"half.{kind}", noise)
        whole = (folder / f"half.{kind}").read_bytes()
        (folder / f"half.{kind}").write_bytes(whole[: len(whole) // 2])
        reasons[f"half.{kind}"] = ""
    reasons |= {"half.jpg": "truncated", "half.png": "truncated"}
    for name, data, reason in (
        ("empty.jpg", b"", "the file is empty"),
        ("text.png", b"not a picture at all\n" * 9, "not a picture in a format that is read"),
        ("zeros.jpg", bytes(4096), "not a picture in a format that is read"),
        ("archive.png", b"PK\3\4" + bytes(60), "not a picture in a format that is read"),
        ("script.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        ("postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        ("magic.png", b"\x89PNG\r\n\x1a\n", ""),
        ("bomb.png", png_of(60_000, 60_000), ""),
        ("large.png", png_of(9_000, 9_000), "expected at most 67108864 pixels"),
        ("no-pixels.png", png_of(32, 32), ""),
        ("nothing.png", png_of(0, 0), ""),
    ):
        (folder / name).write_bytes(data)
        reasons[name] = reason
    for name, size in (("one.png", (1, 1)), ("thin.png", (7, 64)), ("flat.jpg", (64, 7))):
        save(folder / name, Image.new("RGB", size))
        reasons[name] = "expected at least 8 x 8 pixels"
    save(folder / "floating.tif", Image.fromarray(picture()[..., 0].astype(np.float32)))
    save(folder / "integer.tif", Image.fromarray(picture()[..., 0].astype(np.int32)))
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    reasons |= {
        "floating.tif": "floating-point samples",
        "integer.tif": "32-bit samples",
        "gone.png": "No such file",
        "itself.png": "symbolic links",
    }
    return reasons


def test_odd_files_are_edited_and_broken_ones_fail_alone(
    run_editvec: RunEditvec, home: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_sound_oddities(source)
    reasons = write_broken(source)

    status, failed = run_over(run_editvec, home, source, tmp_path / "out")

    assert status == 3
    assert failed.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in failed[name], name
        assert str(tmp_path) not in failed[name] or name in failed[name]


def test_only_bad_files_make_an_empty_set_and_status_3(
    run_editvec: RunEditvec, home: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    reasons = write_broken(source)

    status, failed = run_over(run_editvec, home, source, tmp_path / "out")

    assert status == 3
    assert failed.keys() == reasons.keys()


# --- orientation ---


def stored(upright: Array, orientation: int) -> Array:
    """The pixels that a camera stores, so that the tag turns them into the upright ones."""
    inverse: dict[int, Callable[[Array], Array]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, k=-1),
    }
    return np.ascontiguousarray(inverse[orientation](upright))


def test_all_orientations_of_a_photograph_give_the_same_images_and_masks(
    run_editvec: RunEditvec, home: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = Image.fromarray(stored(picture(), orientation))
        turned.save(source / f"{orientation}.png", exif=exif)
        turned.save(source / f"{orientation}.tif", exif=exif)

    status, failed = run_over(run_editvec, home, source, out, "--composite", "none")

    assert (status, failed) == (0, {})
    made = rows(out)
    for recipe in {row["recipe"] for row in made}:
        mine = [row for row in made if row["recipe"] == recipe]
        first = mine[0]
        for row in mine[1:]:
            image, mask = pixels(out / row["file_name"]), pixels(out / row["mask_file_name"])
            # rounding depends on the place in a mini-batch
            difference = image.astype(int) - pixels(out / first["file_name"])
            assert abs(difference).max() <= 1
            assert (mask != pixels(out / first["mask_file_name"])).mean() < 0.01
            with Image.open(out / row["file_name"]) as opened:
                assert 0x0112 not in opened.getexif()


def test_edited_masks_fit_photographs_of_any_orientation(
    run_editvec: RunEditvec, home: Path, tmp_path: Path
) -> None:
    source, masks, out = tmp_path / "in", tmp_path / "masks", tmp_path / "out"
    source.mkdir()
    masks.mkdir()
    tall = np.ascontiguousarray(picture()[:, :24])
    wanted = np.zeros((32, 24), np.uint8)
    wanted[4:9, 3:8] = 4
    palette = Image.fromarray(wanted)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 255, 255, 255])
    kinds = [Image.fromarray(wanted), palette, Image.fromarray(wanted.astype(np.uint16))]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored_image = Image.fromarray(stored(tall, orientation))
        stored_image.save(source / f"{orientation}.png", exif=exif)
        kinds[orientation % 3].save(masks / f"{orientation}.png")

    status = run_editvec(
        *("batch", "run", source, out, "--mode", "optimize", "--masks", masks, "--roi", "mouth"),
        *("--optimize-steps", "1", "--device", "cpu", "--fit", "pad", "--output-size", "original"),
    )

    assert status == 0
    first, *others = rows(out)
    upright = pixels(out / first["file_name"]).astype(int)
    assert upright.shape == (32, 24, 3)
    assert len(others) == 7
    for row in others:
        image = pixels(out / row["file_name"])
        assert (abs(image - upright).max(axis=-1) > 2).mean() < 0.02, row["source"]
        mask = pixels(out / row["mask_file_name"])
        assert (mask != pixels(out / first["mask_file_name"])).mean() < 0.02


# --- names and folders ---


def test_odd_names_stay_apart_and_are_written_in_a_manner_that_every_tool_reads(
    run_editvec: RunEditvec, home: Path, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    names = (
        "😀 smile.png",
        "new\nline.png",
        "tab\t.png",
        "x" * 251 + ".png",
        "é" * 125 + "y.png",
        "a.jpg",
        "a.png",
        "sub/a.png",
        "a.png.png/a.png",
        "-rf.png",
        "%41.png",
        "con.png",
        "quote'\".png",
        " space .png",
        "a..png",
        "{}$HOME`id`.png",
    )
    source, out = make_pictures(names=names), tmp_path / "out"
    raw = os.fsencode(source) + b"/caf\xe9.png"
    shutil.copyfile(source / "a.png", os.fsdecode(raw))

    status, failed = run_over(run_editvec, home, source, out)

    assert (status, failed) == (0, {})
    made = rows(out)
    assert len({row["file_name"] for row in made}) == len(made) == 2 * (len(names) + 1)
    for row in made:
        row["file_name"].encode("utf-8")
        assert row["file_name"].isprintable()
        assert max(len(part.encode()) for part in Path(row["file_name"]).parts) <= 255
        assert pixels(out / row["file_name"]).shape == (32, 32, 3)
    sources = {row["source"] for row in made}
    assert {"new\nline.png", "caf\\xe9.png", "😀 smile.png"} <= sources


def test_links_that_lead_in_circles_are_followed_once(
    run_editvec: RunEditvec, home: Path, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_pictures(names=("sub/a.png",))
    elsewhere = make_pictures(names=("b.png",), folder="elsewhere")
    (source / "sub/up").symlink_to(source)
    (source / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(source)

    status, failed = run_over(run_editvec, home, source, tmp_path / "out")

    assert (status, failed) == (0, {})
    names = {row["source"] for row in rows(tmp_path / "out")}
    assert {"sub/a.png", "linked/b.png"} <= names
    assert all(name.count("/") <= 4 for name in names)


def test_what_may_not_be_read_is_named_and_the_rest_is_done(
    home: Path, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = make_pictures(names=("a.png", "secret.png", "closed/b.png")), tmp_path / "out"
    (source / "secret.png").chmod(0)
    (source / "closed").chmod(0)
    command = [sys.executable, "-m", "editvec", "--home", str(home)]
    if os.geteuid() == 0:
        # root may read everything, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv")
        given_up = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={given_up}", f"--inh-caps={given_up}", *command]
    words = ["batch", "run", str(source), str(out), "--edit", "smile=1", "--json"]

    done = subprocess.run(
        [*command, *words], env=environment(), capture_output=True, text=True, check=False
    )
    (source / "closed").chmod(0o700)

    assert done.returncode == 3, done.stderr
    counts = json.loads(done.stdout)["counts"]
    assert (counts["done"], counts["failed"], counts["total"]) == (1, 1, 2)
    assert "closed" in done.stderr
    (failed,) = rows(out, "failed.jsonl")
    assert failed["source"] == "secret.png"
    assert "ermission denied" in failed["reason"]
