"""Nodes of YAML, read so that every refusal names the line."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

MAX_ALIASED_NODES = 50_000


def read_nodes(text: str, *, of: str, error: type[Exception]) -> yaml.Node | None:
    """The nodes of a YAML text, because values alone do not know their lines.

    Nothing is constructed. Aliases may stand for what is written elsewhere as long as the text
    stays of a size that can be worked through: a few lines of them can mean billions of values.

    Args:
        text: YAML.
        of: what is read, as refusals name it.
        error: what a refusal raises.

    Returns:
        The root; None where the text holds nothing.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        line = "" if exc.problem_mark is None else f", line {exc.problem_mark.line + 1}"
        raise error(f"{of}{line}: not YAML ({exc.problem})") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise error(f"{of}: not YAML ({' '.join(str(exc).split())})") from exc
    except (ValueError, OverflowError) as exc:
        # what the reader makes of a few characters that no text holds, such as \U00110000
        raise error(f"{of}: not YAML ({' '.join(str(exc).split())})") from exc
    if root is not None:
        _check_aliases(root, of=of, error=error)
    return root


def _check_aliases(root: yaml.Node, *, of: str, error: type[Exception]) -> None:
    """Refuses nodes that hold themselves, and aliases that multiply what there is."""
    sizes: dict[int, int] = {}  # with all that is below, however often; by identity
    open_nodes: set[int] = set()
    is_shared = False
    rest = [root]
    while rest:
        node = rest[-1]
        if id(node) in sizes:
            is_shared = True
            rest.pop()
            continue
        below = _children(node)
        if id(node) in open_nodes:
            open_nodes.remove(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in below)
            rest.pop()
            continue
        open_nodes.add(id(node))
        for child in below:
            if id(child) in open_nodes:
                raise error(f"{of}, line {child.start_mark.line + 1}: an alias holds itself")
        rest += below
    if is_shared and sizes[id(root)] > MAX_ALIASED_NODES:
        raise error(
            f"{of}: its aliases (*name) stand for {sizes[id(root)]:,} values; expected at most "
            f"{MAX_ALIASED_NODES:,}, or all values written out"
        )


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


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
