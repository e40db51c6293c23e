"""Names and addresses: what they are made of, and how they are read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from editvec.registry.errors import InvalidNameError

MAX_NAME_LENGTH = 100
MAX_VERSION = 999_999_999
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_NAME_LENGTH - 1}}}\Z", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z", re.ASCII)

LATEST = "latest"
"""The alias that is built in: the newest version that is not retired."""


@dataclass(frozen=True)
class Address:
    """`class/name@version` or `class/name@alias`; the class and what follows `@` may be left open.

    Example:
        >>> parse_address("avatars/smile@2")
        Address(class_name='avatars', name='smile', version=2, alias=None)
        >>> str(parse_address("smile@stable"))
        'smile@stable'
    """

    class_name: str | None
    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        prefix = f"{self.class_name}/" if self.class_name is not None else ""
        pin = self.alias if self.version is None else self.version
        return f"{prefix}{self.name}" if pin is None else f"{prefix}{self.name}@{pin}"


def is_name(name: str) -> bool:
    """True of what `check_name` returns."""
    return _NAME.match(name) is not None


def check_name(name: str, *, of: str = "name") -> str:
    """Returns a name that can stand in an address, a path and a URL.

    Raises:
        InvalidNameError: says what a name is made of.
    """
    if not is_name(name):
        raise InvalidNameError(
            f"{of}: expected a letter or digit, then at most {MAX_NAME_LENGTH - 1} letters, "
            f"digits, '_', '.' or '-', got {quote(name)}"
        )
    return name


def check_alias(alias: str) -> str:
    """Returns a name that can stand after `@`, where a number would be a version.

    Raises:
        InvalidNameError: no name, one that begins with a digit, or one that is built in.
    """
    check_name(alias, of="alias")
    if not alias[0].isalpha():
        raise InvalidNameError(f"alias: expected a letter first, got {quote(alias)}")
    if alias == LATEST:
        raise InvalidNameError(
            f"alias: '{LATEST}' is built in, it is the newest version that is not retired"
        )
    return alias


def parse_address(text: str) -> Address:
    """Parses `class/name`, `name`, or either with `@version` or `@alias`.

    Raises:
        InvalidNameError: not an address.
    """
    prefix, slash, rest = text.rpartition("/")
    name, at, pin = rest.partition("@")
    address = Address(
        class_name=check_name(prefix, of="class name") if slash else None,
        name=check_name(name, of="vector name"),
    )
    if not at:
        return address
    if _VERSION.match(pin) is not None:
        return replace(address, version=int(pin))
    if _NAME.match(pin) is None or not pin[0].isalpha():
        raise InvalidNameError(
            f"address {quote(text)}: expected a version of 1 or more, or an alias, after '@'"
        )
    return replace(address, alias=pin)


def parse_new_address(text: str) -> Address:
    """Parses the address that a new vector shall have: with a version, or with none for the next.

    Raises:
        InvalidNameError: not an address, or one with an alias.
    """
    address = parse_address(text)
    if address.alias is not None:
        raise InvalidNameError(
            f"address {text!r}: a new vector takes a version or none after '@', not an alias"
        )
    return address


def parse_class_address(text: str) -> tuple[str, int | None]:
    """Parses `class@version` or `class`.

    Raises:
        InvalidNameError: not the address of a class.
    """
    name, at, version = text.partition("@")
    if at and _VERSION.match(version) is None:
        raise InvalidNameError(f"class {quote(text)}: expected a version of 1 or more after '@'")
    return check_name(name, of="class name"), int(version) if at else None


def quote(text: str) -> str:
    """A text as messages quote it: not too long, and what looks like another letter is named.

    Example:
        >>> quote("sm\u0456le")
        "'sm\u0456le' (with CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I)"
    """
    quoted = repr(text) if len(text) <= 60 else f"{text[:60]!r}... ({len(text)} characters)"
    foreign = next((letter for letter in text if not letter.isascii()), None)
    if foreign is None:
        return quoted
    import unicodedata  # large, and only wrong names need it

    return f"{quoted} (with {unicodedata.name(foreign, f'U+{ord(foreign):04X}')})"
