"""Options made of the fields of settings: default, range and help stand there, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import click

from editvec.settings import MISSING, Rule, default_of, rule_of

_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])
_Decorator = Callable[[_COMMAND], _COMMAND]


class SettingOption(click.Option):
    """An option that mirrors a field.

    Attributes:
        owner: The dataclass.
        field: Name of its field, and of the option's parameter.
        times: The field's number for each 1 that is typed.
    """

    owner: type
    field: str
    times: int

    def __init__(self, *words: Any, mirrored: tuple[type, str, int], **attributes: Any) -> None:
        super().__init__(*words, **attributes)
        self.owner, self.field, self.times = mirrored


def setting_option(
    owner: type,
    field: str,
    *words: str,
    times: int = 1,
    is_asked: bool = True,
    **attributes: Any,
) -> Callable[[_COMMAND], _COMMAND]:
    """The option of a field.

    Args:
        owner: The dataclass.
        field: Name of its field.
        *words: What is typed; none makes `--the-field`.
        times: The field's number for each 1 that is typed: 1000 where people count thousands.
        is_asked: False gives None where the option is left out, and the help says what the
            dataclass then takes: for settings that a class may keep instead.
        **attributes: Of `click.option`, in the place of those that the field gives.
    """
    rule, default = rule_of(owner, field), default_of(owner, field)
    given: dict[str, Any] = {"help": rule.help or None}
    if rule.kind is bool:
        given |= {"is_flag": True, "default": default}
    else:
        given["type"] = _type(rule, times)
        if default is not None and default is not MISSING:
            shown = str(default) if rule.kind not in (int, float) else _typed(default, times)
            if is_asked:
                given |= {"default": shown, "show_default": shown != ""}
            else:
                given["help"] = f"{rule.help} [default: {shown}]"
    if times != 1:
        given["callback"] = lambda _ctx, _param, value: (
            None if value is None else round(value * times)
        )
    return click.option(
        *(words or (f"--{field.replace('_', '-')}",)),
        field,
        cls=SettingOption,
        mirrored=(owner, field, times),
        **given | attributes,
    )


def take(owner: type, chosen: dict[str, Any], *, besides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Take what was chosen for the fields of a dataclass out of `chosen`.

    What is None stays out: the dataclass then takes its own.

    Args:
        owner: The dataclass.
        chosen: Values of options by name; those that are taken go.
        besides: Fields that are meant for somebody else.
    """
    names = [one.name for one in fields(owner) if one.name in chosen and one.name not in besides]
    return given_of({name: chosen.pop(name) for name in names})


def given_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _type(rule: Rule, times: int) -> click.ParamType[Any] | None:
    """What click checks a word by."""
    if rule.choices:
        return click.Choice(rule.choices)
    if rule.kind not in (int, float):
        return None
    least, above, most = (
        None if bound is None else _typed(bound, times)
        for bound in (rule.least, rule.above, rule.most)
    )
    if rule.kind is float or times != 1:
        low = above if least is None else least
        return click.FloatRange(low, most, min_open=least is None and above is not None)
    return click.IntRange(least, most)


def _typed(number: Any, times: int) -> Any:
    """A field's number as it is typed."""
    if times == 1:
        return number
    return number // times if number % times == 0 else number / times
