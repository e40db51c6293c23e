"""Commands of a click group that are imported when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click


class LazyCommands(dict[str, click.Command]):
    """The `commands` of a group: names are known at once, commands once they are looked at."""

    def __init__(
        self,
        loaded: Mapping[str, click.Command],
        places: Mapping[str, str],
        *,
        on_loaded: Callable[[click.Command], None],
    ) -> None:
        """Loads nothing.

        Args:
            loaded: Commands that are there, by name; they come last.
            places: ``module:attribute`` of the others, by name.
            on_loaded: Told of each command when it is loaded, before anybody has it.
        """
        super().__init__(dict.fromkeys(places))  # type: ignore[arg-type]
        self._places = dict(places)
        self._on_loaded = on_loaded
        self.update(loaded)

    def __getitem__(self, name: str) -> click.Command:
        if name in self._places:
            module, _, attribute = self._places.pop(name).partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            self._on_loaded(command)
            self[name] = command
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        return self[name] if name in self else default  # noqa: SIM401 (it is what `get` does)

    def values(self) -> Any:
        """As of a dict; loads all."""
        return [self[name] for name in list(self)]

    def items(self) -> Any:
        """As of a dict; loads all."""
        return [(name, self[name]) for name in list(self)]

    @property
    def there(self) -> list[click.Command]:
        """Those that are loaded."""
        return [self[name] for name in list(self) if name not in self._places]
