"""Label schemes: the parts of a class in their order, groups of them, and how files spell them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from editvec.registry.labels.label import IGNORED, VOID_COLOR, Color, Groups, expand_parts

if TYPE_CHECKING:
    from editvec.registry.labels.label import Label


class Side(NamedTuple):
    """Where the two parts of a split lie, as the picture shows it."""

    first: str
    second: str
    axis: int


_SIDE_WORDS = (
    (("top", "bottom"), ("upper", "lower"), ("u", "l")),
    (("left", "right"), ("l", "r")),
)
_OTHER_SIDE = tuple(
    {one: other for pair in pairs for one, other in (pair, pair[::-1])} for pairs in _SIDE_WORDS
)
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


VOID = "void"
"""What files call pixels that count nowhere, unless it is the name of a part or a group."""

VOID_VALUE = 255
"""What index PNGs hold for pixels that count nowhere, unless it is the value of a part."""


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
        ignored: what files say for pixels that count nowhere; None, or a field that is empty,
            leaves it at `VOID`, `VOID_VALUE` and `VOID_COLOR`, as far as no part has them.
        description: for people.
        source: where the scheme comes from.
        resolution: of the generator that it was made for; None where it does not matter.
        rectangle: top, left, bottom, right of the valid pixels at that resolution.

    Example:
        >>> from editvec.registry.labels.label import Label
        >>> labels = (Label(0, "background", (0, 0, 0)), Label(1, "tire", (9, 9, 9)))
        >>> LabelScheme(labels=labels, groups={"wheel": ("tire",)}).expand(["wheel"])
        ('tire',)
    """

    labels: tuple[Label, ...]
    name: str = ""
    groups: Groups = field(default_factory=dict)
    splits: tuple[Split, ...] = ()
    spellings: Mapping[str, Spelling] = field(default_factory=dict)
    ignored: Spelling | None = None
    description: str = ""
    source: str = ""
    resolution: int | None = None
    rectangle: tuple[int, int, int, int] | None = None

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
    def ignored_spelling(self) -> Spelling:
        """What files say for pixels that count nowhere; a field is empty where parts have it all.

        Example:
            >>> from editvec.registry.labels.label import Label
            >>> LabelScheme(labels=(Label(0, "background", (0, 0, 0)),)).ignored_spelling.values
            (255,)
        """
        said = self.ignored or _PLAIN
        is_free = VOID not in self._index_of_part_name and VOID not in self.all_groups
        names = (VOID, *said.names) if is_free else said.names
        colors, values = said.colors, said.values
        if not colors and VOID_COLOR not in self._part_colors:
            colors = (VOID_COLOR,)
        if not values and VOID_VALUE not in self._index_of_part_value:
            values = (VOID_VALUE,)
        return Spelling(names, colors, values)

    @cached_property
    def says_ignored_value(self) -> bool:
        """Whether the scheme itself says which value counts nowhere."""
        return self.ignored is not None and bool(self.ignored.values)

    @cached_property
    def index_of_value(self) -> dict[int, int]:
        """Index by value of an index PNG; splits come after the parts, see `index_of_split`.

        A value that counts nowhere has `IGNORED`.
        """
        return dict.fromkeys(self.ignored_spelling.values, IGNORED) | self._index_of_part_value

    @cached_property
    def _index_of_part_value(self) -> dict[int, int]:
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
    def values(self) -> tuple[int, ...]:
        """The value of each part in index PNGs; of several, the first."""
        return tuple(
            (self._spelling(label.name).values or (label.index,))[0] for label in self.labels
        )

    @cached_property
    def index_of_color(self) -> dict[Color, int]:
        """Index by colour; a colour that two parts share is none, `IGNORED` counts nowhere."""
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
        for color in self.ignored_spelling.colors:
            found.setdefault(color, IGNORED)
        return {color: index for color, index in found.items() if color not in shared}

    @cached_property
    def _part_colors(self) -> set[Color]:
        names = [*self.label_names, *(split.name for split in self.splits)]
        spelled = {color for name in names for color in self._spelling(name).colors}
        return spelled | {label.color for label in self.labels}

    @cached_property
    def index_of_name(self) -> dict[str, int]:
        """Index by name as files spell it: whole, and without regard to case, blank, - and _.

        A name of what counts nowhere has `IGNORED`.
        """
        void = {plain_name(name): IGNORED for name in self.ignored_spelling.names}
        return void | self._index_of_part_name

    @cached_property
    def _index_of_part_name(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for label in self.labels:
            for name in (label.name, *self._spelling(label.name).names):
                found[plain_name(name)] = label.index
        for place, split in enumerate(self.splits):
            for name in (split.name, *self._spelling(split.name).names):
                found[plain_name(name)] = self.index_of_split(place)
        return found

    @cached_property
    def opposites(self) -> tuple[dict[int, int], dict[int, int]]:
        """By axis (0 = top and bottom, 1 = left and right), the part on the other side of each.

        Parts are opposite when a split says so, or when only a word for a side tells their names
        apart: `eye_left` and `eye_right`, `l_brow` and `r_brow`.
        """
        found: tuple[dict[int, int], dict[int, int]] = ({}, {})
        index_of = {plain_name(label.name): label.index for label in self.labels}
        for name, index in index_of.items():
            words = name.split("_")
            for place, word in enumerate(words):
                for axis, word_of in enumerate(_OTHER_SIDE):
                    other = "_".join((*words[:place], word_of.get(word, ""), *words[place + 1 :]))
                    if word in word_of and other in index_of:
                        found[axis][index] = index_of[other]
        for split in self.splits:
            ends = [self.label_names.index(name) for name in (split.first, split.second)]
            found[split.axis].update({ends[0]: ends[1], ends[1]: ends[0]})
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
