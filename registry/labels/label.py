"""A part of a class, groups of parts, and the colours of parts that have none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
IGNORED = -1
"""What masks hold for pixels that count nowhere: nobody said which part they are."""

VOID_COLOR: Color = (224, 224, 192)
"""What ignored pixels are drawn in, unless it is the colour of a part."""

Groups = Mapping[str, Sequence[str]]


MAX_GROUPS = 2048


def expand_parts(
    names: Iterable[str],
    parts: Collection[str],
    groups: Groups,
    *,
    of: str,
    visited: set[str] | None = None,
) -> tuple[str, ...]:
    """The parts that names of parts and groups stand for, each once, in the order of the names.

    Args:
        names: parts or groups.
        parts: all part names.
        groups: members by name; a group within a group is taken apart too.
        of: what messages call the scheme.
        visited: groups that are not taken apart again, because earlier calls did; this call adds
            its own. So all groups of a scheme are checked in the time that their members take.

    Raises:
        LabelNotFoundError: a name is neither, or a group holds itself; lists what there is.
    """
    known = parts if isinstance(parts, dict) else dict.fromkeys(parts)
    done = set() if visited is None else visited
    found: dict[str, None] = {}
    above: dict[str, Iterator[str]] = {}  # groups that are being taken apart, outermost first
    rest = iter(names)
    while True:
        name = next(rest, None)
        if name is None:
            if not above:
                return tuple(found)
            group, rest = above.popitem()
            done.add(group)
        elif name in above:
            raise LabelNotFoundError(f"{of}: the group {quote(name)} holds itself")
        elif name in groups:
            if name not in done:
                above[name] = rest
                rest = iter(groups[name])
        elif name in known:
            found[name] = None
        else:
            listed = f"its parts are {', '.join(known)}"
            listed += f"; its groups are {', '.join(groups)}" if groups else ""
            raise LabelNotFoundError(f"{of} has no part {quote(name)}; {listed}")


def void_color(labels: Sequence[Label]) -> Color:
    """A colour for ignored pixels that no part has."""
    taken = {label.color for label in labels}
    others = (chosen_color(place) for place in range(1, len(labels) + 2))
    return next(color for color in (VOID_COLOR, *others) if color not in taken)


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
