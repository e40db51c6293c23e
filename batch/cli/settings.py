"""Options made of the fields of settings: default, range and help stand there, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
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
        words: What is typed for each value, where that is no text of it.
    """

    owner: type
    field: str
    times: int
    words: Mapping[str, Any]

    def __init__(
        self,
        *words: Any,
        mirrored: tuple[type, str, int, Mapping[str, Any]],
        **attributes: Any,
    ) -> None:
        super().__init__(*words, **attributes)
        self.owner, self.field, self.times, self.words = mirrored


def setting_option(
    owner: type,
    field: str,
    *words: str,
    times: int = 1,
    is_asked: bool = True,
    when: str = "",
    starts_at_one: bool = False,
    values: Mapping[str, Any] | None = None,
    without: Sequence[Any] = (),
    **attributes: Any,
) -> Callable[[_COMMAND], _COMMAND]:
    """The option of a field.

    A tuple is typed with commas between its texts, or an option for each where `multiple` is given.

    Args:
        owner: The dataclass.
        field: Name of its field.
        *words: What is typed; none makes `--the-field`.
        times: The field's number for each 1 that is typed: 1000 where people count thousands.
        is_asked: False gives None where the option is left out, and the help says what the
            dataclass then takes: for settings that a class may keep instead.
        when: What the help says after that default.
        starts_at_one: The field's 0 means that nobody said a number: the option is left out then,
            and gives None.
        values: What each word stands for, such as `{"yes": True, "no": False}`; None types the
            values themselves.
        without: Choices of the field that this command has not.
        **attributes: Of `click.option`, in the place of those that the field gives.
    """
    rule, default = rule_of(owner, field), default_of(owner, field)
    given: dict[str, Any] = {"help": rule.help or None}
    has_default = default is not None and default is not MISSING and not starts_at_one
    if values is not None:
        given |= {"type": click.Choice([*values]), "callback": _value_of(values)}
        if has_default:
            shown = next(word for word, value in values.items() if value == default)
            given |= {"default": shown, "show_default": True}
    elif rule.kind is bool:
        given |= {"is_flag": True, "default": default}
    elif rule.kind is tuple:
        if not attributes.get("multiple"):
            given["callback"] = _split
            if default:
                given |= {"default": ",".join(default), "show_default": True}
    else:
        given["type"] = _type(rule, times, least=1 if starts_at_one else rule.least, no=without)
        if has_default:
            shown = str(default) if rule.kind not in (int, float) else _typed(default, times)
            if is_asked:
                given |= {"default": shown, "show_default": shown != ""}
            else:
                given["help"] = f"{rule.help} [default: {shown}{when}]"
    if times != 1:
        given["callback"] = lambda _ctx, _param, value: (
            None if value is None else round(value * times)
        )
    return click.option(
        *(words or (f"--{field.replace('_', '-')}",)),
        field,
        cls=SettingOption,
        mirrored=(owner, field, times, values or {}),
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


def _value_of(values: Mapping[str, Any]) -> Callable[..., Any]:
    """Click's callback that reads a word as the value that it stands for."""
    return lambda _ctx, _param, word: None if word is None else values[word]


def _split(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Click's callback that reads `mouth,teeth`."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _type(
    rule: Rule, times: int, *, least: float | None, no: Sequence[Any]
) -> click.ParamType[Any] | None:
    """What click checks a word by."""
    if rule.choices:
        left = [one for one in rule.choices if one not in no]
        return click.Choice([one.value if isinstance(one, Enum) else one for one in left])
    if rule.kind not in (int, float):
        return None
    low, above, most = (
        None if bound is None else _typed(bound, times) for bound in (least, rule.above, rule.most)
    )
    is_open = low is None and above is not None
    low = above if low is None else low
    if rule.kind is float or times != 1:
        if low is None and most is None:
            return click.FLOAT
        return click.FloatRange(low, most, min_open=is_open)
    return click.INT if low is None and most is None else click.IntRange(low, most)


def _typed(number: Any, times: int) -> Any:
    """A field's number as it is typed."""
    if times == 1:
        return number
    return number // times if number % times == 0 else number / times
