"""Addresses: what is one, what is none, and that both directions agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.registry.addresses import (
    Address,
    check_alias,
    check_name,
    parse_address,
    parse_class_address,
    parse_new_address,
)
from editvec.registry.errors import InvalidNameError

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", fullmatch=True)
ALIASES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,99}\Z", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("smile", Address(None, "smile")),
        ("smile@2", Address(None, "smile", version=2)),
        ("smile@stable", Address(None, "smile", alias="stable")),
        ("smile@latest", Address(None, "smile", alias="latest")),
        ("avatars/smile", Address("avatars", "smile")),
        ("avatars/smile@v1.0", Address("avatars", "smile", alias="v1.0")),
    ],
)
def test_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@given(
    class_name=st.none() | NAMES,
    name=NAMES,
    pin=st.none() | st.integers(1, 999_999_999) | ALIASES,
)
def test_address_is_read_back_as_it_was_written(
    class_name: str | None, name: str, pin: int | str | None
) -> None:
    address = Address(
        class_name,
        name,
        version=pin if isinstance(pin, int) else None,
        alias=pin if isinstance(pin, str) else None,
    )

    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/smile",
        "a/b/c",
        "../smile",
        "/etc/passwd",
        "smile@",
        "smile@0",
        "smile@-1",
        "smile@1.5",
        "smile@1st",
        "smile@1234567890",
        "smile@a@b",
        "smile@../x",
        "smile@stable\n",
        "smile\n",
        "'smile'",
        'sm"ile',
        "sm ile",
        "ѕmile",
        "smile@ѕtable",
        "smile@２",
        "a" * 300,
        "smile@" + "a" * 300,
    ],
)
def test_text_that_is_no_address_is_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        parse_address(text)

    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 250


def test_look_alike_letter_is_named() -> None:
    with pytest.raises(InvalidNameError, match="CYRILLIC SMALL LETTER DZE"):
        check_name("ѕmile")


@pytest.mark.parametrize("alias", ["1st", "2", "latest", "", "a b", "../x", "a" * 101])
def test_what_is_no_alias_is_refused(alias: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^alias: "):
        check_alias(alias)


def test_new_vector_takes_no_alias() -> None:
    assert parse_new_address("avatars/smile@2").version == 2
    assert parse_new_address("avatars/smile").version is None
    with pytest.raises(InvalidNameError, match=r"'smile@stable'.*takes a version or none"):
        parse_new_address("smile@stable")


@pytest.mark.parametrize("text", ["avatars@", "avatars@stable", "avatars@0", "a/b", "x" * 300])
def test_text_that_is_no_class_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_class_address(text)
