"""How mask files spell the parts of a class, as a bundle keeps it in `mask_spellings`.

So the files that a branch was trained on are read alike ever after:

    {"parts": {"tire": {"names": ["Tyre"], "colors": [[0, 255, 0]], "values": [200]}},
     "splits": {"light": {"first": "light_left", "second": "light_right", "axis": 1, ...}},
     "ignore": {"names": [], "colors": [], "values": [254]}}

A part's own name, colour and index are left out: every scheme has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from editvec.registry.addresses import check_name
from editvec.registry.errors import BundleFormatError, InvalidNameError
from editvec.registry.json_fields import Fields
from editvec.registry.labels.label import Color
from editvec.registry.labels.scheme import SIDES, LabelScheme, Spelling, Split

FIELD = "mask_spellings"
_IGNORE = "ignore"
_MAX_VALUE = 65535


class MaskSpellings(NamedTuple):
    """What files say beside names, colours and indices of parts; see `LabelScheme`."""

    splits: tuple[Split, ...] = ()
    spellings: Mapping[str, Spelling] = {}
    ignored: Spelling | None = None


def spellings_to_json(scheme: LabelScheme) -> dict[str, Any]:
    """What a bundle says about a scheme beside its labels and groups; empty for nothing."""
    parts = {
        label.name: _to_json(scheme.spellings[label.name])
        for label in scheme.labels
        if scheme.spellings.get(label.name, Spelling())
        not in (Spelling(), Spelling(values=(label.index,)))
    }
    splits = {
        split.name: {
            "first": split.first,
            "second": split.second,
            "axis": split.axis,
            **_to_json(scheme.spellings.get(split.name, Spelling())),
        }
        for split in scheme.splits
    }
    ignored = {} if scheme.ignored is None else _to_json(scheme.ignored)
    entries = (("parts", parts), ("splits", splits), (_IGNORE, ignored))
    return {name: said for name, said in entries if said}


def parse_spellings(content: object, parts: Sequence[str], *, of: str) -> MaskSpellings:
    """Reads what `spellings_to_json` gave.

    Args:
        content: JSON; None says nothing.
        parts: names of the parts, in the order of their indices.
        of: what messages call the bundle.

    Raises:
        BundleFormatError: names the field, what was expected and what came.
    """
    if content is None:
        return MaskSpellings()
    of = f"{of}: {FIELD}"
    fields = Fields(content, of=of, error=BundleFormatError)
    fields.check_known(("parts", "splits", _IGNORE))
    spellings: dict[str, Spelling] = {}
    for name, said in _entries(fields, "parts"):
        if name not in parts:
            raise BundleFormatError(f"{of}: parts: {name!r:.80} is none of the parts")
        spellings[name] = _spelling(Fields(said, of=f"{of}: {name}", error=BundleFormatError))
    splits = []
    for name, said in _entries(fields, "splits"):
        try:
            check_name(name, of="split name")
        except InvalidNameError as exc:
            raise BundleFormatError(f"{of}: splits: {exc}") from exc
        entry = Fields(said, of=f"{of}: {name}", error=BundleFormatError)
        split = Split(
            name,
            entry.name("first"),
            entry.name("second"),
            entry.integer("axis", 0, len(SIDES) - 1),
        )
        ends = {split.first, split.second} & {*parts}
        if name in parts or len(ends) < 2:
            raise BundleFormatError(f"{of}: splits: {name}: expected a new name and two parts")
        splits.append(split)
        spellings[name] = _spelling(entry)
    ignored = None
    if not fields.is_silent(_IGNORE):
        said = Fields(fields.mapping(_IGNORE), of=f"{of}: {_IGNORE}", error=BundleFormatError)
        ignored = _spelling(said)
    _check_values(parts, spellings, ignored, of=of)
    return MaskSpellings(tuple(splits), spellings, ignored)


def _to_json(spelling: Spelling) -> dict[str, Any]:
    return {
        "names": list(spelling.names),
        "colors": [list(color) for color in spelling.colors],
        "values": list(spelling.values),
    }


def _entries(fields: Fields, key: str) -> list[tuple[str, Any]]:
    return [] if fields.is_silent(key) else list(fields.mapping(key).items())


def _spelling(fields: Fields) -> Spelling:
    colors: list[Color] = []
    for color in fields.items("colors"):
        entry = Fields({"color": color}, of="colors", error=BundleFormatError)
        red, green, blue = entry.integers("color", 3, 0, 255)
        colors.append((red, green, blue))
    count = len(fields.items("values"))
    return Spelling(
        fields.texts("names"), tuple(colors), fields.integers("values", count, 0, _MAX_VALUE)
    )


def _check_values(
    parts: Sequence[str],
    spellings: Mapping[str, Spelling],
    ignored: Spelling | None,
    *,
    of: str,
) -> None:
    """No value of an index PNG means two things."""
    owners: dict[int, str] = {}
    said: dict[str, tuple[int, ...]] = {name: (place,) for place, name in enumerate(parts)}
    said |= {name: one.values for name, one in spellings.items() if one.values}
    if ignored is not None:
        said[f"`{_IGNORE}`"] = ignored.values
    for name, values in said.items():
        for value in values:
            if owners.setdefault(value, name) != name:
                raise BundleFormatError(f"{of}: {value} means {owners[value]} and {name}")
