"""What a bundle stores of a label scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from editvec.engine.bundle.description import Label
from editvec.registry.labels.spellings import spellings_to_json

if TYPE_CHECKING:
    from editvec.registry.labels.scheme import LabelScheme

Rectangle = tuple[int, int, int, int]
"""top, left, bottom, right in pixels."""


def scheme_values(scheme: LabelScheme) -> dict[str, Any]:
    """Labels, groups, and how mask files spell them, as arguments of `write_bundle`."""
    return {
        "labels": tuple(Label(label.index, label.name, label.color) for label in scheme.labels),
        "groups": scheme.all_groups,
        "mask_spellings": spellings_to_json(scheme),
    }


def scheme_rectangle(scheme: LabelScheme | None, resolution: int) -> Rectangle | None:
    """The valid rectangle that a scheme says, at the generator's resolution; None for none."""
    if scheme is None or scheme.rectangle is None or scheme.resolution is None:
        return None
    top, left, bottom, right = (edge * resolution // scheme.resolution for edge in scheme.rectangle)
    return top, left, bottom, right
