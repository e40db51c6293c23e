"""A direction that was found, not stored yet, and what it does to the logits of the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from editvec.batch.discovery.labels import OnProgress, logits_of
from editvec.batch.discovery.request import DiscoverRequest
from editvec.engine.editor import Editor
from editvec.registry.entities.metrics import Direction, NewMetric


class Found(NamedTuple):
    """A direction that is not stored yet.

    Attributes:
        delta: At scale 1, [num_ws, w_dim] in float64; rows that it does not move are 0.
        settings: How it was found.
        metrics: What was measured while it was found.
    """

    delta: Tensor
    settings: dict[str, Any]
    metrics: tuple[NewMetric, ...] = ()


def spread(moved: Tensor, rows: Sequence[int], *, num_ws: int, w_dim: int) -> Tensor:
    """The delta [num_ws, w_dim] that moves some rows.

    Args:
        moved: One row for all of them, [w_dim], or all of them in a line, [R * w_dim].
        rows: Which, R indices.
        num_ws: Rows of the delta.
        w_dim: Columns.
    """
    delta = torch.zeros(num_ws, w_dim, dtype=torch.float64)
    delta[list(rows)] = moved.reshape(-1, w_dim)
    return delta


def row_length(delta: Tensor) -> float:
    """Length of a delta [num_ws, w_dim] in W: of the rows that it moves, the quadratic mean."""
    lengths = delta.norm(dim=1)
    return float(lengths[lengths > 0].square().mean().sqrt())


def with_changes(
    found: Found,
    editor: Editor,
    request: DiscoverRequest,
    *,
    first: int,
    on_progress: OnProgress | None = None,
) -> Found:
    """Adds the mean change of every logit at scale 1, where the class has a classifier.

    Args:
        found: The direction.
        editor: The loaded class.
        request: Says on how many samples.
        first: The first of them: none of these had a part in finding the direction.
        on_progress: Told how many are measured.
    """
    if editor.classifier is None or not request.probes:
        return found
    ws = editor.sample(request.probes, request.seed, first=first)
    before = logits_of(editor, ws)
    after = logits_of(editor, ws + found.delta.to(ws), on_progress=on_progress)
    changes = (after - before).mean(dim=0).tolist()
    metrics = _change_metrics(
        dict(zip(editor.classifier.names, changes, strict=True)), request, first
    )
    return found._replace(metrics=found.metrics + metrics)


def _change_metrics(
    changes: Mapping[str, float], request: DiscoverRequest, first: int
) -> tuple[NewMetric, ...]:
    wanted = Direction.HIGHER if request.sign > 0 else Direction.LOWER
    return tuple(
        NewMetric(
            name=f"logit_change.{name}",
            value=value,
            direction=wanted if name == request.own_attribute else Direction.NONE,
            backbone="classifier",
            sample_count=request.probes,
            probe_set=f"samples {first} to {first + request.probes - 1}, seed {request.seed}",
            settings={"scale": 1.0, "statistic": "mean"},
        )
        for name, value in changes.items()
    )
