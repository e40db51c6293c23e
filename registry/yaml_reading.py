"""Nodes of YAML, read so that every refusal names the line."""

from __future__ import annotations

from collections.abc import Iterator

import yaml


class NodeReader:
    """The base of readers that turn nodes into values.

    Args:
        of: what is read, as refusals name it.
        error: what a refusal raises.
    """

    def __init__(self, of: str, error: type[Exception]) -> None:
        self._of = of
        self._error = error

    def _fields(
        self, node: yaml.Node, allowed: tuple[str, ...] | None
    ) -> Iterator[tuple[str, yaml.Node]]:
        """The keys and values of a mapping, no key twice and none that means nothing."""
        if not isinstance(node, yaml.MappingNode):
            raise self._refuse(node, "expected `name: value` pairs")
        seen = set()
        for key, value in node.value:
            name = self._text(key, of="key")
            if name in seen:
                raise self._refuse(key, f"{name!r} is given twice")
            if allowed is not None and name not in allowed:
                raise self._refuse(key, f"expected one of {', '.join(allowed)}, got {name!r}")
            seen.add(name)
            yield name, value

    def _text(self, node: yaml.Node, *, of: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not str(node.value).strip():
            raise self._refuse(node, f"{of}: expected one value")
        return str(node.value).strip()

    def _refuse(self, node: yaml.Node, problem: str) -> Exception:
        return self._error(f"{self._of}, line {node.start_mark.line + 1}: {problem}")
