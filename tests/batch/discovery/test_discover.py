"""Directions that are found become vectors of the library, and mean what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from editvec.batch.discovery.boundaries import find_boundary
from editvec.batch.discovery.labels import Population, draw_population
from editvec.batch.discovery.request import DiscoverRequest
from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.evaluate import evaluate_vector
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.engine.discovery import factorise, modulation_weights
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import EditingVector, NewTerm
from editvec.registry.library.library import Library
from tests.support.directions import Find, balanced_editor, finder, logits

SEEN = ("mean", "interfacegan")


@pytest.fixture
def editor(library: Library) -> Editor:
    return balanced_editor(library)


@pytest.fixture
def find(library: Library, editor: Editor) -> Find:
    return finder(library, editor)


def labelled(count: int, **normals: Tensor) -> Population:
    """Latents around 0, alike in all directions, and their distances to hyperplanes through 0."""
    w = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 8)))
    scores = {name: w @ normal for name, normal in normals.items()}
    ws = w[:, None].expand(-1, 8, -1)
    return Population(ws, scores, "classifier", None, count, 0, count, is_graded=True)


def normal(seed: int) -> Tensor:
    drawn = torch.from_numpy(np.random.default_rng(seed).normal(size=8))
    return drawn / drawn.norm()


def value(vector: EditingVector, name: str) -> float:
    return next(one.value for one in vector.metrics if one.name == name)


# Boundaries.


@pytest.mark.parametrize("method", SEEN)
def test_a_direction_that_is_known_is_found(find: Find, library: Library, method: str) -> None:
    known = normal(1)
    population = labelled(2000, pink=known)

    (found,) = find("pink", method, attribute="pink", samples=2000, population=population)

    delta = torch.from_numpy(library.delta(found)).double()
    assert (delta == delta[0]).all()  # a direction of W moves every row alike
    assert float(delta[0] @ known / delta[0].norm()) > 0.99
    assert value(found, "boundary_accuracy") > 0.97


@pytest.mark.parametrize(
    ("method", "conditional"), [("mean", ()), ("interfacegan", ()), ("interfacegan", ("wide",))]
)
def test_scale_1_takes_the_mean_without_to_the_mean_margin_of_those_with(
    find: Find, library: Library, method: str, conditional: tuple[str, ...]
) -> None:
    population = labelled(400, pink=normal(1), wide=normal(2))
    w, scores = population.ws[:, 0].double(), population.scores["pink"]
    apart = w[scores > 0].mean(dim=0) - w[scores < 0].mean(dim=0)
    shared: dict[str, Any] = {"attribute": "pink", "samples": 400, "population": population}

    (plain,) = find("plain", method, **shared)
    (found,) = find("found", method, conditional=conditional, **shared)

    own = torch.from_numpy(library.delta(plain)[0]).double()
    own = own / own.norm()
    delta = torch.from_numpy(library.delta(found)[0]).double()
    assert float(own @ delta) == pytest.approx(float(own @ apart), rel=1e-5)
    assert found.settings["step"] == pytest.approx(float(delta.norm()), rel=1e-5)


def test_a_condition_is_not_moved_along(find: Find, library: Library) -> None:
    population = labelled(400, pink=normal(1), wide=normal(2), tall=normal(3))
    shared: dict[str, Any] = {"samples": 400, "population": population}

    (found,) = find("p", "interfacegan", attribute="pink", conditional=("wide", "tall"), **shared)
    (plain,) = find("q", "interfacegan", attribute="pink", **shared)

    delta, free = (torch.from_numpy(library.delta(one)[0]).double() for one in (found, plain))
    for other in ("wide", "tall"):
        (condition,) = find(other, "interfacegan", attribute=other, **shared)
        across = torch.from_numpy(library.delta(condition)[0]).double()
        assert abs(float(delta @ across)) < 1e-6 * float(delta.norm() * across.norm())
        assert abs(float(free @ across)) > 0.01 * float(free.norm() * across.norm())
    assert found.settings["conditional"] == ["wide", "tall"]
    kept = float(delta @ free / delta.norm() / free.norm())
    assert found.settings["kept"] == pytest.approx(kept, rel=1e-5)


def test_the_difference_of_means_takes_one_mean_to_the_other(find: Find, library: Library) -> None:
    ws = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 8, 8)))
    rows = torch.tensor([0, 1] * 10)
    population = Population(
        ws[rows], {"pink": rows * 2.0 - 1}, "pink.csv", "d", 0, 0, 0, is_graded=False
    )

    (found,) = find("pink", "mean", attribute="pink", population=population)
    (without,) = find("pale", "mean", attribute="not pink", population=population)

    # rows of embedded pictures differ, and so do those of the delta
    np.testing.assert_allclose(library.delta(found), ws[1] - ws[0], atol=1e-6)
    np.testing.assert_allclose(library.delta(without), ws[0] - ws[1], atol=1e-6)
    assert found.settings["with"] + found.settings["held_out"][0] == 10


@pytest.mark.parametrize("method", SEEN)
def test_what_is_held_out_has_no_part_in_the_direction(method: str) -> None:
    population = labelled(60, pink=normal(1))
    request = DiscoverRequest("tiny", "p", method, "pink", samples=60, confident=1.0)

    def direction(ws: Tensor) -> Tensor:
        row = find_boundary(population._replace(ws=ws), request, range(8)).delta[0]
        return row / row.norm()

    found = find_boundary(population, request, range(8))
    start = direction(population.ws)
    idle = 0
    for place in range(60):
        ws = population.ws.clone()
        ws[place] = -10 * ws[place]  # far on the wrong side
        idle += bool((direction(ws) - start).abs().max() < 1e-9)

    assert idle == sum(found.settings["held_out"]) == found.metrics[0].sample_count
    assert idle + found.settings["with"] + found.settings["without"] == 60
    assert idle == pytest.approx(0.3 * 60, abs=1)


@pytest.mark.parametrize("method", SEEN)
def test_the_surest_samples_of_the_classifier_decide(
    find: Find, editor: Editor, method: str
) -> None:
    population = draw_population(editor, 64, 0)
    smiling = int((population.scores["smiling"] > 0).sum())

    (found,) = find("s", method, attribute="smiling", confident=0.25, population=population)
    (all_of,) = find("t", method, attribute="smiling", confident=1.0, population=population)

    assert [found.settings["with"], found.settings["held_out"][0]] == [11, 5]  # of 64 / 4
    assert all_of.settings["with"] + all_of.settings["held_out"][0] == smiling
    names = {one.name: one for one in found.metrics}
    others = found.settings["with"] + found.settings["without"]
    assert names["boundary_accuracy_all"].sample_count == 64 - others
    assert "boundary_accuracy_all" not in {one.name for one in all_of.metrics}


@pytest.mark.parametrize("method", SEEN)
def test_the_same_request_finds_the_same_vector(find: Find, method: str) -> None:
    (first,) = find("smile", method, attribute="smiling", confident=1.0)
    (again,) = find("smile", method, attribute="smiling", confident=1.0)
    (other,) = find("smile", method, attribute="smiling", confident=1.0, seed=1)

    assert again.address == first.address == "tiny/smile@2"  # the library has a smile of its own
    assert other.delta_digest != first.delta_digest


def test_some_rows_move_and_the_others_do_not(find: Find, library: Library) -> None:
    (every,) = find("all", "interfacegan", attribute="smiling", confident=1.0)
    (some,) = find("some", "interfacegan", attribute="smiling", confident=1.0, rows=(2, 5))

    expected = library.delta(every).copy()
    expected[[0, 1, 5, 6, 7]] = 0
    np.testing.assert_allclose(library.delta(some), expected, rtol=1e-5)
    assert some.row_mask == (False, False, True, True, True, False, False, False)


# Factorisations.


def test_components_are_as_long_as_w_deviates_along_them(
    find: Find, library: Library, editor: Editor
) -> None:
    found = find("pc", "ganspace", count=3, samples=500)

    assert [one.name for one in found] == ["pc-1", "pc-2", "pc-3"]
    w = editor.sample(500, 0)[:, 0].double().numpy()
    variances, vectors = np.linalg.eigh(np.cov(w.T, bias=True))
    for one, variance, vector in zip(found, variances[::-1], vectors.T[::-1], strict=False):
        delta = library.delta(one)
        assert (delta == delta[0]).all()
        assert np.linalg.norm(delta[0]) == pytest.approx(np.sqrt(variance), rel=1e-4)
        assert abs(delta[0] @ vector) == pytest.approx(np.sqrt(variance), rel=1e-4)
        assert one.settings["share"] == pytest.approx(variance / variances.sum(), rel=1e-4)


def test_factors_are_those_of_the_layers_that_read_the_rows(
    find: Find, library: Library, editor: Editor
) -> None:
    (found,) = find("f", "sefa", count=1, rows=(1, 4), samples=500)
    weights = modulation_weights(editor.generator.synthesis, [1, 2, 3])
    direction = factorise(weights).directions[0].numpy()

    delta = library.delta(found)
    w = editor.sample(500, 0)[:, 0].double().numpy()
    np.testing.assert_allclose(delta[1], direction * (w @ direction).std(), atol=1e-5)
    np.testing.assert_array_equal(delta[[0, 4, 5, 6, 7]], 0)
    assert found.name == "f"


@pytest.mark.parametrize("method", ["sefa", "ganspace"])
@pytest.mark.parametrize("attribute", ["smiling", "not smiling"])
def test_the_direction_that_moves_an_attribute_most_is_kept(
    find: Find, library: Library, editor: Editor, method: str, attribute: str
) -> None:
    every = find("d", method, count=3, samples=50, probes=4)
    ws = editor.sample(4, 0, first=50)
    moves = []
    for one in every:
        delta = torch.from_numpy(library.delta(one))
        both = [logits(editor, ws + side * delta)[:, 0].mean() for side in (1, -1)]
        moves.append(float(both[0] - both[1]) * (-1 if attribute.startswith("not") else 1))
    best = int(np.abs(moves).argmax())

    (found,) = find("e", method, count=3, samples=50, probes=4, attribute=attribute)

    expected = library.delta(every[best]) * np.sign(moves[best])
    np.testing.assert_allclose(library.delta(found), expected, rtol=1e-5)
    assert found.settings["component"] == best + 1
    assert found.settings["tried"] == 3


# What is stored.


@pytest.mark.parametrize("method", SEEN)
def test_the_change_of_every_logit_is_measured_on_further_samples(
    find: Find, library: Library, editor: Editor, method: str
) -> None:
    (found,) = find("s", method, attribute="not smiling", confident=1.0, probes=8)

    ws = editor.sample(8, 0, first=64)
    delta = torch.from_numpy(library.delta(found))
    change = (logits(editor, ws + delta) - logits(editor, ws)).mean(dim=0)
    metrics = {one.name: one for one in found.metrics}
    for place, name in enumerate(("smiling", "eyes_open")):
        measured = metrics[f"logit_change.{name}"]
        assert measured.value == pytest.approx(float(change[place]), abs=1e-6)
        assert (measured.sample_count, measured.backbone) == (8, "classifier")
        assert measured.probe_set == "samples 64 to 71, seed 0"
    assert metrics["logit_change.smiling"].direction == "lower"


def test_a_vector_says_how_it_was_found(find: Find) -> None:
    (found,) = find(
        "s", "interfacegan", attribute="smiling", conditional=("eyes_open",), confident=1.0
    )

    said = found.settings
    assert said["method"] == "interfacegan"
    assert (said["attribute"], said["conditional"]) == ("smiling", ["eyes_open"])
    assert (said["labels"], said["samples"], said["seed"]) == ("classifier", 64, 0)
    assert said["bundle_digest"] == found.bundle_digest
    # nobody said what it may change, so it may change everything
    assert found.roi_labels == ("background", "skin", "hair", "eye", "mouth", "teeth")


def test_a_found_vector_is_composed_and_evaluated_like_a_learned_one(
    find: Find, library: Library, editor: Editor
) -> None:
    (found,) = find("s", "mean", attribute="smiling", roi=("mouth", "teeth"))

    terms = [NewTerm(address="tiny/s", scale=1.0), NewTerm(address="tiny/frown", scale=0.5)]
    made = library.compose("tiny/both", terms)
    measured = evaluate_vector(library, editor, found, EvaluateSettings(samples=2))

    delta = library.delta(found) + library.delta(library.get_vector("tiny/frown")) / 2
    np.testing.assert_allclose(library.delta(made), delta, rtol=1e-5)
    names = {one.name for one in measured.table.measures}
    assert {"leakage_psnr", "identity_similarity"} <= names
    # what it was found for is what it is judged by
    assert measured.measured.attribute == ("smiling", 0, 1)


def test_of_a_vector_that_may_change_everything_nothing_leaks_and_that_is_said(
    find: Find, library: Library, editor: Editor
) -> None:
    (found,) = find("pc", "ganspace", count=1, samples=20)

    measured = evaluate_vector(library, editor, found, EvaluateSettings(samples=2))

    assert not [one for one in measured.table.measures if one.name.startswith("leakage")]
    (reason,) = (one.reason for one in measured.table.missing if one.name == "leakage")
    assert "part labels, but not all" in reason


# Requests that make no sense.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "pca"}, "method: expected one of interfacegan, mean, sefa, ganspace"),
        ({"attribute": None}, "attribute: mean needs one, or a file of labels"),
        ({"conditional": ("eyes_open",)}, "conditional: mean has no boundary to keep along"),
        (
            {"method": "interfacegan", "conditional": ("smiling",)},
            "conditional: smiling is the attribute of the direction",
        ),
        ({"samples": 1}, "samples: expected 2 to"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"confident": 0.0}, "confident: expected more than 0, at most 1"),
        ({"confident": float("nan")}, "confident: expected more than 0"),
        ({"count": 3}, "count: mean finds one direction"),
        ({"embed": "magic"}, "embed: expected encoder, steps:N or target:DB"),
        ({"method": "sefa", "conditional": ("eyes_open",)}, "conditional: sefa is found without"),
        ({"method": "sefa", "labels": Path("a.csv")}, "labels: sefa is found without labels"),
        ({"method": "sefa", "count": 0}, "count: expected at least 1"),
        ({"method": "ganspace", "probes": 0}, "probes: expected 1 or more"),
        ({"method": "sefa", "attribute": None, "version": 3}, "version: expected none, for 5"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    request = DiscoverRequest("tiny", "smile", "mean", "smiling")

    with pytest.raises((SettingsError, ValueError), match=message):
        replace(request, **changes)


def test_samples_of_another_seed_are_refused(find: Find, editor: Editor) -> None:
    population = draw_population(editor, 16, 0)

    with pytest.raises(SettingsError, match="expected 64 samples of seed 0, got 16 of seed 0"):
        find("s", "mean", attribute="smiling", population=population)
