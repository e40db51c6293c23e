"""`registry show` with pictures: written to files, and opened in whatever viewer there is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask
from tests.support.registry_fixtures import (
    RESOLUTION,
    Failure,
    Run,
    mask_pair,
    new_vector,
    random_delta,
)

PNG = b"\x89PNG"


@pytest.fixture
def shown(run: Run, sqlite_library: Library) -> Run:
    """A library with `smile`, which has a mask pair and a preview, and `bare`, which has none."""
    labels = sqlite_library.get_class("avatars").labels
    sqlite_library.add_vector(new_vector(), random_delta(), pairs=[mask_pair(labels)])
    sqlite_library.add_vector(new_vector("bare"), random_delta(1))
    preview = encode_mask(np.zeros((RESOLUTION, RESOLUTION), np.uint8), labels)
    sqlite_library.set_preview("smile", preview)
    return run


@pytest.fixture
def make_viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Makes an `xdg-open` that notes the file it is given; returns the note."""

    def make(status: int) -> Path:
        note = tmp_path / "opened"
        program = tmp_path / "bin" / "xdg-open"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$1" > "{note}"\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return note

    return make


def test_pair_and_preview_are_written(shown: Run, tmp_path: Path) -> None:
    pair, preview = tmp_path / "pair.png", tmp_path / "preview.png"

    text = shown("registry", "show", "smile", "--pair", pair, "--preview", preview)

    assert "avatars/smile@1" in text, "what is shown is shown anyway"
    with Image.open(pair) as picture:
        assert picture.width > 4 * 256
    with Image.open(preview) as picture:
        assert picture.size == (RESOLUTION, RESOLUTION)


def test_show_tells_where_the_preview_lies(shown: Run) -> None:
    lines = shown("registry", "show", "smile").splitlines()

    place = next(line.split()[1] for line in lines if line.startswith("preview"))

    assert Path(place).read_bytes().startswith(PNG)
    assert "preview" not in shown("registry", "show", "bare")


def test_pair_is_opened_in_the_viewer(shown: Run, make_viewer: Callable[[int], Path]) -> None:
    note = make_viewer(0)

    shown("registry", "show", "smile", "--open")

    opened = Path(note.read_text().strip())
    assert opened.name == "smile@1.png"
    assert opened.read_bytes().startswith(PNG)
    opened.unlink()
    opened.parent.rmdir()


@pytest.mark.parametrize("status", [None, 3], ids=["absent", "fails"])
def test_without_a_viewer_one_line_says_so(
    status: int | None,
    shown: Run,
    make_viewer: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if status is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        note = make_viewer(status)

    with pytest.raises(Failure) as failure:
        shown("registry", "show", "smile", "--open")

    line = "1: editvec: error: no viewer for pictures here; --pair PNG writes the mask pair\n"
    assert str(failure.value) == line
    if status is not None:
        assert not Path(note.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("bare", "--pair", "a.png"), "vector avatars/bare@1 has no mask pair: it is learned"),
        (("bare", "--open"), "vector avatars/bare@1 has no mask pair"),
        (("bare", "--preview", "a.png"), "`editvec registry preview avatars/bare@1` draws one"),
        (("smile", "--pair", "no/such/a.png"), "its folder does not exist"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    words: tuple[str, ...], line: str, shown: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Failure) as failure:
        shown("registry", "show", *words)

    assert line in str(failure.value)
    assert str(failure.value).count("\n") == 1
    assert not (tmp_path / "a.png").exists()
