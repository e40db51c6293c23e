"""Frozen dataclasses as JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pytest

from editvec.json_codec import JsonFields, as_json


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Span(NamedTuple):
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Leaf(JsonFields):
    size: int
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Tree(JsonFields):
    written_if_given = frozenset({"note"})

    name: str
    leaves: tuple[Leaf, ...] = ()
    best: Leaf | None = None
    folder: Path | None = None
    rows: tuple[int, int] | None = None
    span: Span | None = None
    note: str | None = None


class OwnError(ValueError):
    pass


@dataclass(frozen=True)
class Picky(JsonFields):
    json_error = OwnError

    colours: tuple[Colour, ...] = ()
    leaf: Leaf | None = None


def test_fields_of_every_kind_come_back() -> None:
    tree = Tree(
        name="oak",
        leaves=(Leaf(1), Leaf(2, Colour.BLUE)),
        best=Leaf(3),
        folder=Path("a/b"),
        rows=(2, 5),
        span=Span(None, 1.5),
    )

    written = json.dumps(tree.to_json())

    assert json.loads(written) == {
        "name": "oak",
        "leaves": [{"size": 1, "colour": "red"}, {"size": 2, "colour": "blue"}],
        "best": {"size": 3, "colour": "red"},
        "folder": "a/b",
        "rows": [2, 5],
        "span": [None, 1.5],
    }
    read = Tree.from_json(json.loads(written))
    assert read == tree
    assert isinstance(read.span, Span)


def test_what_came_later_is_written_only_where_it_is_given() -> None:
    assert "note" not in Tree("oak").to_json()
    assert Tree.from_json(Tree("oak", note="old").to_json()).note == "old"


def test_missing_fields_take_their_defaults_and_other_names_do_not_count() -> None:
    assert Tree.from_json({"name": "oak", "height": 4}) == Tree("oak")
    with pytest.raises(TypeError, match="'name'"):
        Tree.from_json({})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colours": "red"}, r"^Picky.colours: expected a list, got 'red'$"),
        (
            {"colours": ["red", "pink"]},
            r"^Picky.colours\[1\]: expected one of red, blue, got 'pink'$",
        ),
        ({"leaf": 3}, r"^Picky.leaf: expected an object, got 3$"),
    ],
)
def test_values_of_another_type_are_refused_by_the_name_of_the_field(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(OwnError, match=message):
        Picky.from_json(values)


def test_refusals_inside_a_field_are_of_the_class_that_it_holds() -> None:
    with pytest.raises(ValueError, match=r"^Leaf.colour: expected one of red, blue, got 'pink'$"):
        Tree.from_json({"name": "oak", "best": {"size": 1, "colour": "pink"}})


def test_other_dataclasses_are_written_with_their_address() -> None:
    @dataclass(frozen=True)
    class Placed:
        name: str
        at: datetime

        @property
        def address(self) -> str:
            return f"here/{self.name}"

    told = as_json({1: [Placed("x", datetime(2026, 1, 2, tzinfo=UTC))]})

    assert told == {"1": [{"address": "here/x", "name": "x", "at": "2026-01-02T00:00:00+00:00"}]}
