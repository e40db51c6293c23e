"""Directions that nobody labelled: of the generator's weights, or of the spread of sampled w.

Scale 1 is one standard deviation of sampled w along the direction.
"""

from __future__ import annotations

from collections.abc import Sequence

from editvec.batch.discovery.found import Found, spread
from editvec.batch.discovery.labels import OnProgress, logits_of, sample_w
from editvec.batch.discovery.request import DiscoverRequest, Method, known_attribute
from editvec.batch.errors import SettingsError
from editvec.engine.discovery import (
    deviation_along,
    factorise,
    modulation_weights,
    principal_components,
)
from editvec.engine.editor import Editor

_LEAST_SHARE = 1e-9  # of the strongest direction's strength: less is rounding


def find_factors(editor: Editor, request: DiscoverRequest, rows: Sequence[int]) -> list[Found]:
    """The strongest directions, strongest first.

    Args:
        editor: The loaded class.
        request: Which method, and how many.
        rows: Rows of ws that the directions move; for sefa those whose layers count.

    Raises:
        SettingsError: More directions than there are.
    """
    w = sample_w(editor, request.num_samples, request.seed)
    if request.way is Method.SEFA:
        spectrum = factorise(modulation_weights(editor.generator.synthesis, rows))
    else:
        spectrum = principal_components(w)
    # fewer samples than dimensions vary in fewer directions: the rest is rounding
    there = int((spectrum.strengths > _LEAST_SHARE * spectrum.strengths[0]).sum())
    count = min(request.num_directions, there)
    if request.count is not None and count < request.count:
        raise SettingsError(f"count: there are {count} directions, got {request.count}")
    deviations = deviation_along(w, spectrum.directions[:count])
    num_ws, w_dim = editor.bundle.num_ws, editor.bundle.w_dim
    return [
        Found(
            spread(direction * deviation, rows, num_ws=num_ws, w_dim=w_dim),
            {
                "method": str(request.way),
                "component": place,
                "strength": float(strength),
                "share": float(strength / spectrum.strengths.sum()),
                "samples": request.num_samples,
                "seed": request.seed,
            },
        )
        for place, (direction, deviation, strength) in enumerate(
            zip(spectrum.directions[:count], deviations, spectrum.strengths[:count], strict=True),
            start=1,
        )
    ]


def strongest(
    found: Sequence[Found],
    editor: Editor,
    request: DiscoverRequest,
    *,
    first: int,
    on_progress: OnProgress | None = None,
) -> Found:
    """The direction that moves the attribute's logit most, turned so that it brings it about.

    It is judged by half the mean difference of the logit at scales 1 and -1.

    Args:
        found: Directions to choose from.
        editor: Holds a classifier that knows the attribute.
        request: Names the attribute, and on how many samples it is judged.
        first: The first of these samples.
        on_progress: Told how many directions are judged.
    """
    column = attribute_column(editor, request)
    ws = editor.sample(request.probes, request.seed, first=first)
    moves = []
    for one in found:
        delta = one.delta.to(ws)
        ahead, back = (logits_of(editor, ws + side * delta)[:, column] for side in (1, -1))
        moves.append(float((ahead - back).mean()) / 2 * request.sign)
        if on_progress is not None:
            on_progress("choose", len(moves), len(found))
    best = max(range(len(found)), key=lambda place: abs(moves[place]))
    settings = found[best].settings | {
        "attribute": request.attribute,
        "labels": "classifier",
        "tried": len(found),
        "chosen_on": request.probes,
        "chosen_for": moves[best],
    }
    return Found(found[best].delta * (-1.0 if moves[best] < 0 else 1.0), settings)


def attribute_column(editor: Editor, request: DiscoverRequest) -> int:
    """The classifier's output of the request's attribute.

    Raises:
        SettingsError: The class has no classifier, or it does not know the attribute.
    """
    if editor.classifier is None:
        raise SettingsError(
            f"attribute: class {editor.bundle.class_name} has no attribute classifier; without "
            "an attribute every direction is stored"
        )
    names = editor.classifier.names
    return names.index(known_attribute(request.own_attribute or "", names, of="the classifier"))
