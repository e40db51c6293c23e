"""Scales that are shared out over a run: exact shares, uncorrelated columns, and no state."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.errors import RecipeError, SettingsError
from editvec.batch.recipes.balanced import draw_balanced
from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.recipes.scales import Choice, Drawn, Uniform
from editvec.batch.runs.planning import open_run
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]
HALF = Choice((1.0, 0.0), (0.5, 0.5))


def share(percent: float) -> Choice:
    return Choice((1.0, 0.0), (percent / 100, 1 - percent / 100))


def table(scales: list[Drawn], *, seed: int, count: int) -> np.ndarray[tuple[int, int], np.dtype]:
    names = [f"recipe avatars/v{number}@1" for number in range(len(scales))]
    return np.array(
        [
            draw_balanced(scales, names=names, seed=seed, position=position, count=count)
            for position in range(count)
        ]
    )


@pytest.mark.parametrize(
    ("percent", "count", "expected"),
    [
        (10, 10, 1), (30, 10, 3), (50, 64, 32), (50, 65, (32, 33)), (12, 10, 1), (1, 1000, 10),
        (29, 100, 29), (7, 100, 7), (5, 10, (0, 1)), (99, 10, 10), (33, 1000, 330), (0.5, 6400, 32),
    ],
)  # fmt: skip
def test_a_share_is_exact_for_every_seed(
    percent: float, count: int, expected: int | tuple[int, int]
) -> None:
    allowed = {expected} if isinstance(expected, int) else set(expected)

    seen = {int(table([share(percent)], seed=seed, count=count).sum()) for seed in range(8)}

    assert seen <= allowed


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(1, 400), st.integers(0, 2**62)
)
def test_each_scale_of_a_choice_comes_as_often_as_it_should(
    weights: list[int], count: int, seed: int
) -> None:
    scale = Choice(tuple(map(float, range(len(weights)))), tuple(map(float, weights)))

    found = Counter(table([scale], seed=seed, count=count)[:, 0])

    assert sum(found.values()) == count
    for value, weight in enumerate(weights):
        wanted = Fraction(count * weight, sum(weights))
        assert abs(found[float(value)] - wanted) < 1
        assert wanted.denominator > 1 or found[float(value)] == wanted


def test_ten_halves_of_fifty_items_are_hardly_correlated_for_any_seed() -> None:
    for seed in range(60):
        drawn = table([HALF] * 10, seed=seed, count=50)

        assert (drawn.sum(axis=0) == 25).all()
        correlated = np.corrcoef(drawn.T) - np.eye(10)
        assert np.abs(correlated).max() < 0.3


@pytest.mark.parametrize("count", [30, 64, 65, 130, 1000])
def test_mixed_scales_are_hardly_correlated(count: int) -> None:
    scales = [HALF, share(20), Uniform(-1, 1), Choice.evenly((0, 0.5, 1)), Uniform(0, 2), share(90)]
    for seed in range(5):
        drawn = table(scales, seed=seed, count=count)

        correlated = np.corrcoef(drawn.T) - np.eye(len(scales))
        assert np.abs(correlated).max() < 0.3


@pytest.mark.parametrize("count", [24, 48, 400])
def test_every_combination_of_three_halves_is_as_frequent(count: int) -> None:
    found = Counter(map(tuple, table([HALF] * 3, seed=3, count=count).tolist()))

    assert len(found) == 8
    assert all(abs(number - count / 8) <= max(1, count / 50) for number in found.values())


@pytest.mark.parametrize("count", [1, 7, 64, 1001])
def test_a_range_is_covered_in_equal_steps(count: int) -> None:
    drawn = np.sort(table([Uniform(-1, 1)], seed=4, count=count)[:, 0])

    places = np.floor((drawn + 1) / 2 * count).astype(int)
    assert places.tolist() == list(range(count))


def test_rare_items_lie_anywhere_in_the_run() -> None:
    places = np.concatenate(
        [np.flatnonzero(table([share(1)], seed=seed, count=1000)[:, 0]) for seed in range(20)]
    )

    # of 200 places in quarters of the run, 50 each
    quarters = np.bincount(places // 250, minlength=4)
    assert (quarters > 25).all()


@given(st.integers(0, 2**62), st.integers(1, 10**7), st.data())
def test_an_item_needs_no_other_item(seed: int, count: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, count - 1))
    scales: list[Drawn] = [Uniform(0.5, 1.5), Choice((0.0, 2.0, 3.0), (1.0, 2.0, 1.0))]

    first = draw_balanced(scales, names=["a", "b"], seed=seed, position=position, count=count)

    assert first == draw_balanced(
        scales, names=["a", "b"], seed=seed, position=position, count=count
    )
    assert 0.5 <= first[0] <= 1.5
    assert first[1] in (0.0, 2.0, 3.0)


def test_another_process_draws_the_same() -> None:
    program = (
        "import json; from editvec.batch.recipes.balanced import draw_balanced as draw\n"
        "from editvec.batch.recipes.scales import Choice, Uniform\n"
        "scales = [Choice((1.0, 0.0), (0.5, 0.5)), Uniform(-1, 1)]\n"
        "scales.append(Choice((1.0, 0.0), (0.2, 0.8)))\n"
        "names = ['a', 'b', 'c']\n"
        "at = reversed(range(200))\n"
        "print(json.dumps([draw(scales, names=names, seed=7, position=i, count=200) for i in at]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    ).stdout
    scales: list[Drawn] = [HALF, Uniform(-1, 1), share(20)]

    drawn = [
        draw_balanced(scales, names=["a", "b", "c"], seed=7, position=position, count=200)
        for position in range(200)
    ]

    assert json.loads(told)[::-1] == drawn


def test_recipes_and_seeds_draw_differently() -> None:
    tables = {
        (name, seed): tuple(
            draw_balanced([HALF], names=[name], seed=seed, position=i, count=40)[0]
            for i in range(40)
        )
        for name in ("a", "b")
        for seed in (0, 1)
    }

    assert len(set(tables.values())) == 4


@pytest.mark.parametrize("chunk_size", [1, 3, 20])
def test_chunks_and_manifests_agree_on_what_was_drawn(
    library: Library, make_pictures: MakePictures, tmp_path: Path, chunk_size: int
) -> None:
    out = tmp_path / "out"

    do(library, request(make_pictures(10), out, "smile=10%", "frown=50%", chunk_size=chunk_size))

    made = rows(out)
    assert sum(row["attributes"]["smile"] for row in made) == 1
    assert sum(row["attributes"]["frown"] for row in made) == 5
    for row in made:
        is_unchanged = row["metrics"]["leakage"]["psnr"] == 999
        assert is_unchanged == (set(row["attributes"].values()) == {0.0})


@pytest.mark.parametrize(
    ("edit", "sources", "is_written"),
    [
        ("smile=1", None, True),
        ("smile=1", False, False),
        ("smile=50%", None, False),
        ("smile=50%", True, True),
        ("smile=choice(0,1)", None, False),
    ],
)
@pytest.mark.parametrize("output", ["imagefolder", "webdataset"])
def test_unedited_copies_are_written_unless_a_scale_is_drawn(
    library: Library,
    tmp_path: Path,
    edit: str,
    sources: bool | None,
    is_written: bool,
    output: str,
) -> None:
    out = tmp_path / "out"

    do(library, request(None, out, edit, count=4, sources=sources, output=output))

    made = rows(out)
    assert len(made) == (8 if is_written else 4)
    assert (SOURCE_RECIPE in {row["recipe"] for row in made}) == is_written
    edited = [row for row in made if row["recipe"] != SOURCE_RECIPE]
    assert sum(row["attributes"]["smile"] for row in edited) == (4 if edit == "smile=1" else 2)
    if not is_written:
        assert {row["source"] for row in made} == {f"seed-0-{i:06d}" for i in range(4)}


def test_the_command_writes_unedited_copies_where_it_is_told_to(
    run_editvec: Callable[..., int], library: Library, tmp_path: Path
) -> None:
    words = ("batch", "generate", tmp_path / "out", "--count", "4", "--edit", "smile=25%")

    assert run_editvec(*words, "--sources", "yes") == 0

    made = rows(tmp_path / "out")
    assert [row["recipe"] for row in made].count(SOURCE_RECIPE) == 4
    assert sum(row["attributes"]["smile"] for row in made) == 1
    assert run_editvec(*words, "--sources", "no") == 1  # the folder holds another run


@pytest.mark.parametrize("sources", [True, False])
def test_sources_of_pictures_are_refused(
    library: Library, make_pictures: MakePictures, tmp_path: Path, sources: bool
) -> None:
    asked = request(make_pictures(1), tmp_path / "out", "smile=1", sources=sources)

    with pytest.raises(SettingsError, match=r"^sources: only sampled images"):
        open_run(library, asked)


def test_a_generated_run_without_edits_and_sources_is_refused(
    library: Library, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="at least one --edit"):
        open_run(library, request(None, tmp_path / "out", count=2, sources=False))
