"""Pickles of other programs, read without running them.

A pickle is a program for a stack machine, whose strongest instruction calls anything that it can
name. `pickletools` takes such a program apart; here its instructions build plain data only. A name
is looked up in a table of ours and nowhere else: what stands in it becomes a list, a dict, an
array, a tensor or a `Record`, and every other name is refused. Nothing is imported for a pickle.
"""

import mmap
import pickletools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.arrays import ArrayRecord, DtypeRecord, frombuffer, scalar
from editvec.engine.foreign.records import (
    Record,
    StorageRecord,
    Symbol,
    TensorRecord,
    damaged,
    module_record,
    parameter,
)

MAX_OPCODES = 20_000_000
MAX_DEPTH = 200
"""How deep containers may lie in each other. Modules within modules take some five containers each;
Python itself follows tuples without a limit of its own, up to the end of its stack."""

SPARE_ELEMENTS = 10_000
"""What calls may copy beside twice as much as the file has bytes: protocol 2 makes bytes of a text,
and an array copies them."""


def read_pickle(path: Path) -> object:
    """What a pickle holds, as plain data.

    Args:
        path: A file that begins with a pickle of protocol 2 or newer.

    Returns:
        Lists, tuples, dicts, sets, numbers and texts as they are; arrays as `ArrayRecord`, tensors
        as `TensorRecord`, objects of known classes as `Record`.

    Raises:
        ForeignFileError: The file names something that is not in the table, is no pickle, or ends
            too early.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            machine = _Machine(path.name, budget=2 * len(data) + SPARE_ELEMENTS)
            return machine.run(_instructions(data, path.name))
    except ValueError as exc:
        if isinstance(exc, ForeignFileError):
            raise
        raise ForeignFileError(f"{path.name}: expected a pickle: {_line(exc)}") from exc
    except (TypeError, LookupError, AttributeError, OverflowError, RecursionError) as exc:
        raise damaged(path.name, f"{type(exc).__name__}: {_line(exc)}") from exc


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]


def _instructions(data: mmap.mmap, name: str) -> Iterator[tuple[str, Any]]:
    """The instructions' names and arguments."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):  # type: ignore[arg-type]
        if count > MAX_OPCODES:
            raise ForeignFileError(
                f"{name}: expected at most {MAX_OPCODES} instructions; no checkpoint has so many"
            )
        yield opcode.name, argument


# ----------------------------------------------------------------------------------------------
# What a pickle may name


def _dict(items: object = ()) -> dict[Any, Any]:
    return dict(items)  # type: ignore[call-overload,no-any-return]


def _set(items: object = ()) -> set[Any]:
    """A set of what has no parts: to find equal ones, Python would look into all of them."""
    return set(map(_plain, items))  # type: ignore[call-overload]


def _plain(item: object) -> object:
    if not isinstance(item, str | int | float | bytes | None):
        raise TypeError(f"expected numbers and texts in a set, got {type(item).__name__}")
    return item


def _device(*place: object) -> str:
    """Name of a device: its kind and number."""
    return ":".join(str(_plain(part)) for part in place)


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, as protocol 2 writes them."""
    if encoding != "latin1":
        raise ValueError(f"expected latin1, got {encoding!r}")
    return text.encode("latin1")


CALLABLE: dict[str, Callable[..., object]] = {
    "collections OrderedDict": _dict,
    "dnnlib.util EasyDict": _dict,
    "dnnlib EasyDict": _dict,
    "builtins dict": _dict,
    "builtins set": _set,
    "builtins frozenset": lambda *items: frozenset(_set(*items)),
    "builtins list": list,
    "builtins tuple": tuple,
    "_codecs encode": _encode,
    "numpy dtype": DtypeRecord,
    "numpy.core.multiarray _reconstruct": ArrayRecord,
    "numpy._core.multiarray _reconstruct": ArrayRecord,
    "numpy.core.multiarray scalar": scalar,
    "numpy._core.multiarray scalar": scalar,
    "numpy.core.numeric _frombuffer": frombuffer,
    "numpy._core.numeric _frombuffer": frombuffer,
    "torch Size": tuple,
    "torch device": _device,
    "torch.storage _load_from_bytes": StorageRecord,
    "torch._utils _rebuild_tensor_v2": TensorRecord,
    "torch._utils _rebuild_parameter": parameter,
    "torch_utils.persistence _reconstruct_persistent_obj": module_record,
    "dnnlib.tflib.network Network": lambda: Record("dnnlib.tflib.network.Network"),
}
"""By name, what stands in for the callables that a pickle may call. None of them runs anything of
the file's or looks anything up."""

NAMED = frozenset({"numpy ndarray"})
"""What may be named but not called."""


