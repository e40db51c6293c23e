"""A part of a class, groups of parts, and the colours of parts that have none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from editvec.registry.addresses import quote
from editvec.registry.errors import LabelNotFoundError


@dataclass(frozen=True)
class Label:
    """One part of the label scheme; `color` is RGB, 0 to 255."""

    index: int
    name: str
    color: tuple[int, int, int]


Color = tuple[int, int, int]
Groups = Mapping[str, Sequence[str]]


def expand_parts(
    names: Iterable[str], parts: Sequence[str], groups: Groups, *, of: str
) -> tuple[str, ...]:
    """The parts that names of parts and groups stand for, each once, in the order of the names.

    Args:
        names: parts or groups.
        parts: all part names.
        groups: members by name; a group within a group is taken apart too.
        of: what messages call the scheme.

    Raises:
        LabelNotFoundError: a name is neither; lists what there is.
    """
    found: dict[str, None] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise LabelNotFoundError(f"{of}: the group {quote(name)} holds itself")
        if name in groups:
            for member in groups[name]:
                visit(member, (*above, name))
        elif name in parts:
            found[name] = None
        else:
            known = f"its parts are {', '.join(parts)}"
            known += f"; its groups are {', '.join(groups)}" if groups else ""
            raise LabelNotFoundError(f"{of} has no part {quote(name)}; {known}")

    for name in names:
        visit(name, ())
    return tuple(found)


def chosen_color(index: int) -> Color:
    """The colour of a part that has none: far from those of the places before it.

    The bits of the index are dealt to red, green and blue, the lowest to the highest bit of each.
    """
    red = green = blue = 0
    for bit in range(8):
        red |= (index >> 3 * bit & 1) << 7 - bit
        green |= (index >> 3 * bit + 1 & 1) << 7 - bit
        blue |= (index >> 3 * bit + 2 & 1) << 7 - bit
    return red, green, blue
