"""Fields of dataclasses that say their default, their range and what they mean, once.

Constructors check the range (`check_settings`), and commands make their options of the same fields
(`editvec.batch.cli.settings`), so that a command and a function cannot differ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

_RULE = "editvec-rule"

_WORDS: dict[type, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a tuple",
    Path: "a path",
}
# what else a field of a kind takes
_ALIKE: dict[type, tuple[type, ...]] = {tuple: (tuple, list), Path: (Path, str)}

MISSING = dataclasses.MISSING
"""The default of a field that has none."""


class Rule(NamedTuple):
    """What a field takes.

    Attributes:
        kind: int, float, bool, str, tuple, Path, an Enum, or a class of its own.
        least: The smallest number; None for any.
        above: A number that is too small itself; None for none.
        most: The largest number; None for any.
        choices: The only values; empty for any.
        help: What it means, in a sentence for people.
    """

    kind: type
    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    help: str = ""

    @property
    def text(self) -> str:
        """The range in words: `at least 1`, `0 to 1`, `more than 0, at most 1`."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.least is not None and self.most is not None:
            return f"{self.least:.15g} to {self.most:.15g}"
        parts = []
        if self.least is not None:
            parts.append(f"at least {self.least:.15g}")
        if self.above is not None:
            parts.append(f"more than {self.above:.15g}")
        if self.most is not None:
            parts.append(f"at most {self.most:.15g}")
        return ", ".join(parts) or _WORDS.get(self.kind, self.kind.__name__)

    def takes(self, value: object) -> bool:
        """Whether a value is of the kind and in the range."""
        if self.choices:
            return value in self.choices
        if self.kind not in (int, float):
            return isinstance(value, _ALIKE.get(self.kind, self.kind))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (
            (self.kind is float or isinstance(value, int))
            and math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )


def setting(
    default: Any = MISSING,
    *,
    kind: type | None = None,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    choices: Sequence[Any] = (),
    help: str = "",  # noqa: A002 (as click calls it)
) -> Any:
    """A field of a dataclass, with its range and its meaning.

    Args:
        default: None where the class finds the value itself; left out where there is no default.
        kind: See `Rule`; None takes the default's own.
        least: The smallest number.
        above: A number that is too small itself.
        most: The largest number.
        choices: The only values; none takes the members of an Enum.
        help: What it means.

    Example:
        >>> @dataclasses.dataclass
        ... class Bread:
        ...     hours: float = setting(1.5, above=0, most=24, help="In the oven.")
        >>> rule_of(Bread, "hours").text
        'more than 0, at most 24'
        >>> check_settings(Bread(hours=25), ValueError)
        Traceback (most recent call last):
        ...
        ValueError: hours: expected more than 0, at most 24, got 25
    """
    if kind is None:
        kind = str if default is None or default is MISSING else type(default)
    if not choices and issubclass(kind, Enum):
        choices = tuple(kind)
    rule = Rule(kind, least, above, most, tuple(choices), help)
    if default is MISSING:
        return dataclasses.field(metadata={_RULE: rule})
    return dataclasses.field(default=default, metadata={_RULE: rule})


def same_setting(owner: type, name: str) -> Any:
    """A field like one of another dataclass: the same default, range and meaning."""
    field = _field(owner, name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def rule_of(owner: type, name: str) -> Rule:
    """The rule of a field.

    Raises:
        KeyError: There is no such field, or it was not made by `setting`.
    """
    rule: Rule = _field(owner, name).metadata[_RULE]
    return rule


def default_of(owner: type, name: str) -> Any:
    """The default of a field; `MISSING` where it has none."""
    return _field(owner, name).default


def check_settings(settings: Any, error: type[Exception]) -> None:
    """Check every field that `setting` made; None is right where it is the default.

    Args:
        settings: A dataclass's instance.
        error: What is raised, with one line: the field, what was expected, what came.
    """
    for field in dataclasses.fields(settings):
        rule: Rule | None = field.metadata.get(_RULE)
        value = getattr(settings, field.name)
        if rule is None or (value is None and field.default is None):
            continue
        if not rule.takes(value):
            raise error(f"{field.name}: expected {rule.text}, got {value!r:.200}")


def _field(owner: type, name: str) -> dataclasses.Field[Any]:
    found = {one.name: one for one in dataclasses.fields(owner)}
    return found[name]