class _Machine:
    """The stack machine.

    Attributes:
        name: Of the file, for messages.
        budget: Elements and bytes that calls may still copy. A call takes a few bytes of the file,
            and what it copies may be anything that came before.
    """

    def __init__(self, name: str, *, budget: int) -> None:
        self.name = name
        self.budget = budget
        self._depths: dict[int, int] = {}  # of containers, by identity
        self._kept: list[object] = []  # those containers: an identity must not be used again
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, instructions: Iterator[tuple[str, Any]]) -> object:
        """Follow the instructions up to STOP and return what they built."""
        for name, argument in instructions:
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _LITERALS:
                self.stack.append(argument)
            elif name in _IGNORED:
                continue
            else:
                action = getattr(self, f"_{name.lower()}", None)
                if action is None:
                    raise damaged(self.name, f"the instruction {name} is in no checkpoint")
                action(argument)
        raise damaged(self.name, "it has no end")

    # Names and calls.

    def _global(self, argument: str) -> None:
        self.stack.append(self._symbol(argument))

    def _stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise damaged(self.name, "it names something by what is no text")
        self.stack.append(self._symbol(f"{module} {name}"))

    def _symbol(self, name: str) -> Symbol:
        module, _, attribute = name.partition(" ")
        if module == "__builtin__":
            module, name = "builtins", f"builtins {attribute}"
        if name not in CALLABLE and name not in NAMED:
            raise ForeignFileError(
                f"{self.name}: it names {module}.{attribute}, which no StyleGAN2 checkpoint needs; "
                "nothing of it was run"
            )
        return Symbol(name)

    def _reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self._call(function, arguments))

    _newobj = _reduce

    def _call(self, function: object, arguments: object) -> object:
        if not isinstance(function, Symbol) or function.name not in CALLABLE:
            raise damaged(self.name, f"it calls {type(function).__name__}, which is no function")
        if not isinstance(arguments, tuple):
            raise damaged(self.name, "it calls something without a list of arguments")
        if function.name not in _KEEPING:
            self._spend(sum(_size(argument) for argument in arguments))
        return self._holding(CALLABLE[function.name](*arguments), arguments)

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise damaged(self.name, "it copies more than it holds")

    def _holding(self, container: object, parts: Iterable[object]) -> object:
        """The container, after a look at how deep its parts lie."""
        if not isinstance(container, _NESTING):
            return container
        depth = 1 + max((self._depths.get(id(part), 0) for part in parts), default=0)
        if depth > MAX_DEPTH:
            raise damaged(self.name, f"its parts lie more than {MAX_DEPTH} deep in each other")
        if id(container) not in self._depths:
            self._kept.append(container)
        self._depths[id(container)] = max(depth, self._depths.get(id(container), 0))
        return container

    def _build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Record | ArrayRecord | DtypeRecord):
            if isinstance(target, ArrayRecord):
                self._spend(_size(state))
            target.set_state(state)
            self._holding(target, [state])
        elif not isinstance(target, dict):
            raise damaged(self.name, f"it gives {type(target).__name__} a state")
        # a dict's own attributes (those of OrderedDict and EasyDict) are nothing that we read

    # Containers.

    def _mark(self, _: object) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _pop_mark(self, _: object) -> None:
        self._since_mark()

    def _pop(self, _: object) -> None:
        self.stack.pop()

    def _dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def _tuple(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append(self._holding(tuple(items), items))

    def _tuple1(self, _: object) -> None:
        self._take_tuple(1)

    def _tuple2(self, _: object) -> None:
        self._take_tuple(2)

    def _tuple3(self, _: object) -> None:
        self._take_tuple(3)

    def _take_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise IndexError("stack underflow")
        items = tuple(self.stack[-size:])
        del self.stack[-size:]
        self.stack.append(self._holding(items, items))

    def _list(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append(self._holding(items, items))

    def _dict(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._set_items(items)

    def _frozenset(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append(frozenset(map(_plain, items)))

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: object) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise damaged(self.name, f"it appends to {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)
        self._holding(self.stack[-1], items)

    def _additems(self, _: object) -> None:
        items = self._since_mark()
        if not isinstance(self.stack[-1], set):
            raise damaged(self.name, f"it adds to {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(_plain, items))

    def _setitem(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _setitems(self, _: object) -> None:
        self._set_items(self._since_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise damaged(self.name, f"it sets items of {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | None):
                raise damaged(self.name, f"it has {type(key).__name__} as a key")
            target[key] = value
        self._holding(target, items[1::2])

    # The memo.

    def _put(self, argument: object) -> None:
        self.memo[int(str(argument))] = self.stack[-1]

    def _memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, argument: object) -> None:
        self.stack.append(self.memo[int(str(argument))])

    _binput = _long_binput = _put
    _binget = _long_binget = _get


_NESTING = (tuple, list, dict, Record, TensorRecord)
"""What may hold what holds something."""


_KEEPING = frozenset({"torch.storage _load_from_bytes", "torch._utils _rebuild_tensor_v2"})
"""Names whose callables keep what they are given, and copy nothing of it."""


def _size(value: object) -> int:
    """Elements or bytes of a value that a call may copy, those of its own parts included."""
    if isinstance(value, str | bytes | bytearray | set | frozenset):
        return len(value)
    if isinstance(value, list | tuple):
        return len(value) + sum(len(part) for part in value if isinstance(part, _COPIED))
    return len(value) if isinstance(value, dict) else 1


_COPIED = (bytes, bytearray, tuple)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_LITERALS = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
        "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    }
)  # fmt: skip
_IGNORED = frozenset({"PROTO", "FRAME"})
