"""Small wrong changes: those of cosmic-ray that somebody could type, and four kinds of our own.

Our own: a call whose result nobody uses is left out (an fsync, a flush, a check), a limit is left
out (`min(a, b)` becomes `a`), an operand of a guard is left out (`a and b` becomes `a`), errors are
let through (`except OSError` becomes `except ()`).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from parso.python.tree import Name

# paths and texts are put together by the same operators
NO_NUMBERS = re.compile(r"[\"']|folder|path|root|home|directory", re.IGNORECASE)
# flags by which Python checks what is so already
CHECKED_ANYWAY = re.compile(r"\s*(strict|frozen|slots|kw_only)\s*=")
CLAMPS = {"clamp", "clamp_", "clip"}


class Change(NamedTuple):
    """One place where one operator changes one module.

    Attributes:
        operator: its name, as cosmic-ray writes it.
        occurrence: which of the operator's places in the module, from 0.
        start: line from 1 and column from 0 where what changes begins.
        end: where it ends.
    """

    operator: str
    occurrence: int
    start: tuple[int, int]
    end: tuple[int, int]


def changes_of(path: Path) -> dict[str, list[Change]]:
    """All changes of a module.

    Args:
        path: the file of the module.

    Returns:
        The changes of each kind; kinds without one are left out.
    """
    nodes = list(ast_nodes(get_ast_from_path(path)))
    found = {}
    for kind, names in KINDS.items():
        changes = [change for name in names for change in _places(nodes, name)]
        if changes:
            found[kind] = changes
    return found


def changed(path: Path, change: Change) -> str | None:
    """The code of a module with a change; None where that is no Python.

    Args:
        path: the file of the module.
        change: one of `changes_of`.
    """
    operator = cosmic_ray.plugins.get_operator(change.operator)()
    code: str = mutate_code(path.read_text(), operator, change.occurrence)
    try:
        compile(code, str(path), "exec")
    except SyntaxError:
        return None
    return code


class LeaveOutCall(Operator):  # type: ignore[misc]
    """`os.fsync(file)` as a statement becomes `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where the operator changes a node of the syntax tree."""
        if node.type == "simple_stmt" and _is_call(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        """The changed node."""
        first = node.children[0]
        node.children[0] = Name("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None; tests/benchmarks/test_mutants.py has them."""
        return ()


class LeaveOutErrors(Operator):  # type: ignore[misc]
    """`except OSError as exc` becomes `except () as exc`, which catches nothing."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where the operator changes a node of the syntax tree."""
        if node.type == "except_clause":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        """The changed node."""
        node.children[1] = Name("()", node.children[1].start_pos, " ")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None; tests/benchmarks/test_mutants.py has them."""
        return ()


class LeaveOutLimit(Operator):  # type: ignore[misc]
    """`min(a, b)` becomes `(a)` or `(b)`, `x.clamp(0, 1)` and `np.clip(x, 0, 1)` become `x`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where the operator changes a node of the syntax tree."""
        for _ in _without_limit(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The changed node."""
        code = _without_limit(node)[index]
        return Name(code, node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        """None; tests/benchmarks/test_mutants.py has them."""
        return ()


class LeaveOutOperand(Operator):  # type: ignore[misc]
    """`a and b` becomes `(a)` or `(b)`; the same for `or`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where the operator changes a node of the syntax tree."""
        if node.type in {"and_test", "or_test"}:
            for operand in node.children[::2]:
                yield operand.start_pos, operand.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The changed node."""
        operands = [operand.get_code().strip() for operand in node.children[::2]]
        del operands[index]
        word = node.children[1].value
        code = f"({f' {word} '.join(operands)})"
        return Name(code, node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        """None; tests/benchmarks/test_mutants.py has them."""
        return ()


def _own(*names: str) -> list[str]:
    return [f"own/{name}" for name in names]


def _core(*names: str) -> list[str]:
    return [f"core/{name}" for name in names]


def _comparisons(*pairs: str) -> list[str]:
    return [f"core/ReplaceComparisonOperator_{pair}" for pair in pairs]


def _arithmetic(*pairs: str) -> list[str]:
    return [f"core/ReplaceBinaryOperator_{pair}" for pair in pairs]


# A kind has the same chance as every other, however many places it has in a module.
KINDS: Mapping[str, list[str]] = {
    "comparison": _comparisons(
        *("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "Gt_Lt", "LtE_GtE", "GtE_LtE"),
        *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    ),
    "condition": _core(
        "AddNot", "ReplaceUnaryOperator_Delete_Not", "ReplaceAndWithOr", "ReplaceOrWithAnd"
    ),
    "operand": _own("LeaveOutOperand"),
    "flag": _core("ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    "number": _core("NumberReplacer"),
    "arithmetic": _arithmetic(
        *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv")
    )
    + _core("ReplaceUnaryOperator_Delete_USub"),
    "limit": _own("LeaveOutLimit"),
    "statement": _own("LeaveOutCall"),
    "loop": _core("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    "failure": _own("LeaveOutErrors"),
}

cosmic_ray.plugins.OPERATOR_PROVIDERS["own"] = {
    operator.__name__: operator
    for operator in (LeaveOutCall, LeaveOutErrors, LeaveOutLimit, LeaveOutOperand)
}


def _places(nodes: list[Any], name: str) -> list[Change]:
    operator = cosmic_ray.plugins.get_operator(name)()
    places = [(node, place) for node in nodes for place in operator.mutation_positions(node)]
    return [
        Change(name, index, *place)
        for index, (node, place) in enumerate(places)
        if not _says_little(node)
    ]


def _says_little(node: Any) -> bool:
    """Whether every test notices a change here, since it is no arithmetic, or none has to."""
    if node.type == "operator" and node.value in {"+", "-", "*", "/", "//", "%"}:
        is_number = node.parent.type in {"term", "arith_expr"}
        return not is_number or NO_NUMBERS.search(node.parent.get_code()) is not None
    return node.parent is not None and CHECKED_ANYWAY.match(node.parent.get_code()) is not None


def _is_call(node: Any) -> bool:
    return node.type in {"atom_expr", "power"} and _opens(node.children[-1], "(")


def _opens(node: Any, mark: str) -> bool:
    return bool(node.type == "trailer" and node.children[0].value == mark)


def _without_limit(node: Any) -> list[str]:
    """The code of an expression without its limit, once for each way to leave it out."""
    if not _is_call(node):
        return []
    *before, call = node.children
    name = before[-1].get_code().strip().removeprefix(".")
    arguments = _arguments(call)
    if len(before) == 1 and name in {"min", "max"} and len(arguments) > 1:
        return [f"({argument})" for argument in arguments]
    if len(before) > 1 and name in CLAMPS:
        owner = "".join(child.get_code() for child in before[:-1]).strip()
        if owner in {"np", "torch"}:
            return [f"({arguments[0]})"] if arguments else []
        return [owner]
    return []


def _arguments(call: Any) -> list[str]:
    """Code of the positional arguments; nothing where one is a generator or has a star."""
    inner = call.children[1]
    parts = inner.children[::2] if inner.type == "arglist" else [inner]
    named = [part for part in parts if part.type == "argument"]
    if any(part.children[0].get_code().strip() in {"*", "**"} for part in named):
        return []
    codes = [part.get_code().strip() for part in parts if part.type != "argument"]
    return [code for code in codes if code != ")"]
