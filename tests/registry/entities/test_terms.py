"""The words that a composition is written in."""

import pytest

from editvec.registry.entities.terms import (
    TypedVector,
    class_named_in,
    parse_condition,
    parse_term,
)
from editvec.registry.entities.vectors import Condition
from editvec.registry.errors import CompositionError, InvalidNameError


def test_terms_are_parsed() -> None:
    plain = parse_term("smile=1")
    versioned = parse_term("avatars/look-left@2=-0.5")
    rows = parse_term("smile[1:3]=0.8", num_ws=4)

    assert (plain.address, plain.scale, plain.row_mask) == ("smile", 1.0, None)
    assert (versioned.address, versioned.scale) == ("avatars/look-left@2", -0.5)
    assert rows.row_mask == (False, True, True, False)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("smile", CompositionError),
        ("smile=", CompositionError),
        ("=1", CompositionError),
        ("smile=big", CompositionError),
        ("smile=nan", CompositionError),
        ("smile=inf", CompositionError),
        ("smile[3:1]=1", CompositionError),
        ("smile[0:5]=1", CompositionError),
        ("smile[1]=1", CompositionError),
        ("a b=1", InvalidNameError),
        ("../smile=1", InvalidNameError),
    ],
)
def test_text_that_is_no_term_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_term(text, num_ws=4)


def test_conditions_are_parsed() -> None:
    assert parse_condition(" look-left ") == Condition(address="look-left")
    assert parse_condition("avatars/frown@stable").address == "avatars/frown@stable"
    assert parse_condition("frown[2:4]", num_ws=4).row_mask == (False, False, True, True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", CompositionError),
        ("smile=1", CompositionError),
        ("smile[0:9]", CompositionError),
        ("smile[1]", CompositionError),
        ("../smile", InvalidNameError),
        ("smile@", InvalidNameError),
    ],
)
def test_text_that_is_no_condition_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_condition(text, num_ws=4)


def test_rows_without_a_class_are_refused() -> None:
    with pytest.raises(CompositionError, match="rows need a class"):
        parse_term("smile[0:1]=1")


def test_class_is_the_first_that_a_term_names() -> None:
    assert class_named_in(["smile=1", "avatars/look[0:2]=1", "car/wheel=1"]) == "avatars"
    assert class_named_in(["smile=1"]) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("smile", ("smile", "smile", None, None)),
        (" a/smile@2 = 0:1:3 ", ("a/smile@2", "a/smile@2", None, " 0:1:3")),
        ("smile[4:9]=1", ("smile[4:9]", "smile", (4, 9), "1")),
        ("smile[4:9]", ("smile[4:9]", "smile", (4, 9), None)),
        ("smile=choice(0,\n1)", ("smile", "smile", None, "choice(0,\n1)")),
    ],
)
def test_typed_vectors_are_taken_apart(text: str, found: tuple[object, ...]) -> None:
    assert TypedVector.read(text) == found


@pytest.mark.parametrize("text", ["", "=1", "smile=", "smile[4]=1", "smile[4:9", "[4:9]=1"])
def test_texts_of_another_form_are_no_typed_vectors(text: str) -> None:
    assert TypedVector.read(text) is None
