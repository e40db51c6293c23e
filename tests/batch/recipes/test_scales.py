"""Scales that are drawn per item: even, repeatable, and independent of each other."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.pinning import parse_edit, recipe_name
from editvec.batch.recipes.recipe import Edit, PinnedVector, Recipe
from editvec.batch.recipes.scales import (
    Choice,
    Share,
    Uniform,
    UsableRange,
    draw,
    parse_asked_scales,
    parse_scales,
    scale_ends,
    scale_from_json,
    scale_to_json,
)

HALF = Choice((1.0, 0.0), (0.5, 0.5))


def vector(name: str) -> PinnedVector:
    return PinnedVector(
        address=f"avatars/{name}@1", attribute=name, delta_digest="0" * 64, roi_labels=("mouth",)
    )


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("smile=uniform(0.5,1.5)", Uniform(0.5, 1.5)),
        ("smile= uniform( -1 , 1 ) ", Uniform(-1.0, 1.0)),
        ("smile=choice(0,1)", Choice((0.0, 1.0), (1.0, 1.0))),
        ("smile=50%", Share(0.5)),
        ("smile=12.5 %", Share(0.125)),
        ("smile=uniform", UsableRange()),
    ],
)
def test_drawn_scales_are_read(text: str, scale: object) -> None:
    assert parse_edit(text).scales == (scale,)


@pytest.mark.parametrize(
    "text",
    [
        "smile=uniform(1,1)",
        "smile=uniform(2,1)",
        "smile=uniform(1)",
        "smile=uniform(a,b)",
        "smile=choice(1)",
        "smile=choice()",
        "smile=choice(1,nan)",
        "smile=0%",
        "smile=100%",
        "smile=1..0%",
        "smile=normal(0,1)",
    ],
)
def test_wrong_draws_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^edit: "):
        parse_edit(text)


@pytest.mark.parametrize("count", [10, 37, 100, 1001])
@pytest.mark.parametrize("seed", [0, 7])
def test_half_means_half_of_any_number_of_items(count: int, seed: int) -> None:
    drawn = [draw([HALF], names=["smile"], seed=seed, position=i)[0] for i in range(count)]

    assert abs(sum(drawn) - count / 2) <= 1.5


def test_two_halves_are_independent() -> None:
    drawn = Counter(
        tuple(draw([HALF, HALF], names=["smile", "look"], seed=1, position=i)) for i in range(400)
    )

    assert set(drawn) == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}
    assert all(abs(count - 100) <= 8 for count in drawn.values())


@pytest.mark.parametrize("count", [20, 48, 100])
def test_each_of_three_halves_is_half_of_a_small_set(count: int) -> None:
    names = ["smile", "look", "frown"]
    drawn = [draw([HALF] * 3, names=names, seed=0, position=i) for i in range(count)]

    for column in zip(*drawn, strict=True):
        assert abs(sum(column) - count / 2) <= 3


def test_a_range_is_filled_evenly() -> None:
    drawn = [draw([Uniform(-1.0, 1.0)], names=["a"], seed=0, position=i)[0] for i in range(200)]

    tenths = Counter(int((scale + 1) * 5) for scale in drawn)
    assert all(17 <= tenths[place] <= 23 for place in range(10))


@given(st.integers(0, 2**62), st.integers(0, 10**7))
def test_an_item_always_gets_the_same_scale_and_it_is_one_of_those_allowed(
    seed: int, position: int
) -> None:
    scales = [Uniform(0.5, 1.5), Choice((0.0, 2.0, 3.0), (1.0, 2.0, 1.0))]

    first = draw(scales, names=["a", "b"], seed=seed, position=position)

    assert first == draw(scales, names=["a", "b"], seed=seed, position=position)
    assert 0.5 <= first[0] <= 1.5
    assert first[1] in (0.0, 2.0, 3.0)


def test_weights_decide_how_often() -> None:
    rare = Choice((1.0, 0.0), (0.05, 0.95))

    drawn = [draw([rare], names=["a"], seed=3, position=i)[0] for i in range(1000)]

    assert abs(sum(drawn) - 50) <= 3


def test_a_recipe_gives_each_item_its_scales_and_comes_back_from_the_plan() -> None:
    edits = (
        Edit(vector=vector("smile"), scale=Uniform(0.5, 1.5)),
        Edit(vector=vector("frown"), scale=-1.0),
        Edit(vector=vector("look"), scale=HALF),
    )
    recipe = Recipe(name=recipe_name(edits), edits=edits)

    items = [recipe.edits_at(position, seed=5) for position in range(20)]

    assert Recipe.from_json(recipe.to_json()) == recipe
    assert {item[1].scale for item in items} == {-1.0}
    assert {item[2].scale for item in items} == {0.0, 1.0}
    assert len({item[0].scale for item in items}) == 20
    assert recipe.name == "smile~+0.50to+1.50_frown-1.00_look~+1.00or+0.00"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("100", 1),
        ("-100", 1),
        ("0:1:2", 2),
        ("1:-1:101", 101),
        ("choice(0,1)", 1),
        (f"choice({','.join(map(str, range(-50, 51)))})", 1),
        (f"choice({','.join(map(str, range(-50, 52)))})", None),
        ("choice(1)", None),
        ("100.01", None),
        ("-100.01", None),
        ("nan", None),
        ("0:1:1", None),
        ("0:1:102", None),
        ("1:1:3", None),
        ("0:1e-13:3", None),
        ("0:1", None),
        ("0:1:2:3", None),
        ("0:1:-2", None),
        ("0.1%", 1),
        ("99.9%", 1),
        ("0%", None),
        ("100%", None),
        ("1.2.3%", None),
        ("uniform(0,0)", None),
        ("uniform(1,0)", None),
        ("uniform(0,1,2)", None),
        ("uniform(-1,1)", 1),
        ("uniform", 1),
    ],
)
def test_scales_that_are_typed_end_at_their_limits(text: str, count: int | None) -> None:
    if count is None:
        with pytest.raises(RecipeError, match=r"^edit: "):
            parse_asked_scales(text, of=f"smile={text}")
    else:
        assert len(parse_asked_scales(text, of=f"smile={text}")) == count


def test_a_sweep_holds_both_ends_and_equal_steps() -> None:
    assert parse_scales("-1:1:5") == (-1.0, -0.5, 0.0, 0.5, 1.0)
    assert parse_scales("0.3:0.1:3") == (0.3, 0.2, 0.1)
    assert str(parse_scales("-0")[0]) == "0.0"


def test_draws_of_old_plans_are_halton_s_sequence() -> None:
    """As scipy makes it, shifted by the seed."""
    from scipy.stats import qmc

    ranges = [Uniform(0.0, 1.0)] * 3
    found = np.array([draw(ranges, names=["a", "b", "c"], seed=3, position=n) for n in range(50)])
    points = qmc.Halton(3, scramble=False).random(50)

    shifted = (points + (found[0] - points[0])) % 1
    assert np.abs((found - shifted + 0.5) % 1 - 0.5).max() < 2e-6


def test_the_ends_of_what_is_drawn() -> None:
    choice = Choice((2.0, -1.0, 0.5), (1.0, 2.0, 1.0))

    assert [choice.at(share) for share in (0.0, 0.2499, 0.25, 0.7499, 0.75, 1.0)] == [
        2.0, 2.0, -1.0, -1.0, 0.5, 0.5,
    ]  # fmt: skip
    assert scale_ends(choice) == (-1.0, 2.0)
    assert scale_ends(Uniform(-0.5, 0.25)) == (-0.5, 0.25)
    assert scale_ends(0.7) == (0.7, 0.7)
    assert [Uniform(-0.5, 0.25).at(share) for share in (0.0, 0.5, 1.0)] == [-0.5, -0.125, 0.25]
    for scale in (choice, Uniform(-0.5, 0.25), 0.7):
        assert scale_from_json(scale_to_json(scale)) == scale
