"""Label schemes and masks as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from editvec.registry.text_tables import format_record, format_table

if TYPE_CHECKING:
    from editvec.registry.labels.label import Color
    from editvec.registry.labels.scheme import LabelScheme, Spelling
    from editvec.registry.masks.export import PartSummary


def scheme_text(scheme: LabelScheme) -> str:
    """The parts of a scheme, its groups and its splits."""
    record = [
        ("scheme", scheme.name),
        ("description", scheme.description),
        ("source", scheme.source),
        ("ignored", _spelled(scheme.ignored_spelling)),
    ]
    rows = []
    for label in scheme.labels:
        said = scheme.spellings.get(label.name)
        if said is not None and said.values == (label.index,):
            said = replace(said, values=())
        also = "" if said is None else _spelled(said)
        rows.append((label.index, label.name, _shown(label.color), also))
    blocks = [
        format_record([entry for entry in record if entry[1]]),
        format_table(["label", "part", "color", "also"], rows),
    ]
    if scheme.groups:
        groups = [(name, ", ".join(scheme.expand([name]))) for name in scheme.groups]
        blocks.append(format_table(["group", "parts"], groups))
    if scheme.splits:
        splits = [
            (one.name, *((one.first, one.second, "left, right" if one.axis else "top, bottom")))
            for one in scheme.splits
        ]
        blocks.append(format_table(["split", "first", "second", "as the picture shows"], splits))
    return "\n\n".join(block for block in blocks if block)


def _spelled(said: Spelling) -> str:
    """Names, colours and values."""
    return ", ".join((*said.names, *map(_shown, said.colors), *map(str, said.values)))


def _shown(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def parts_text(parts: Sequence[PartSummary]) -> str:
    """The parts of one mask."""
    rows = [(one.part, one.pixels, f"{one.share:.1%}", one.pieces, _box(one.box)) for one in parts]
    return format_table(["part", "pixels", "share", "pieces", "box"], rows)


def masks_text(masks: Mapping[str, Sequence[PartSummary]]) -> str:
    """Several masks: one line for each."""
    rows = [
        (name, sum(one.pixels for one in parts), len(parts), ", ".join(one.part for one in parts))
        for name, parts in masks.items()
    ]
    return format_table(["mask", "pixels", "parts", "which"], rows)


def _box(box: tuple[int, int, int, int]) -> str:
    left, top, width, height = box
    return f"{width} x {height} at {left},{top}"
