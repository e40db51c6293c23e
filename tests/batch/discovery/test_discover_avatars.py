"""Directions of the shipped class: a smile is found, and conditions keep others still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.batch.discovery.discover import discover
from editvec.batch.discovery.labels import Population, draw_population, logits_of
from editvec.batch.discovery.request import DiscoverRequest
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library

SAMPLES = 240
_HELD_OUT = 10_000  # the first sample that no request sees

pytestmark = pytest.mark.slow


class Bench:
    """A library with `avatars`, and samples of it that are classified once."""

    def __init__(self, library: Library) -> None:
        self.library = library
        model = library.add_bundle(BUNDLE_FOLDER)
        self.editor = Editor.open(library.materialise_bundle(model))
        self.population: Population = draw_population(self.editor, SAMPLES, 0)
        self.ws = self.editor.sample(24, 0, first=_HELD_OUT)
        self.before = logits_of(self.editor, self.ws)

    def find(self, name: str, method: str, **chosen: Any) -> EditingVector:
        """The direction of one request."""
        chosen = {"attribute": "smiling", "probes": 16} | chosen
        request = DiscoverRequest("avatars", name, method, **chosen)
        population = None
        if request.way.is_supervised:
            request = DiscoverRequest("avatars", name, method, samples=SAMPLES, **chosen)
            population = self.population
        (found,) = discover(self.library, request, editor=self.editor, population=population)
        return found

    def changes(self, vector: EditingVector, scale: float = 1.0) -> dict[str, Tensor]:
        """By attribute, how every held-out sample's logit changes."""
        delta = scale * torch.from_numpy(self.library.delta(vector))
        changed = logits_of(self.editor, self.ws + delta) - self.before
        assert self.editor.classifier is not None
        return dict(zip(self.editor.classifier.names, changed.T, strict=True))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home: Path = tmp_path_factory.mktemp("avatars") / "home"
    with Library.open(RegistryConfig.for_home(home)) as library:
        yield Bench(library)


@pytest.mark.parametrize("method", ["interfacegan", "mean"])
def test_scale_1_makes_nearly_every_face_smile_and_minus_1_none(bench: Bench, method: str) -> None:
    found = bench.find(f"smile-{method}", method)

    before = bench.before[:, 0]
    after = before + bench.changes(found)["smiling"]
    opposite = before + bench.changes(found, -1.0)["smiling"]
    assert (before > 0).float().mean() < 0.5
    assert (after > 0).float().mean() > 0.85
    assert (opposite > 0).float().mean() < 0.1


def test_principal_components_hold_a_smile_and_their_sign_is_found(bench: Bench) -> None:
    found = bench.find("pc", "ganspace", count=6)

    assert float(bench.changes(found)["smiling"].mean()) > 3
    assert float(bench.changes(found, -1.0)["smiling"].mean()) < -3


def test_factors_are_turned_towards_the_attribute(bench: Bench) -> None:
    found = bench.find("sefa", "sefa", count=6)

    change = bench.changes(found)["smiling"] - bench.changes(found, -1.0)["smiling"]
    assert float(change.mean()) > 0


def test_a_condition_moves_less_and_the_attribute_as_much(bench: Bench) -> None:
    plain = bench.changes(bench.find("smile", "interfacegan"))
    found = bench.find("still", "interfacegan", conditional=("brows_raised",))
    held = bench.changes(found)

    assert float(plain["brows_raised"].mean().abs()) > 2
    assert float(held["brows_raised"].mean().abs()) < 1
    assert float(held["smiling"].mean()) > 0.95 * float(plain["smiling"].mean())


def test_the_boundary_tells_held_out_samples_apart(bench: Bench) -> None:
    found = bench.find("smile", "interfacegan")

    metrics = {one.name: one.value for one in found.latest_metrics}
    assert metrics["boundary_accuracy"] > 0.9
    assert 0.7 < metrics["boundary_accuracy_all"] <= metrics["boundary_accuracy"]
