"""An open library, and the networks of a class on a device: what a use case works with."""

from __future__ import annotations

from typing import Self
from weakref import WeakKeyDictionary

from editvec.engine.editor import Editor
from editvec.registry.addresses import parse_address
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.classes import ClassModel
from editvec.registry.library.library import Library

_LOADED: WeakKeyDictionary[Library, tuple[tuple[str, str], Editor]] = WeakKeyDictionary()
"""Of each open library the class that was loaded last: its bundle and device, and its networks."""


class Workbench:
    """A library with one loaded class at a time.

    Attributes:
        library: The open library.
        device: Where networks go, as torch names it.
    """

    def __init__(self, library: Library, *, device: str) -> None:
        self.library = library
        self.device = device

    @classmethod
    def open(cls, config: RegistryConfig, *, device: str | None = None) -> Self:
        """Open a library.

        Args:
            config: Which one.
            device: None takes a CUDA device if there is one, the CPU otherwise.

        Raises:
            RegistryError: The library cannot be opened.
        """
        return cls(Library.open(config), device=device or default_device())

    def editor_for(self, address: str) -> Editor:
        """The networks of a vector's class.

        Args:
            address: ``class/name``; the class may be left out where the library holds one only.

        Raises:
            RegistryError: There is no such class, or its files are damaged.
            EngineError: Its networks cannot be loaded, or the device does not exist.
        """
        model = self.library.get_class(parse_address(address).class_name)
        return load_editor(self.library, model, device=self.device)

    def close(self) -> None:
        """Close the library and let the networks go."""
        _LOADED.pop(self.library, None)
        self.library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load_editor(library: Library, model: ClassModel, *, device: str | None = None) -> Editor:
    """The networks of a class; those that a library was asked for last stay loaded.

    Args:
        library: Holds the class.
        model: The class.
        device: None takes a CUDA device if there is one, the CPU otherwise.

    Raises:
        RegistryError: Its files are damaged.
        EngineError: They cannot be loaded, or the device does not exist.
    """
    key = (model.bundle_digest, device or default_device())
    known = _LOADED.get(library)
    if known is None or known[0] != key:
        editor = Editor.open(library.materialise_bundle(model), device=key[1])
        known = _LOADED[library] = (key, editor)
    return known[1]


def default_device() -> str:
    """A CUDA device if there is one, the CPU otherwise."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
