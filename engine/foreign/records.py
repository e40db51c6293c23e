"""What stands in for the objects of a pickle: data without behaviour."""

import io
import pickle
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from editvec.engine.errors import ForeignFileError

MAX_DIMENSIONS = 8


def damaged(name: str, reason: str) -> ForeignFileError:
    """The error of a file whose content contradicts its format."""
    return ForeignFileError(f"{name}: the file is damaged: {reason}")


@dataclass(frozen=True)
class Symbol:
    """A name that a pickle mentioned."""

    name: str


@dataclass(eq=False)
class Record:
    """An object of a class that is not here.

    Attributes:
        kind: Name of its class.
        state: Its attributes.
    """

    kind: str
    state: dict[str, Any] = field(default_factory=dict)

    def set_state(self, state: object) -> None:
        """Take the attributes that a pickle gives.

        Raises:
            TypeError: They are no dict with names.
        """
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise TypeError(f"expected the attributes of {self.kind}, got {type(state).__name__}")
        self.state = state


def module_record(meta: object) -> Record:
    """A module whose pickle embeds its source code: its name and attributes, without the code."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise TypeError("expected an object with embedded source")
    kind = meta["class_name"]
    if not isinstance(kind, str):
        raise TypeError(f"expected a class's name, got {type(kind).__name__}")
    record = Record(kind)
    record.set_state(meta.get("state") or {})
    return record


# ----------------------------------------------------------------------------------------------
# Tensors


@dataclass(frozen=True, eq=False)
class StorageRecord:
    """The numbers of a tensor, as bytes that hold a pickle again; read when they are needed."""

    content: bytes


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """A view of a storage."""

    storage: object
    offset: Any
    size: Any
    stride: Any
    requires_grad: bool = False
    hooks: object = None
    metadata: object = None

    def tensor(self, name: str) -> Tensor:
        """The tensor, with memory of its own.

        Args:
            name: What messages call it.

        Raises:
            ForeignFileError: The storage holds anything but numbers, or too few.
        """
        storage = self.storage
        if not isinstance(storage, StorageRecord) or not isinstance(storage.content, bytes):
            raise damaged(name, "expected a tensor's bytes")
        flat = _numbers(storage.content, name)
        if not isinstance(self.size, tuple) or not isinstance(self.stride, tuple):
            raise damaged(name, "a tensor has no shape")
        numbers = (self.offset, *self.size, *self.stride)
        if (
            len(self.size) != len(self.stride)
            or len(self.size) > MAX_DIMENSIONS
            or not all(type(number) is int and number >= 0 for number in numbers)
        ):
            raise damaged(name, "a tensor's shape makes no sense")
        return own(_view(flat, self, name), name)


def own(tensor: Tensor, name: str) -> Tensor:
    """A copy of a tensor that has as many numbers as its memory.

    Raises:
        ForeignFileError: It has more: a small file would become a large tensor. Or it has none,
            as on torch's device "meta".
    """
    if tensor.device.type == "meta":
        raise ForeignFileError(
            f"{name}: expected numbers, got a tensor on the device meta, which has only a shape"
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise damaged(name, f"a tensor of shape {list(tensor.shape)} is larger than its numbers")
    return tensor.detach().to("cpu", copy=True).contiguous()


def finite_weights(tensor: Tensor, name: str) -> Tensor:
    """float32, finite, with memory of its own.

    Raises:
        ForeignFileError: The tensor holds something else.
    """
    if tensor.layout != torch.strided or not tensor.is_floating_point():
        raise ForeignFileError(f"{name}: expected floating weights, got {tensor.dtype}")
    weights = own(tensor, name).float()
    if not bool(torch.isfinite(weights).all()):
        raise ForeignFileError(f"{name}: expected finite weights, got NaN or infinity")
    return weights


def parameter(data: object, *_: object) -> object:
    """A parameter is its tensor."""
    return data


def _numbers(content: bytes, name: str) -> Tensor:
    """The numbers of a storage, one dimension."""
    with translated(name):
        storage: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.TypedStorage):
        raise damaged(name, f"expected the numbers of a tensor, got {type(storage).__name__}")
    return torch.empty(0, dtype=storage.dtype).set_(storage)


def _view(flat: Tensor, record: TensorRecord, name: str) -> Tensor:
    try:
        return flat.as_strided(record.size, record.stride, record.offset)
    except RuntimeError as exc:
        raise damaged(name, f"a tensor of shape {list(record.size)} has too few numbers") from exc


_LOAD_ERRORS = (
    RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, AssertionError,
    OverflowError, struct.error,
)  # fmt: skip
"""What `torch.load` was seen to raise on damaged files."""


class translated:
    """Turns what `torch.load` raises into one line about a file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, pickle.UnpicklingError):
            raise ForeignFileError(f"{self.name}: {_refusal(str(error))}") from error
        if isinstance(error, _LOAD_ERRORS):
            if isinstance(error, ForeignFileError):
                return
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise damaged(self.name, reason) from error


def _refusal(message: str) -> str:
    """What torch's restricted reader stumbled upon."""
    named = re.search(r"\bGLOBAL ([\w.]+)", message) or re.search(r"class (\w+\.[\w.]+)", message)
    if named is None:
        reason = " ".join(message.split())[:160]
        return f"expected a checkpoint of tensors: {reason}"
    name = named[1].replace("__builtin__.", "builtins.")
    return f"it names {name}, which no checkpoint needs; nothing of it was run"


# ----------------------------------------------------------------------------------------------
# Modules


def submodules(module: Record) -> dict[str, Record]:
    """The modules that a module is made of, by name."""
    modules = module.state.get("_modules")
    if not isinstance(modules, Mapping):
        return {}
    return {str(name): child for name, child in modules.items() if isinstance(child, Record)}


def tensors_of(module: Record) -> Iterator[tuple[str, object]]:
    """Parameters and buffers of a module and its modules, with dotted names, as they are stored.

    Raises:
        ForeignFileError: A module is there twice, by which few modules would become many.
    """
    yield from _tensors_of(module, "", set())


def _tensors_of(module: Record, prefix: str, visited: set[int]) -> Iterator[tuple[str, object]]:
    if id(module) in visited:
        raise damaged(prefix.rstrip("."), "a module is a part of two others")
    visited.add(id(module))
    for group in ("_parameters", "_buffers"):
        entries = module.state.get(group)
        if isinstance(entries, Mapping):
            for name, value in entries.items():
                if value is not None:
                    yield f"{prefix}{name}", value
    for name, child in submodules(module).items():
        yield from _tensors_of(child, f"{prefix}{name}.", visited)
