"""Fields of foreign JSON: each kind from both sides of its limits, and what refusals say."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from editvec.registry.errors import CodecError, RecordError
from editvec.registry.json_fields import Fields, unique_keys


class Fruit(StrEnum):
    APPLE = "apple"
    PEAR = "pear"


def _fields(value: object) -> Fields:
    return Fields({"x": value, "none": None}, of="a.json: b[1]", error=RecordError)


READERS: dict[str, Callable[[Fields, str], Any]] = {
    "text": Fields.text,
    "optional_text": Fields.optional_text,
    "one_of": lambda fields, key: fields.one_of(key, Fruit),
    "name": Fields.name,
    "digest": Fields.digest,
    "optional_digest": Fields.optional_digest,
    "integer": lambda fields, key: fields.integer(key, 2, 4),
    "number": Fields.number,
    "optional_number": Fields.optional_number,
    "integers": lambda fields, key: fields.integers(key, 2, 2, 4),
    "texts": Fields.texts,
    "booleans": Fields.booleans,
    "items": Fields.items,
    "mapping": Fields.mapping,
}
DIGEST = "0a" * 32


@pytest.mark.parametrize(
    ("reader", "value", "expected"),
    [
        ("text", "", ""),
        ("optional_text", "y", "y"),
        ("one_of", "pear", Fruit.PEAR),
        ("name", "smile.1", "smile.1"),
        ("digest", DIGEST, DIGEST),
        ("optional_digest", DIGEST, DIGEST),
        ("integer", 2, 2),
        ("integer", 4, 4),
        ("number", 3, 3.0),
        ("number", -0.5, -0.5),
        ("optional_number", 0, 0.0),
        ("integers", [2, 4], (2, 4)),
        ("texts", [], ()),
        ("texts", ["a", ""], ("a", "")),
        ("booleans", [True, False], (True, False)),
        ("items", [1, "a", None], [1, "a", None]),
        ("mapping", {"a": 1}, {"a": 1}),
    ],
)
def test_values_that_fit_are_returned(reader: str, value: object, expected: object) -> None:
    read = READERS[reader](_fields(value), "x")

    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("reader", "value", "message"),
    [
        ("text", 1, "x: expected text, got 1"),
        ("optional_text", 1, "x: expected text, got 1"),
        ("one_of", "plum", "x: expected one of apple, pear, got 'plum'"),
        ("name", "a b", "x: expected a letter or digit, then .* got 'a b'"),
        ("digest", DIGEST[1:], "x: expected a SHA-256 in hex"),
        ("digest", DIGEST.upper(), "x: expected a SHA-256 in hex"),
        ("digest", 7, "x: expected a SHA-256 in hex"),
        ("optional_digest", "", "x: expected a SHA-256 in hex"),
        ("integer", 1, "x: expected an integer from 2 to 4, got 1"),
        ("integer", 5, "x: expected an integer from 2 to 4, got 5"),
        ("integer", 3.0, "x: expected an integer from 2 to 4, got 3.0"),
        ("integer", True, "x: expected an integer from 2 to 4, got True"),
        ("number", True, "x: expected a number, got True"),
        ("number", "3", "x: expected a number, got '3'"),
        ("number", float("nan"), "x: expected a finite number, got nan"),
        ("number", float("-inf"), "x: expected a finite number, got -inf"),
        ("number", 10**400, "x: expected a finite number, got 1000"),
        ("integers", [2], r"x: expected 2 integers from 2 to 4, got \[2\]"),
        ("integers", [2, 3, 4], "x: expected 2 integers"),
        ("integers", [1, 2], "x: expected 2 integers"),
        ("integers", [2, 5], "x: expected 2 integers"),
        ("integers", [2, True], "x: expected 2 integers"),
        ("texts", ["a", 1], "x: expected a list of texts"),
        ("texts", "ab", "x: expected a list"),
        ("booleans", [True, 1], "x: expected a list of true and false"),
        ("items", {"a": 1}, "x: expected a list"),
        ("mapping", ["a"], "x: expected an object"),
    ],
)
def test_values_of_another_kind_are_refused_with_their_place(
    reader: str, value: object, message: str
) -> None:
    with pytest.raises(RecordError, match=rf"^a\.json: b\[1\]: {message}"):
        READERS[reader](_fields(value), "x")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("key", "found"), [("none", "None"), ("missing", "nothing")])
def test_what_is_missing_is_none_where_that_is_allowed(reader: str, key: str, found: str) -> None:
    if reader.startswith("optional"):
        assert READERS[reader](_fields(1), key) is None
        return
    with pytest.raises(RecordError, match=rf"{key}: expected .*, got {found}$"):
        READERS[reader](_fields(1), key)


def test_a_default_stands_for_a_missing_text_only() -> None:
    assert _fields(1).text("missing", "default") == "default"
    with pytest.raises(RecordError, match=r"none: expected text, got None"):
        _fields(1).text("none", "default")


def test_silent_and_unknown_fields() -> None:
    fields = Fields({"a": 0, "b": None}, of="c", error=CodecError)

    assert [fields.is_silent(key) for key in ("a", "b", "z")] == [False, True, True]
    fields.check_known(["a", "b", "z"])
    with pytest.raises(CodecError, match=r"^c: 'a' is no known field$"):
        fields.check_known(["b"])
    fields.content["a"] = 1
    assert fields.content == {"a": 0, "b": None}
    with pytest.raises(CodecError, match=r"^c: expected an object, got \[1\]"):
        Fields([1], of="c", error=CodecError)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5-02:00", datetime(2026, 1, 2, 5, 4, 5, 500_000, tzinfo=UTC)),
    ],
)
def test_instants_become_utc(text: str, expected: datetime) -> None:
    read = _fields(text).instant("x")

    assert (read, read.tzinfo) == (expected, UTC)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2026-01-02T03:04:05", "a date and time with a zone"),
        ("yesterday", "a date and time"),
        ("0001-01-01T00:00:00+14:00", "a date and time"),
        (3, "text"),
    ],
)
def test_other_instants_are_refused(value: object, message: str) -> None:
    with pytest.raises(RecordError, match=f"x: expected {message}, got"):
        _fields(value).instant("x")


def test_objects_know_their_places() -> None:
    first, second = _fields([{"y": 1}, {"y": "a"}]).objects("x")

    assert first.integer("y", 1, 1) == 1
    with pytest.raises(RecordError, match=r"^a\.json: b\[1\]: x\[1\]: y: expected an integer"):
        second.integer("y", 1, 1)
    with pytest.raises(RecordError, match=r"x\[1\]: expected an object, got 2"):
        _fields([{}, 2]).objects("x")


def test_keys_that_come_twice_are_refused_at_any_depth() -> None:
    read = json.loads('{"a": {"b": 1, "c": 1}, "b": 2}', object_pairs_hook=unique_keys)

    assert read == {"a": {"b": 1, "c": 1}, "b": 2}
    with pytest.raises(ValueError, match=r"duplicate keys"):
        json.loads('{"a": {"b": 1, "b": 1}}', object_pairs_hook=unique_keys)
