"""The commands of the group `mask`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import editvec.cli
from editvec.registry.masks.png import MaskArray

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

VALUES = np.array([0, 1, 2, 9])
"""What index PNGs of the scheme hold for its parts."""


def _values(name: str) -> npt.NDArray[Any]:
    with Image.open(name) as image:
        return np.asarray(image)


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
    Image.fromarray(VALUES.astype(np.uint8)[_mask()]).save(name)
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
        assert (_values(name) == VALUES[_mask()]).all()


def test_convert_replaces_nothing_of_others_and_puts_several_into_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _save("in/a.png")
    _save("in/b.png")
    scheme = ("--scheme", "toy.yaml")

    assert _run(capsys, "convert", "in", "one.png", "--image", "a", *scheme) == "one.png\n"
    Path("one.png").write_bytes(Path("in/b.png").read_bytes())
    assert "one.png: it exists" in _run(capsys, "convert", "in/a.png", "one.png", *scheme, status=1)
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

    typed = _values("typed.png")
    assert (typed == _values("text.png")).all()
    assert (typed == 2).sum() == 30
    assert (typed == 9).sum() == 12
    assert _width("p.png") > 1000


def test_paste_and_remove(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _save("a.png")
    words = ("edit", "a.png", "--scheme", "toy.yaml", "--part", "eye")

    told = _run(capsys, *words, "--remove", "-o", "bare.png")
    _run(capsys, "edit", "bare.png", *words[2:], "--paste", "a.png", "-o", "back.png")

    assert told == "bare.png: 24 of 240 pixels changed\n"
    assert (_values("bare.png") <= 1).all()
    assert (_values("back.png") == VALUES[_mask()]).all()


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


# --- what annotation tools say ---


def _coco(*names: str) -> Path:
    square = [[1, 2, 19, 2, 19, 11, 1, 11]]
    content = {
        "images": [
            {"id": place, "file_name": name, "height": 12, "width": 20}
            for place, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "body"}],
        "annotations": [
            {"image_id": place, "category_id": 1, "segmentation": square}
            for place in range(len(names))
        ],
    }
    Path("coco.json").write_text(json.dumps(content))
    return Path("coco.json")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b]0;owned\x07.jpg", r"a\x1b]0;owned\x07.jpg"),
        ("a\x9b2J.jpg", r"a\x9b2J.jpg"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("a\u2066.jpg", r"a\u2066.jpg"),
    ],
)
def test_names_that_terminals_obey_are_escaped_and_become_no_files(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, shown: str
) -> None:
    source = str(_coco("good.jpg", name))

    assert shown in _run(capsys, "show", source, "--scheme", "toy.yaml")
    printed = _run(capsys, "show", source, "--scheme", "toy.yaml", "--json")
    assert printed.isascii()
    assert sorted(json.loads(printed)) == sorted(["good.jpg", name])
    for target in ("palette", "parts"):
        error = _run(capsys, "convert", source, "out", "--scheme", "toy.yaml", "--to", target,
                     status=1)  # fmt: skip
        assert "is no character for a file" in error
        assert error.rstrip("\n").isprintable()
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "name", ["a\nb.jpg", "a\u2028b.jpg", "a\0.jpg", "\ud800.jpg", "/", "a/../b"]
)
def test_names_that_are_none_of_files_are_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = str(_coco("good.jpg", name))

    error = _run(capsys, "convert", source, "out", "--scheme", "toy.yaml", status=1)

    assert "for a file" in error or "name of no file" in error
    assert not Path("out").exists()


def test_names_of_every_script_become_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["می\u200cخواهم.jpg", "Zoë 👩\u200d🚀.jpg", "שלום.png"]
    source = str(_coco(*names))

    _run(capsys, "convert", source, "out", "--scheme", "toy.yaml")

    made = {path.stem for path in Path("out").iterdir()}
    assert made == {name.rpartition(".")[0] for name in names}


def test_two_masks_of_one_image_are_refused_with_both_places(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = _run(capsys, "show", str(_coco("a.jpg", "a.jpg")), "--scheme", "toy.yaml", status=1)

    assert "images[1]: a second mask for a.jpg, after annotations coco.json: images[0]" in error


def test_other_shapes_are_left_out_on_demand(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.xml").write_text(
        '<annotations><image id="0" name="a.jpg" width="20" height="12">'
        '<points label="body" points="3,3"/></image></annotations>'
    )
    words = ("a.xml", "--scheme", "toy.yaml", "--skip-other-shapes")

    assert "--skip-other-shapes leaves" in _run(capsys, "show", *words[:3], status=1)
    assert "body" not in _run(capsys, "show", *words)
    assert _run(capsys, "convert", words[0], "a.png", *words[1:]) == "a.png\n"
    assert (_values("a.png") == VALUES[np.zeros((12, 20), int)]).all()
    edited = _run(capsys, "edit", *words, "--operation", "background: grow 1", "-o", "b.png")
    assert edited.startswith("b.png: 0 of 240")


def test_shares_are_told_where_only_the_picture_says_the_size(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data.yaml").write_text("names: [body]\n")
    Path("a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    words = ("a.txt", "--scheme", "toy.yaml")
    Image.new("RGB", (20, 12)).save("photo.jpg")

    assert editvec.cli.main(["mask", "show", *words]) == 0
    printed = capsys.readouterr()
    assert "25.0%" in printed.out
    assert "a: only its picture says how many pixels it has" in printed.err
    assert "--images" in _run(capsys, "convert", words[0], "a.png", *words[1:], status=1)
    _run(capsys, "convert", words[0], "a.png", *words[1:], "--images", "photo.jpg")
    expected = np.zeros((12, 20), int)
    expected[3:9, 5:15] = 1
    assert (_values("a.png") == VALUES[expected]).all()
    assert "60" in _run(capsys, "show", *words, "--photo", "photo.jpg")
