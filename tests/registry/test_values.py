"""Single values: what is stored as it is, and what is refused by name."""

import pytest

from editvec.registry.entities.vectors import Kind
from editvec.registry.errors import CompatibilityError, RecordError
from editvec.registry.values import (
    checked_json,
    checked_number,
    checked_text,
    one_of,
    optional_number,
    optional_text,
    parse_row_mask,
    refuse_text,
    row_mask_text,
)


def test_row_masks_are_texts_of_a_letter_for_each_row() -> None:
    assert row_mask_text(None, num_ws=3) == "111"
    assert row_mask_text([True, False, True], num_ws=3) == "101"
    assert parse_row_mask("101") == (True, False, True)


@pytest.mark.parametrize("mask", [[True, True], [True] * 4, [False] * 3, []])
def test_row_masks_of_another_length_or_of_no_row_are_refused(mask: list[bool]) -> None:
    with pytest.raises(CompatibilityError, match=r"row mask: expected 3 values with one true"):
        row_mask_text(mask, num_ws=3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_are_finite(value: float) -> None:
    assert checked_number(-2, of="x") == -2.0
    assert optional_number(None, of="x") is None
    assert optional_number(0, of="x") == 0.0
    for check in (checked_number, optional_number):
        with pytest.raises(RecordError, match=r"x: expected a finite number, got"):
            check(value, of="x")


def test_texts_end_at_their_limit() -> None:
    assert checked_text("ü" * 5, of="x", max_length=5) == "üüüüü"
    assert checked_text("a" * 10_000, of="x") == "a" * 10_000
    assert optional_text(None, of="x", max_length=1) is None
    for text, options in (("a" * 6, {"max_length": 5}), ("a" * 10_001, {})):
        with pytest.raises(RecordError, match=r"x: expected at most .* characters, got"):
            checked_text(text, of="x", **options)


@pytest.mark.parametrize("letter", ["\0", chr(0xD800), chr(0xDFFF)])
def test_letters_that_no_database_keeps_are_refused(letter: str) -> None:
    assert checked_text("\ud7ff\ue000", of="x") == "\ud7ff\ue000"
    with pytest.raises(RecordError, match=r"x: expected text, got"):
        checked_text(f"a{letter}", of="x")


def test_members_of_an_enumeration_are_listed() -> None:
    assert one_of(Kind, "learned", of="kind") is Kind.LEARNED
    with pytest.raises(RecordError, match=r"kind: expected one of learned, .*, got 'x'"):
        one_of(Kind, "x", of="kind")


def test_json_is_copied_or_refused() -> None:
    inner = [1]
    copy = checked_json({"a": inner, "b": (1, 2)}, of="x")

    inner.append(2)
    assert copy == {"a": [1], "b": [1, 2]}
    for wrong in ({"a": float("nan")}, {"a": object()}, {"a": {1}}):
        with pytest.raises(RecordError, match=r"^x: not JSON \("):
            checked_json(wrong, of="x")


def test_a_text_is_no_list_of_names() -> None:
    refuse_text(["ab"], of="tags")
    with pytest.raises(RecordError, match=r"tags: expected several names, got the text 'ab'"):
        refuse_text("ab", of="tags")
