"""Labels of latents that come from a file or a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from editvec.batch.discovery.labels import read_population
from editvec.batch.errors import PlanError, SettingsError
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels, write_png
from editvec.registry.library.library import Library
from tests.support.directions import Find, balanced_editor, finder, labels_by_number


@pytest.fixture
def editor(library: Library) -> Editor:
    return balanced_editor(library)


@pytest.fixture
def find(library: Library, editor: Editor) -> Find:
    return finder(library, editor)


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_samples_are_labelled_by_number_or_name(
    editor: Editor, write_csv: Callable[[str], Path]
) -> None:
    path = write_csv("sample,pink,wide\n3,1,yes\n\nseed-7-000002,0,\n5, ,FALSE\n")

    population = read_population(path, editor, seed=0)

    expected = [editor.sample(6, 0)[3], editor.sample(3, 7)[2], editor.sample(6, 0)[5]]
    torch.testing.assert_close(population.ws, torch.stack(expected))
    assert population.scores["pink"].nan_to_num(9).tolist() == [1, -1, 9]
    assert population.scores["wide"].nan_to_num(9).tolist() == [1, 9, -1]
    assert population.next_sample == 6


def test_numbers_count_by_their_value(editor: Editor, write_csv: Callable[[str], Path]) -> None:
    path = write_csv(
        "sample,pink,wide\n0,0.0,1.0\n1,1.,-1.00\n2.0,nan,NaN\n3,NA,1e0\n4,-0.0,<NA>\n"
    )

    population = read_population(path, editor, seed=0)

    assert population.scores["pink"].nan_to_num(9).tolist() == [-1, 1, 9, 9, -1]
    assert population.scores["wide"].nan_to_num(9).tolist() == [1, -1, 9, 1, 9]
    torch.testing.assert_close(population.ws[2], editor.sample(3, 0)[2])


@pytest.mark.parametrize("word", ["0.5", "2.0", "inf", "1,0", "1.0.0", "nano"])
def test_other_numbers_are_no_labels(
    editor: Editor, write_csv: Callable[[str], Path], word: str
) -> None:
    with pytest.raises(PlanError, match="line 2: pink: expected 1, 0 or nothing, got"):
        read_population(write_csv(f'sample,pink\n0,"{word}"\n'), editor, seed=0)


@pytest.mark.parametrize("is_folder", [True, False])
def test_pictures_are_labelled_by_folder_or_file(
    find: Find, library: Library, editor: Editor, tmp_path: Path, is_folder: bool
) -> None:
    ws = editor.sample(16, 0)
    pixels = to_pixels(editor.synthesize(ws).clamp(-1, 1))
    lines = ["file_name,pink"]
    for number, picture in enumerate(pixels):
        name = f"{'with' if number < 8 else 'without'}/{number}.png"
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / "in" / name, picture)
        lines.append(f"{name},{int(number < 8)}")
    (tmp_path / "in" / "pink.csv").write_text("\n".join(lines))

    (found,) = find(
        "pink",
        "mean",
        labels=tmp_path / "in" if is_folder else tmp_path / "in" / "pink.csv",
        attribute="pink" if is_folder else None,
    )

    assert found.settings["attribute"] == "pink"
    assert found.settings["labels"] == ("in" if is_folder else "pink.csv")
    assert len(found.settings["labels_digest"]) == 64
    assert found.settings["with"] == 8 - found.settings["held_out"][0]
    # the encoder's rows differ, and so do those of the difference
    assert (library.delta(found) != library.delta(found)[0]).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("sample,pink\n", "nothing is labelled"),
        ("number,pink\n1,1\n", "expected the columns sample or file_name and one for each attri"),
        ("sample,file_name,pink\n1,a,1\n", "expected the columns sample or file_name"),
        ("sample\n1\n", "expected the columns sample or file_name"),
        ("sample,pink,pink\n1,1,1\n", "expected the columns sample or file_name"),
        ("sample,pink\n1,maybe\n", "line 2: pink: expected 1, 0 or nothing, got 'maybe'"),
        ("sample,pink\n1,1\n\n2\n", "line 4: expected 2 columns, got 1"),
        ("sample,pink\n-1,1\n", "line 2: sample: expected a number such as 12, got '-1'"),
        ("file_name,pink\n,1\n", "line 2: file_name: expected a picture, got nothing"),
        ('sample,pink\n"1,1\n', "line 2: unexpected end of data"),
        ("sample,pink\n5,1\n6,0\nseed-0-000005,1\n", "line 4: sample: the same as in line 2"),
        ("file_name,pink\nnope.png,1\n", "line 2: file_name: expected a picture below the file"),
    ],
)
def test_a_file_that_labels_nothing_is_refused_with_its_line(
    editor: Editor, write_csv: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(PlanError) as caught:
        read_population(write_csv(text), editor)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_needs_both_labels(editor: Editor, make_pictures: Callable[..., Path]) -> None:
    folder = make_pictures(names=("with/a.png",))

    with pytest.raises(PlanError, match="expected the folders with and without, without is"):
        read_population(folder, editor)


@pytest.mark.parametrize(
    ("words", "chosen", "message"),
    [
        (["1", "0"] * 10, {"attribute": "wide"}, "labels.csv knows pink; got 'wide'"),
        (["1"] * 20, {}, "pink: of 20 pictures 0 lack it, expected at least 8"),
        (["1"] * 3 + ["0"] * 20, {}, "pink: of 23 pictures 3 have it"),
        (["1"] * 3 + ["0"] * 20, {"attribute": "not pink"}, "pink: of 23 pictures 3 have it"),
    ],
)
def test_labels_that_do_not_do_are_refused(
    find: Find,
    write_csv: Callable[[str], Path],
    words: list[str],
    chosen: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(SettingsError) as caught:
        find("pink", "mean", labels=write_csv(labels_by_number(words)), **chosen)

    assert message in str(caught.value)
