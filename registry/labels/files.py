"""Label schemes as files: YAML or JSON, checked with line numbers.

name: cars
parts:
  - background
  - {name: tire, color: "#202020", also: [Tyre, "#00ff00", 200]}
  - spoke
groups:
  wheel: [tire, spoke]
splits:
  light: left/right     # short for {left: light_left, right: light_right}
ignore: 254             # or {value: 254, color: "#ffffff", also: [Unlabeled]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from editvec.registry.addresses import check_name
from editvec.registry.errors import InvalidNameError, LabelNotFoundError, SchemeError
from editvec.registry.labels.label import MAX_GROUPS, Color, Label, chosen_color, expand_parts
from editvec.registry.labels.scheme import (
    SIDES,
    VOID_VALUE,
    LabelScheme,
    Spelling,
    Split,
    plain_name,
)
from editvec.registry.yaml_reading import NodeReader, read_nodes

MAX_FILE_BYTES = 1 << 20
MAX_PARTS = 256
MAX_VALUE = 65535
SUFFIXES = (".yaml", ".yml", ".json")
KNOWN_FOLDER = Path(__file__).parent / "label_schemes"

_Claimed = TypeVar("_Claimed", str, int, Color)

_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")
_INTEGER = re.compile(r"[0-9]{1,6}\Z")
_TEXTS = ("name", "description", "source")
_KEYS = (*_TEXTS, "parts", "groups", "splits", "ignore", "resolution", "rectangle")
_PART_KEYS = ("name", "index", "color", "value", "also")
_ENDS = ("left", "right", "top", "bottom")
_IGNORE_KEYS = ("value", "color", "also")
_IGNORE = "`ignore`"
_SPLIT_KEYS = (*_ENDS, "color", "value", "also")


def known_schemes() -> list[str]:
    """The names of the schemes that come with the program."""
    return sorted(path.stem for path in KNOWN_FOLDER.glob("*.yaml"))


def read_scheme(source: Path | str) -> LabelScheme:
    """Reads a scheme: one that comes with the program, by its name, or one of a file.

    Args:
        source: a name of `known_schemes`, or a file: YAML, JSON, or a JSON object that maps each
            value of index PNGs to a part name.

    Raises:
        SchemeError: no such file, or it says something that is no scheme; names the line.
    """
    path = Path(source)
    if not path.exists() and path.parent == Path() and path.suffix not in SUFFIXES:
        known = known_schemes()
        if str(source) not in known:
            raise SchemeError(
                f"scheme {source}: no such file, and none of the known ones: {', '.join(known)}"
            )
        path = KNOWN_FOLDER / f"{source}.yaml"
    return parse_scheme(_read_text(path), of=f"scheme {path}", name=path.stem)


def parse_scheme(text: str, *, of: str = "scheme", name: str = "") -> LabelScheme:
    """Reads the text of a scheme.

    Args:
        text: YAML or JSON.
        of: what messages call it.
        name: of the scheme, where the text says none.

    Raises:
        SchemeError: names the line.
    """
    root = _parse(text, of=of)
    if root is None:
        raise SchemeError(f"{of}: the file is empty")
    return _SchemeReader(of).scheme(root, name)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SchemeError(f"scheme {path}: larger than {MAX_FILE_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise SchemeError(f"scheme {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise SchemeError(f"scheme {path}: not UTF-8 text") from exc


def _parse(text: str, *, of: str) -> yaml.Node | None:
    if text.lstrip()[:1] == "{":
        try:
            json.loads(text)
        except json.JSONDecodeError as exc:
            raise SchemeError(f"{of}, line {exc.lineno}: not JSON ({exc.msg})") from exc
        except RecursionError as exc:
            raise SchemeError(f"{of}: not JSON (nested too deeply)") from exc
        except ValueError as exc:  # a number of thousands of digits
            raise SchemeError(f"{of}: not JSON that can be read ({exc})") from exc
        # JSON is YAML but for tabs, which no text of JSON can hold
        text = text.replace("\t", " ")
    return read_nodes(text, of=of, error=SchemeError)


class _SchemeReader(NodeReader):
    """Turns nodes into a scheme; every refusal names file and line."""

    def __init__(self, of: str) -> None:
        super().__init__(of, SchemeError)
        self._labels: list[Label] = []
        self._spellings: dict[str, Spelling] = {}
        self._names: dict[str, yaml.Node] = {}
        self._taken: dict[str | int | Color, tuple[str, yaml.Node]] = {}

    def scheme(self, root: yaml.Node, name: str) -> LabelScheme:
        """The scheme of a document."""
        if _maps_values(root):
            self._read_values(root)
            return LabelScheme(name=name, labels=tuple(self._labels), spellings=self._spellings)
        fields = dict(self._fields(root, _KEYS))
        if "parts" not in fields:
            raise self._refuse(root, "expected `parts:`, a list of part names, background first")
        self._read_parts(fields["parts"])
        splits = tuple(self._splits(fields["splits"])) if "splits" in fields else ()
        groups = self._groups(fields["groups"], splits) if "groups" in fields else {}
        texts = {key: self._text(fields[key], of=key) for key in _TEXTS if key in fields}
        resolution = None
        if "resolution" in fields:
            resolution = self._integer(fields["resolution"], 4, 8192, of="resolution")
        return LabelScheme(
            labels=tuple(self._labels),
            groups=groups,
            splits=splits,
            spellings=self._spellings,
            ignored=self._ignored(fields["ignore"]) if "ignore" in fields else None,
            resolution=resolution,
            rectangle=self._rectangle(fields.get("rectangle"), resolution),
            **({"name": name} | texts),
        )

    # --- parts ---

    def _read_parts(self, node: yaml.Node) -> None:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self._refuse(node, "parts: expected a list of part names, background first")
        if len(node.value) > MAX_PARTS:
            raise self._refuse(node, f"parts: expected at most {MAX_PARTS}, got {len(node.value)}")
        given = []
        for place, entry in enumerate(node.value):
            fields = {"name": entry}
            if isinstance(entry, yaml.MappingNode):
                fields = dict(self._fields(entry, _PART_KEYS))
                if "name" not in fields:
                    raise self._refuse(entry, "a part needs a `name:`")
            given.append((entry, fields))
            name = self._claim_name(fields["name"], "part")
            index = fields.get("index")
            if index is not None and self._integer(index, 0, MAX_PARTS, of="index") != place:
                raise self._refuse(
                    index,
                    f"index: {name} is number {place} in the list, got {self._text(index, of='')}; "
                    "`value:` says what index PNGs hold for it",
                )
            color = self._color(fields["color"]) if "color" in fields else chosen_color(place)
            self._labels.append(Label(place, name, color))
        # a chosen colour gives way to a given one
        wanted = {self._labels[i].color for i, (_, one) in enumerate(given) if "color" in one}
        for place, (entry, fields) in enumerate(given):
            label = self._labels[place]
            if "color" not in fields:
                free = (chosen_color(i) for i in range(place, 1 << 24))
                color = next(c for c in free if c not in wanted)
                wanted.add(color)
                self._labels[place] = label = Label(place, label.name, color)
            self._claim(label.color, label.name, fields.get("color", entry))
            self._read_spelling(label.name, fields, entry, value=place)

    def _read_values(self, root: yaml.Node) -> None:
        """The short form: a mapping of the values of index PNGs to part names."""
        entries = []
        for key, node in self._fields(root, None):
            if not _INTEGER.match(key) or int(key) > MAX_VALUE:
                raise self._refuse(node, f"expected values from 0 to {MAX_VALUE}, got {key!r}")
            entries.append((int(key), node))
        entries.sort(key=lambda entry: entry[0])
        if len(entries) > MAX_PARTS:
            raise self._refuse(root, f"expected at most {MAX_PARTS} parts, got {len(entries)}")
        for place, (value, node) in enumerate(entries):
            said = self._text(node, of="name")
            name = self._claim_name(node, "part", "_".join(said.split()))
            self._labels.append(Label(place, name, chosen_color(place)))
            self._claim(value, name, node)
            self._spellings[name] = Spelling(values=(value,))

    def _read_spelling(
        self,
        name: str,
        fields: dict[str, yaml.Node],
        entry: yaml.Node,
        *,
        value: int | None,
        colors: tuple[Color, ...] = (),
    ) -> None:
        """What files say for a part or a split; `value` stands where the fields say none."""
        names: list[str] = []
        found, values = list(colors), [] if value is None else [value]
        if "value" in fields:
            values = [self._integer(fields["value"], 0, MAX_VALUE, of="value")]
        for one in values:
            self._claim(one, name, fields.get("value", entry))
        for node in self._items(fields.get("also"), of="also"):
            text = self._text(node, of="also")
            is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
            if _HEX.match(text):
                found.append(self._claim(self._color(node), name, node))
            elif is_plain and _INTEGER.match(text):
                values.append(self._claim(self._integer(node, 0, MAX_VALUE, of="also"), name, node))
            else:
                self._claim(plain_name(text), name, node)
                names.append(text)
        self._spellings[name] = Spelling(tuple(names), tuple(found), tuple(values))

    def _ignored(self, node: yaml.Node) -> Spelling:
        """What files say for pixels that count nowhere."""
        fields = {"value": node}
        if isinstance(node, yaml.MappingNode):
            fields = dict(self._fields(node, _IGNORE_KEYS))
        if "value" not in fields and not fields.keys() & {"color", "also"}:
            raise self._refuse(node, f"{_IGNORE}: expected one of {', '.join(_IGNORE_KEYS)}")
        colors: tuple[Color, ...] = ()
        if "color" in fields:
            colors = (self._claim(self._color(fields["color"]), _IGNORE, fields["color"]),)
        value = None if VOID_VALUE in self._taken else VOID_VALUE
        self._read_spelling(_IGNORE, fields, node, value=value, colors=colors)
        return self._spellings.pop(_IGNORE)

    # --- groups and splits ---

    def _splits(self, node: yaml.Node) -> Iterator[Split]:
        for key, name, value in self._entries(node):
            self._claim_name(key, "split")
            fields: dict[str, yaml.Node] = {}
            if isinstance(value, yaml.MappingNode):
                fields = dict(self._fields(value, _SPLIT_KEYS))
                given = {key: self._text(fields[key], of=key) for key in fields if key in _ENDS}
            else:
                ends = self._text(value, of=name).removeprefix("split ").split("/")
                given = {end.strip(): f"{name}_{end.strip()}" for end in ends}
            side = next((s for s in SIDES if set(given) == {s.first, s.second}), None)
            if side is None:
                raise self._refuse(value, f"{name}: expected left and right, or top and bottom")
            first, second = given[side.first], given[side.second]
            for part in (first, second):
                if part not in {label.name for label in self._labels}:
                    raise self._refuse(value, f"{name}: {part!r} is none of the parts")
            if first == second:
                raise self._refuse(value, f"{name}: expected two parts, got {first!r} twice")
            colors: tuple[Color, ...] = ()
            if "color" in fields:
                colors = (self._claim(self._color(fields["color"]), name, fields["color"]),)
            self._read_spelling(name, fields, value, value=None, colors=colors)
            yield Split(name, first, second, side.axis)

    def _groups(self, node: yaml.Node, splits: Sequence[Split]) -> dict[str, tuple[str, ...]]:
        groups: dict[str, tuple[str, ...]] = {
            split.name: (split.first, split.second) for split in splits
        }
        places = {}
        for key, name, value in self._entries(node):
            self._claim_name(key, "group")
            members = [self._text(one, of=name) for one in self._items(value, of=name)]
            if not members:
                raise self._refuse(value, f"{name}: expected a list of parts or groups")
            groups[name], places[name] = tuple(dict.fromkeys(members)), value
        if len(groups) > MAX_GROUPS:
            raise self._refuse(node, f"expected at most {MAX_GROUPS} groups, got {len(groups)}")
        parts = dict.fromkeys(label.name for label in self._labels)
        visited: set[str] = set()
        for name, value in places.items():
            try:
                expand_parts([name], parts, groups, of=f"group {name}", visited=visited)
            except LabelNotFoundError as exc:
                raise self._refuse(value, str(exc)) from exc
        return {name: groups[name] for name in places}

    def _rectangle(
        self, node: yaml.Node | None, resolution: int | None
    ) -> tuple[int, int, int, int] | None:
        if node is None:
            return None
        if resolution is None:
            raise self._refuse(node, "rectangle: it needs `resolution:`")
        values = [
            self._integer(one, 0, resolution, of="rectangle")
            for one in self._items(node, of="rectangle")
        ]
        if len(values) != 4 or values[0] >= values[2] or values[1] >= values[3]:
            raise self._refuse(node, "rectangle: expected top, left, bottom, right around pixels")
        return values[0], values[1], values[2], values[3]

    # --- names, colours and values that only one may have ---

    def _claim_name(self, node: yaml.Node, kind: str, name: str | None = None) -> str:
        name = self._text(node, of="name") if name is None else name
        try:
            check_name(name, of=f"{kind} name")
        except InvalidNameError as exc:
            raise self._refuse(node, str(exc)) from exc
        self._claim(plain_name(name), "", node)
        self._taken[plain_name(name)] = (name, node)
        return name

    def _claim(self, what: _Claimed, owner: str, node: yaml.Node) -> _Claimed:
        """Notes whose name, colour or value it is; refuses what another part has."""
        other, place = self._taken.setdefault(what, (owner, node))
        if other != owner:
            line = place.start_mark.line + 1
            raise self._refuse(node, f"{_shown(what)} is that of {other} already, line {line}")
        return what

    # --- nodes ---

    def _color(self, node: yaml.Node) -> Color:
        if isinstance(node, yaml.SequenceNode):
            values = [self._integer(one, 0, 255, of="color") for one in node.value]
            if len(values) == 3:
                return values[0], values[1], values[2]
        elif _HEX.match(text := self._text(node, of="color")):
            return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
        raise self._refuse(node, 'color: expected "#rrggbb" (in quotes) or three numbers to 255')

    def _integer(self, node: yaml.Node, low: int, high: int, *, of: str) -> int:
        text = self._text(node, of=of)
        if not _INTEGER.match(text) or not low <= int(text) <= high:
            raise self._refuse(node, f"{of}: expected a number from {low} to {high}, got {text!r}")
        return int(text)

    def _items(self, node: yaml.Node | None, *, of: str) -> list[yaml.Node]:
        if node is None:
            return []
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        raise self._refuse(node, f"{of}: expected a list, such as [one, two]")

    def _entries(self, node: yaml.Node) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        """The keys of a mapping with their names, and the values."""
        for _ in self._fields(node, None):
            pass
        for key, value in node.value:
            yield key, str(key.value).strip(), value


def _maps_values(node: yaml.Node) -> bool:
    """True for the short form: every key is a number."""
    return (
        isinstance(node, yaml.MappingNode)
        and bool(node.value)
        and all(
            isinstance(key, yaml.ScalarNode) and _INTEGER.match(str(key.value))
            for key, _ in node.value
        )
    )


def _shown(what: str | int | Color) -> str:
    if isinstance(what, tuple):
        return "the colour #{:02x}{:02x}{:02x}".format(*what)
    return f"the value {what}" if isinstance(what, int) else f"the name {what!r}"
