"""Label schemes: the parts of a class in their order, groups of them, and how files spell them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from editvec.registry.addresses import quote
from editvec.registry.errors import LabelNotFoundError

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import ClassModel, Label

Color = tuple[int, int, int]
Groups = Mapping[str, Sequence[str]]


class Side(NamedTuple):
    """Where the two parts of a split lie, as the picture shows it."""

    first: str
    second: str
    axis: int


SIDES = (Side("left", "right", 1), Side("top", "bottom", 0))


@dataclass(frozen=True)
class Split:
    """A name in mask files whose connected components become two parts.

    Attributes:
        name: what the files call it.
        first: the part on the left, or at the top, of the picture.
        second: the part on the right, or at the bottom.
        axis: 1 = left and right, 0 = top and bottom.
    """

    name: str
    first: str
    second: str
    axis: int


@dataclass(frozen=True)
class Spelling:
    """What mask files say for one part or one split.

    Attributes:
        names: other names, in lists of categories and in file names.
        colors: RGB, 0 to 255.
        values: of index PNGs.
    """

    names: tuple[str, ...] = ()
    colors: tuple[Color, ...] = ()
    values: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The parts of a class, and how mask files spell them.

    Attributes:
        name: for people.
        labels: the parts in the order of their indices; the first is what nobody painted.
        groups: by name, the members of each: parts, splits or other groups.
        splits: names whose connected components become two parts.
        spellings: by name of a part or a split, what files say for it. A part's own name always
            counts; a part that is not there has its own colour, and its index as the value.
        description: for people.
        source: where the scheme comes from.
        resolution: of the generator that it was made for; None where it does not matter.
        rectangle: top, left, bottom, right of the valid pixels at that resolution.

    Example:
        >>> from editvec.registry.entities.vectors import Label
        >>> labels = (Label(0, "background", (0, 0, 0)), Label(1, "tire", (9, 9, 9)))
        >>> LabelScheme(labels=labels, groups={"wheel": ("tire",)}).expand(["wheel"])
        ('tire',)
    """

    labels: tuple[Label, ...]
    name: str = ""
    groups: Groups = field(default_factory=dict)
    splits: tuple[Split, ...] = ()
    spellings: Mapping[str, Spelling] = field(default_factory=dict)
    description: str = ""
    source: str = ""
    resolution: int | None = None
    rectangle: tuple[int, int, int, int] | None = None

    @classmethod
    def of_model(cls, model: ClassModel) -> LabelScheme:
        """The parts of a class model; `scheme_of_class` knows also how files spell them."""
        return cls(labels=model.labels, name=model.address, groups=model.groups)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The part names in the order of their indices."""
        return tuple(label.name for label in self.labels)

    def expand(self, names: Iterable[str]) -> tuple[str, ...]:
        """The parts that names of parts, groups and splits stand for, in the scheme's order.

        Raises:
            LabelNotFoundError: lists the parts and groups.
        """
        wanted = set(expand_parts(names, self.label_names, self.all_groups, of=self.title))
        return tuple(name for name in self.label_names if name in wanted)

    def indices(self, names: Iterable[str]) -> tuple[int, ...]:
        """The indices of the parts that names stand for, ascending.

        Raises:
            LabelNotFoundError: lists the parts and groups.
        """
        wanted = set(self.expand(names))
        return tuple(label.index for label in self.labels if label.name in wanted)

    @property
    def title(self) -> str:
        """What messages call the scheme."""
        return f"scheme {self.name}" if self.name else "the scheme"

    @cached_property
    def all_groups(self) -> dict[str, tuple[str, ...]]:
        """The groups, and every split as a group of its two parts."""
        found = {split.name: (split.first, split.second) for split in self.splits}
        return found | {name: tuple(members) for name, members in self.groups.items()}

    @cached_property
    def index_of_value(self) -> dict[int, int]:
        """Index by value of an index PNG; splits come after the parts, see `index_of_split`."""
        found = {
            value: label.index
            for label in self.labels
            for value in self._spelling(label.name).values or (label.index,)
        }
        for place, split in enumerate(self.splits):
            for value in self._spelling(split.name).values:
                found[value] = self.index_of_split(place)
        return found

    @cached_property
    def index_of_color(self) -> dict[Color, int]:
        """Index by colour; a colour that two parts share is none."""
        found: dict[Color, int] = {}
        shared: set[Color] = set()
        for label in self.labels:
            for color in (label.color, *self._spelling(label.name).colors):
                shared.update({color} if found.get(color, label.index) != label.index else ())
                found[color] = label.index
        for place, split in enumerate(self.splits):
            for color in self._spelling(split.name).colors:
                shared.update({color} if color in found else ())
                found[color] = self.index_of_split(place)
        return {color: index for color, index in found.items() if color not in shared}

    @cached_property
    def index_of_name(self) -> dict[str, int]:
        """Index by name as files spell it: whole, and without regard to case, blank, - and _."""
        found: dict[str, int] = {}
        for label in self.labels:
            for name in (label.name, *self._spelling(label.name).names):
                found[plain_name(name)] = label.index
        for place, split in enumerate(self.splits):
            for name in (split.name, *self._spelling(split.name).names):
                found[plain_name(name)] = self.index_of_split(place)
        return found

    def index_of_split(self, place: int) -> int:
        """What stands for the split at that place until `split_parts` has divided it."""
        return len(self.labels) + place

    def _spelling(self, name: str) -> Spelling:
        return self.spellings.get(name, _PLAIN)


_PLAIN = Spelling()


def plain_name(name: str) -> str:
    """A name as it is compared with what files say: `Left Eye` is `left_eye`."""
    return "_".join(name.replace("-", " ").replace("_", " ").split()).casefold()


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
