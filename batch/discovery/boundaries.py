"""The direction across the boundary between latents that have an attribute and those that lack it.

Scale 1 takes the mean latent without the attribute to the mean margin of those with it, measured
along the boundary's own normal, so that it means the same with conditions and without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from editvec.batch.discovery.found import Found, spread
from editvec.batch.discovery.labels import Population
from editvec.batch.discovery.request import DiscoverRequest, Method, known_attribute
from editvec.batch.errors import SettingsError
from editvec.engine.discovery import (
    Boundary,
    conditioned,
    margin_between,
    mean_boundary,
    svm_boundary,
)
from editvec.registry.entities.metrics import Direction, NewMetric

LEAST_LABELLED = 8
"""Latents of each label, those that are held out among them."""

HELD_OUT = 0.3
"""Share of the labelled latents that a boundary is not fitted to, but measured on."""


class _Labelled(NamedTuple):
    """Indices of the latents that stand for an attribute.

    Attributes:
        positive, negative: Those that a boundary is fitted to.
        held_positive, held_negative: Those that were as sure, but are held out.
        all_positive, all_negative: Every latent with a label.
    """

    positive: Tensor
    negative: Tensor
    held_positive: Tensor
    held_negative: Tensor
    all_positive: Tensor
    all_negative: Tensor


def find_boundary(population: Population, request: DiscoverRequest, rows: Sequence[int]) -> Found:
    """The direction across the boundary of the request's attribute.

    Args:
        population: Labelled latents.
        request: What is to be found.
        rows: Rows of ws that the direction moves.

    Raises:
        SettingsError: Nobody knows the attribute or a condition, there are too few latents of a
            label, or next to nothing is left of it without the conditions.
        MissingPackageError: interfacegan without scikit-learn.
    """
    name = _attribute(population, request)
    points = _points(population.ws, rows, request.way)
    chosen = _labelled(population, name, request, sign=request.sign)
    boundary = _fit(points, chosen, request.way)
    margin = margin_between(
        boundary.normal, points[chosen.all_positive], points[chosen.all_negative]
    )
    if not margin > 0:
        raise SettingsError(f"{name}: the boundary does not tell the labels apart")
    others = [
        _fit(points, _labelled(population, one, request, sign=1), request.way).normal
        for one in request.conditional
    ]
    made = conditioned(boundary.normal, others, of=name)
    _, num_ws, w_dim = population.ws.shape
    delta = spread(made.normal * (margin / made.kept), rows, num_ws=num_ws, w_dim=w_dim)
    settings: dict[str, Any] = {
        "method": str(request.way),
        "attribute": request.attribute or name,
        "labels": population.source,
        "seed": request.seed,
        "with": len(chosen.positive),
        "without": len(chosen.negative),
        "held_out": [len(chosen.held_positive), len(chosen.held_negative)],
    }
    if population.is_graded:
        settings |= {"samples": population.samples, "confident": request.share}
    else:
        settings |= {"labels_digest": population.digest, "embed": request.embed}
    if request.conditional:
        settings |= {"conditional": list(request.conditional), "kept": made.kept}
    return Found(delta, settings, _accuracies(boundary, points, chosen, population, request))


def _attribute(population: Population, request: DiscoverRequest) -> str:
    """The attribute that is asked for, or the only one; everything asked for is known."""
    known = tuple(population.scores)
    name = request.own_attribute
    if name is None:
        if len(known) != 1:
            raise SettingsError(f"attribute: expected one of {', '.join(known)}, got none")
        name = known[0]
    for one in (name, *request.conditional):
        known_attribute(one, known, of=population.source)
    return name


def _points(ws: Tensor, rows: Sequence[int], way: Method) -> Tensor:
    """What boundaries are fitted to, [N, D]: w, or for the mean the rows that are moved."""
    moved = ws[:, list(rows)]
    return moved.flatten(1) if way is Method.MEAN else moved.double().mean(dim=1)


def _fit(points: Tensor, chosen: _Labelled, way: Method) -> Boundary:
    fit = mean_boundary if way is Method.MEAN else svm_boundary
    return fit(points[chosen.positive], points[chosen.negative])


def _labelled(
    population: Population, name: str, request: DiscoverRequest, *, sign: int
) -> _Labelled:
    """The surest latents of both labels, some of them held out."""
    scores = population.scores[name].double() * sign
    most = max(1, round(request.share * len(scores))) if population.is_graded else len(scores)
    fitted: list[Tensor] = []
    held: list[Tensor] = []
    every: list[Tensor] = []
    for place, side in enumerate((scores, -scores)):
        indices = torch.nonzero(side > 0)[:, 0]
        surest = indices[torch.argsort(side[indices], descending=True, stable=True)][:most]
        if len(surest) < LEAST_LABELLED:
            has = "have" if (place == 0) == (sign > 0) else "lack"
            raise SettingsError(_too_few(population, name, f"{len(indices)} {has} it", most))
        random = np.random.default_rng((request.seed, place))
        mixed = surest[torch.from_numpy(random.permutation(len(surest)))]
        count = round(HELD_OUT * len(mixed))
        held.append(mixed[:count])
        fitted.append(mixed[count:])
        every.append(indices)
    return _Labelled(*fitted, *held, *every)


def _too_few(population: Population, name: str, found: str, most: int) -> str:
    """Why there is no boundary, and what helps."""
    if not population.is_graded:
        return (
            f"{name}: of {len(population.ws)} pictures {found}, expected at least "
            f"{LEAST_LABELLED} that have it and as many that lack it"
        )
    taken = f", and {most} are taken of each label" if most < LEAST_LABELLED else ""
    return (
        f"{name}: of {population.samples} samples {found}{taken}, expected at least "
        f"{LEAST_LABELLED} of both labels; take more samples"
    )


def _accuracies(
    boundary: Boundary,
    points: Tensor,
    chosen: _Labelled,
    population: Population,
    request: DiscoverRequest,
) -> tuple[NewMetric, ...]:
    """How well the boundary tells apart what it was not fitted to."""
    held = chosen.held_positive, chosen.held_negative
    metrics = [_accuracy("boundary_accuracy", boundary, points, held, "held-out")]
    if population.is_graded and request.share < 1:
        every = (
            _without(chosen.all_positive, chosen.positive),
            _without(chosen.all_negative, chosen.negative),
        )
        metrics.append(_accuracy("boundary_accuracy_all", boundary, points, every, "all other"))
    return tuple(metrics)


def _accuracy(
    name: str, boundary: Boundary, points: Tensor, sides: tuple[Tensor, Tensor], which: str
) -> NewMetric:
    positive, negative = sides
    return NewMetric(
        name=name,
        value=boundary.accuracy(points[positive], points[negative]),
        direction=Direction.HIGHER,
        sample_count=len(positive) + len(negative),
        probe_set=f"{which} labelled latents",
        settings={"statistic": "mean of the shares of both labels", "chance": 0.5},
    )


def _without(indices: Tensor, taken: Tensor) -> Tensor:
    """The indices that are not among others."""
    return indices[~torch.isin(indices, taken)]
