"""Pickles of other programs, read without running them.

A pickle is a program for a stack machine, whose strongest instruction calls anything that it can
name. `pickletools` takes such a program apart; here its instructions build plain data only. A name
is looked up in a table of ours and nowhere else: what stands in it becomes a list, a dict, an
array, a tensor or a `Record`, and every other name is refused. Nothing is imported for a pickle.
"""

import mmap
import pickletools
from collections.abc import Callable, Iterator
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
            return _Machine(path.name).run(_instructions(data, path.name))
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
    "builtins set": set,
    "builtins frozenset": frozenset,
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
    "torch device": lambda *place: ":".join(map(str, place)),
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
    """

    def __init__(self, name: str) -> None:
        self.name = name
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
        return CALLABLE[function.name](*arguments)

    def _build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Record | ArrayRecord | DtypeRecord):
            target.set_state(state)
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
        self.stack.append(tuple(items))

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
        self.stack.append(items)

    def _list(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append(items)

    def _dict(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._set_items(items)

    def _frozenset(self, _: object) -> None:
        items = self._since_mark()
        self.stack.append(frozenset(items))

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: object) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise damaged(self.name, f"it appends to {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _additems(self, _: object) -> None:
        items = self._since_mark()
        if not isinstance(self.stack[-1], set):
            raise damaged(self.name, f"it adds to {type(self.stack[-1]).__name__}")
        self.stack[-1].update(items)

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

    # The memo.

    def _put(self, argument: object) -> None:
        self.memo[int(str(argument))] = self.stack[-1]

    def _memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, argument: object) -> None:
        self.stack.append(self.memo[int(str(argument))])

    _binput = _long_binput = _put
    _binget = _long_binget = _get


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
