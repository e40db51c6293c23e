"""The commands of the group `mask`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import editvec.cli
from editvec.registry.masks.png import MaskArray, read_mask

SCHEME = """
name: toy
parts:
  - background
  - {name: body, color: "#ff0000"}
  - {name: eye_left, color: "#00ff00"}
  - {name: eye_right, color: "#0000ff", value: 9}
groups: {head: [body, eye]}
splits: {eye: left/right}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITVEC_HOME", str(tmp_path / "home"))
    Path("toy.yaml").write_text(SCHEME)
    return tmp_path


def _mask() -> MaskArray:
    mask = np.zeros((12, 20), np.int32)
    mask[2:11, 1:19] = 1
    mask[4:7, 3:7] = 2
    mask[4:7, 12:16] = 3
    return mask


def _save(name: str) -> Path:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([0, 1, 2, 9], np.uint8)[_mask()]).save(name)
    return Path(name)


def _width(name: str) -> int:
    with Image.open(name) as picture:
        return picture.width


def _run(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert editvec.cli.main(["mask", *words]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_scheme_is_checked_and_shown_without_a_library(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _run(capsys, "scheme", "toy.yaml")

    assert "3  eye_right   #0000ff  9" in text
    assert "head   body, eye_left, eye_right" in text
    assert json.loads(_run(capsys, "scheme", "toy.yaml", "--json"))["name"] == "toy"
    assert not (folder / "home").exists()
    Path("bad.yaml").write_text("parts: [a, a]")
    assert "bad.yaml, line 1: the name 'a'" in _run(capsys, "scheme", "bad.yaml", status=1)


def test_show_tells_the_parts_of_one_mask_and_of_several(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _save("masks/a.png")
    _save("masks/b.png")

    one = json.loads(_run(capsys, "show", "masks/a.png", "--scheme", "toy.yaml", "--json"))
    several = _run(capsys, "show", "masks", "--scheme", "toy.yaml")

    assert one[2] == {"part": "eye_left", "pixels": 12, "share": 0.05, "pieces": 1,
                      "box": [3, 4, 4, 3]}  # fmt: skip
    assert "b.png     240      4  background, body, eye_left, eye_right" in several
    _run(capsys, "show", "masks", "--image", "b", "--picture", "p.png", "--scheme", "toy.yaml")
    assert _width("p.png") > 400


@pytest.mark.parametrize("form", ["palette", "index", "colors", "parts"])
def test_what_is_converted_is_read_back(
    folder: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    _save("in/a.png")
    _save("in/deep/b.png")

    made = _run(capsys, "convert", "in", "out", "--to", form, "--scheme", "toy.yaml").split()
    _run(capsys, "convert", "out", "back", "--to", "index", "--scheme", "toy.yaml")

    assert len(made) == (8 if form == "parts" else 2)
    for name in ("back/a.png", "back/deep/b.png"):
        assert (read_mask(Path(name)) == _mask()).all()


def test_convert_replaces_nothing_and_puts_several_into_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _save("in/a.png")
    _save("in/b.png")
    scheme = ("--scheme", "toy.yaml")

    assert _run(capsys, "convert", "in", "one.png", "--image", "a", *scheme) == "one.png\n"
    assert "it exists already" in _run(capsys, "convert", "in/a.png", "one.png", *scheme, status=1)
    assert "2 masks go into a folder" in _run(capsys, "convert", "in", "x.png", *scheme, status=2)


def test_options_of_edit_are_done_in_the_order_in_which_they_are_typed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _save("a.png")
    words = ("edit", "a.png", "--scheme", "toy.yaml", "--part", "eye[left]")

    _run(capsys, *words, "--shift", "2,0", "--scale", "1.5", "--shift", "0,1", "-o", "typed.png")
    text = "eye[left]: shift 2,0, scale 1.5, shift 0,1"
    _run(capsys, *words[:4], "--operation", text, "-o", "text.png", "--picture", "p.png")
    _run(capsys, *words, "--scale", "1.5", "--shift", "0,1", "--shift", "2,0", "-o", "other.png")

    typed = read_mask(Path("typed.png"))
    assert (typed == read_mask(Path("text.png"))).all()
    assert (typed == 2).sum() == 30
    assert (typed == 3).sum() == 12
    assert _width("p.png") > 1000


def test_paste_and_remove(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _save("a.png")
    words = ("edit", "a.png", "--scheme", "toy.yaml", "--part", "eye")

    told = _run(capsys, *words, "--remove", "-o", "bare.png")
    _run(capsys, "edit", "bare.png", *words[2:], "--paste", "a.png", "-o", "back.png")

    assert told == "bare.png: 24 of 240 pixels changed\n"
    assert (read_mask(Path("bare.png")) <= 1).all()
    assert (read_mask(Path("back.png")) == _mask()).all()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--part", "eye"), 2, "--part needs an operation"),
        (("--remove",), 2, "--part needs an operation"),
        ((), 2, "give --part with an operation"),
        (("--part", "eye", "--scale", "big"), 1, "operation scale: expected a number, got 'big'"),
        (("--part", "ear", "--remove"), 1, "has no part 'ear'"),
        (("--operation", "eye"), 1, "expected PARTS: OPERATION"),
        (("--part", "eye", "--paste", "no.png"), 1, "no.png: No such file"),
        (("--part", "eye", "--remove", "--class", "toy"), 2, "either --scheme or --class"),
    ],
)
def test_what_is_wrong_with_an_edit_is_told_and_nothing_is_written(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    _save("a.png")
    scheme = ("--scheme", "toy.yaml", "-o", "out.png")

    assert message in _run(capsys, "edit", "a.png", *scheme, *words, status=status)
    assert not Path("out.png").exists()
