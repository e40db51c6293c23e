"""Files that a user names for a result: those of others are refused, before the work."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner
from PIL import Image

import editvec.cli
from editvec.batch.classes.storing import training_folder
from editvec.batch.errors import SettingsError
from editvec.outputs import OutputError, OutputFile, is_own, marked
from editvec.registry.config import RegistryConfig
from editvec.registry.drawing import png_bytes
from tests.support.lessons import write_lesson

LESSON = ("--image", "a.png", "--mask-before", "a.mask.png", "--mask-after", "a.edited.png")
LEARN = (*LESSON, "--roi", "mouth", "--embed", "encoder", "--steps", "1", "--accept-failure")
FEW = ("--samples", "2", "--device", "cpu")


class Case(NamedTuple):
    """A command that writes the file `OUT`."""

    words: tuple[str, ...]
    suffix: str = ".png"


CASES = {
    "show-pair": Case(("registry", "show", "grin", "--pair", "OUT")),
    "show-preview": Case(("registry", "show", "grin", "--preview", "OUT")),
    "preview": Case(
        ("registry", "preview", "grin", "--count", "1", "--scales", "-1:1:3", "--output", "OUT")
    ),
    "learn": Case(("learn", "tiny/gape", *LEARN, "--picture", "OUT")),
    "evaluate": Case(("evaluate", "smile", *FEW, "--html", "OUT"), ".html"),
    "disentangle": Case(("disentangle", "smile", "frown", *FEW, "--html", "OUT"), ".html"),
    "mask-show": Case(("mask", "show", "a.mask.png", "--picture", "OUT")),
    "mask-edit": Case(
        ("mask", "edit", "a.edited.png", "--part", "mouth", "--grow", "1", "-o", "OUT")
    ),
    "mask-edit-picture": Case(
        (
            *("mask", "edit", "a.edited.png", "--operation", "mouth: grow 1", "-o", "x.png"),
            *("--picture", "OUT"),
        )
    ),
    "mask-convert": Case(("mask", "convert", "a.mask.png", "OUT", "--to", "colors")),
    "model-sample": Case(("model", "sample", "tiny", "OUT", "--count", "4", "--device", "cpu")),
    "model-compare": Case(
        (
            *("model", "compare", "tiny", "--count", "2", "--embed-steps", "1", "--device", "cpu"),
            *("--picture", "OUT"),
        )
    ),
    "engine-apply": Case(
        ("engine", "apply", "bundle", "d.safetensors", "a.png", "OUT", "--embed-steps", "1")
    ),
    "export-archive": Case(("registry", "export", "OUT", "grin"), ".zip"),
    "export-file": Case(("registry", "export", "OUT", "smile"), ".safetensors"),
    "model-export": Case(("model", "export", "tiny", "OUT"), ".tar"),
}


@pytest.fixture(scope="module")
def made(tiny_home: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home, in which `grin` has a pair and a preview, and files to work on."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(tiny_home, folder / "home")
    shutil.copytree(tiny_bundle, folder / "bundle")
    write_lesson(folder, tiny_bundle, "a", seed=1)
    safetensors.numpy.save_file({"delta": _delta(tiny_bundle)}, folder / "d.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert editvec.cli.main(["--home", "home", "learn", "tiny/grin", *LEARN]) == 0
        preview = ("registry", "preview", "grin", "--count", "1", "--scales", "-1:1:3")
        assert editvec.cli.main(["--home", "home", *preview]) == 0
    return folder


def _delta(bundle: Path) -> np.ndarray:
    from editvec.engine.editor import Editor

    found = Editor.open(bundle).bundle
    return np.full((found.num_ws, found.w_dim), 0.1, np.float32)


@pytest.fixture
def run(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command of a case on files of the test's own: its status, and its errors."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")

    def run(case: Case, out: object, *more: str) -> tuple[int, str]:
        words = [str(out) if word == "OUT" else word for word in case.words]
        capsys.readouterr()
        status = editvec.cli.main(["--home", "home", *words, *more])
        return status, capsys.readouterr().err

    return run


Run = Callable[..., tuple[int, str]]


def _work_begins(*_: object, **__: object) -> None:
    raise AssertionError("the work was begun")


@pytest.mark.parametrize("name", CASES)
def test_file_of_another_is_refused_before_the_work(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    out = Path(f"mine{case.suffix}")
    out.write_bytes(b"\x89PNG\r\n\x1a\nmy thesis")
    for place in ("engine.editor.Editor.open", "registry.library.library.Library.open"):
        monkeypatch.setattr(f"editvec.{place}", _work_begins)

    status, error = run(case, out)

    assert (status, error.count("\n")) == (1, 1), error
    assert f"{out}: it exists, and editvec did not write it" in error
    assert "--overwrite" in error
    assert out.read_bytes() == b"\x89PNG\r\n\x1a\nmy thesis"
    assert not Path("x.png").exists()


@pytest.mark.parametrize("name", CASES)
def test_file_of_our_own_is_replaced_and_others_by_overwrite(run: Run, name: str) -> None:
    case = CASES[name]
    out = Path(f"mine{case.suffix}")
    out.write_bytes(b"my thesis")

    assert run(case, out, "--overwrite")[0] == 0
    assert is_own(out)
    assert run(case, out)[0] == 0, "it is as it was written"
    if case.suffix in (".png", ".html"):
        data = bytearray(out.read_bytes())
        data[len(data) // 2] ^= 1
        out.write_bytes(data)
        status, error = run(case, out)
        assert (status, out.read_bytes()) == (1, data)
        assert "or it was changed since" in error


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_nothing_is_written_into_the_library(run: Run, name: str, more: tuple[str, ...]) -> None:
    case = CASES[name]
    Path("link").symlink_to("home/blobs", target_is_directory=True)

    for folder in ("home", "home/blobs", "link"):
        out = Path(folder) / f"x{case.suffix}"
        status, error = run(case, out, *more)
        assert (status, error.count("\n")) == (1, 1)
        assert f"{out}: it lies in a folder of the library" in error
        assert not out.exists()


def test_blob_store_elsewhere_is_the_librarys_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_BLOB_URL", str(Path("home/blobs").absolute()))
    shutil.move("home/blobs", "store")
    monkeypatch.setenv("EDITVEC_BLOB_URL", str(Path("store").absolute()))

    status, error = run(CASES["model-sample"], Path("store/x.png"), "--overwrite")

    assert status == 1
    assert "store/x.png: it lies in a folder of the library" in error


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "link to nowhere"])
def test_what_is_no_file_is_no_place_for_one(run: Run, kind: str) -> None:
    out = Path("x.png")
    if kind == "folder":
        out.mkdir()
    elif kind == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to("a.png" if kind == "link" else "nowhere")
    before = Path("a.png").read_bytes()

    status, error = run(CASES["model-sample"], out)

    assert status in (1, 2)
    assert "x.png" in error
    assert os.path.lexists(out)
    assert Path("a.png").read_bytes() == before


# --- folders ---


@pytest.mark.parametrize(
    ("words", "foreign"),
    [
        (("engine", "sample", "bundle", "out", "--count", "3"), "00002.png"),
        (("engine", "sample", "bundle", "out", "--count", "3"), "00002.mask.png"),
        (("mask", "convert", "masks", "out"), "b.png"),
        (("mask", "convert", "masks", "out", "--to", "parts"), "b/mouth.png"),
    ],
)
def test_folder_with_a_file_of_another_is_left_as_it_is(
    run: Run, words: tuple[str, ...], foreign: str
) -> None:
    Path("masks").mkdir()
    for name in "ab":
        shutil.copy("a.edited.png", f"masks/{name}.png")
    path = Path("out") / foreign
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    case = Case(words)

    status, error = run(case, "")

    assert status == 1
    assert f"{path}: it exists, and editvec did not write it" in error
    assert [one for one in Path("out").rglob("*") if one.is_file()] == [path]
    assert run(case, "", "--overwrite")[0] == 0
    written = {one: one.read_bytes() for one in Path("out").rglob("*") if one.is_file()}
    assert len(written) > 3 or words[0] == "mask"
    assert run(case, "")[0] == 0
    assert written == {one: one.read_bytes() for one in Path("out").rglob("*") if one.is_file()}


@pytest.mark.parametrize(
    "words", [("engine", "sample", "bundle"), ("mask", "convert", "a.mask.png")]
)
def test_no_folder_is_made_in_the_library(run: Run, words: tuple[str, ...]) -> None:
    status, error = run(Case((*words, "home/new")), "", "--overwrite")

    assert status == 1
    assert "home/new: it lies in a folder of the library" in error
    assert not Path("home/new").exists()


def test_folder_of_another_is_no_folder_of_a_training(tmp_path: Path) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "predictions.png").write_bytes(b"mine")

    def claim(folder: Path | None) -> Path:
        return training_folder(config, "tiny", "segmentation", folder)

    with pytest.raises(SettingsError, match="mine holds other files, and no training"):
        claim(mine)
    for inside in ("x", "blobs/x", "training"):
        with pytest.raises(SettingsError, match="lies in a folder of the library"):
            claim(config.home / inside)
    assert claim(None) == claim(config.home / "training" / "tiny-segmentation")
    new = tmp_path / "new"
    assert claim(new) == new
    (new / "state.safetensors").write_bytes(b"")
    assert claim(new) == new, "the training goes on"


def test_training_refuses_the_folder_of_its_pairs(run: Run) -> None:
    for name in ("images", "masks"):
        Path("pairs", name).mkdir(parents=True)
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"pairs/images/{number}.png")
        shutil.copy("a.mask.png", f"pairs/masks/{number}.png")
    words = ("train", "segmentation", "pairs", "--class", "tiny", "--work", "pairs")

    status, error = run(Case(words), "")

    assert status == 1
    assert "work: pairs holds other files, and no training" in error
    assert sorted(path.name for path in Path("pairs").iterdir()) == ["images", "masks"]


@pytest.mark.parametrize("module", ["practice", "starter"])
def test_folders_to_practise_on_are_new_ones(tmp_path: Path, module: str) -> None:
    (tmp_path / "faces.yaml").write_text("mine")
    command = importlib.import_module(f"editvec.avatars.{module}").main

    found = CliRunner().invoke(command, [str(tmp_path)])

    assert found.exit_code == 1
    assert "choose a new or empty one, or give --overwrite" in found.output
    assert [path.name for path in tmp_path.iterdir()] == ["faces.yaml"]


# --- marks ---


def test_marked_picture_is_the_same_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    data = png_bytes(Image.fromarray(noise))
    path = tmp_path / "a.png"

    OutputFile(path).write(data)

    assert (np.asarray(Image.open(path)) == noise).all()
    text = Image.open(path)
    text.load()
    assert text.info["editvec-output"] == hashlib.sha256(data).hexdigest()  # type: ignore[attr-defined]
    assert marked(path.read_bytes()) == path.read_bytes() != data


def test_place_is_checked_again_when_the_file_is_written(tmp_path: Path) -> None:
    file = OutputFile(tmp_path / "a.html")
    file.check()
    file.path.write_text("meanwhile")

    with pytest.raises(OutputError, match=r"a\.html: it exists"):
        file.write(b"<!doctype html><html><head><title>x</title></head></html>")

    assert file.path.read_text() == "meanwhile"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 no archive",
        b"\x89PNG\r\n\x1a\n",
        b"<!doctype html>",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\xff" * 600,
        b"\0" * 1024,
    ],
)
def test_broken_files_are_nobodys(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)

    assert not is_own(tmp_path / "a")
