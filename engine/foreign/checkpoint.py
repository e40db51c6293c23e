"""A checkpoint file of any known program -> a generator of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from editvec.engine.errors import EngineError, ForeignFileError
from editvec.engine.foreign import nvidia, rosinality, tensorflow
from editvec.engine.foreign.generators import (
    ForeignGenerator,
    ImportedGenerator,
    complete_generator,
)
from editvec.engine.foreign.pickles import read_pickle
from editvec.engine.foreign.records import Record, damaged
from editvec.engine.foreign.torch_files import is_torch_file, read_torch_file, require_file

PICKLE_START = b"\x80"

_UNFIT = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    RuntimeError,
)  # fmt: skip
"""What values raise that are of other types or shapes than a checkpoint's."""


def read_generator(path: Path, *, label_classes: Sequence[int] = ()) -> ImportedGenerator:
    """Read the generator of a checkpoint; nothing in the file is run.

    The content tells the format, whatever the file is called: NVIDIA's PyTorch and TensorFlow
    pickles, rosinality's .pt. The averaged generator is taken where there is one.

    Args:
        path: The file.
        label_classes: Labels that a conditional generator is imported for.

    Raises:
        ForeignFileError: The file is damaged, of another kind, or asks for code to be run.
        SettingsError: The labels do not fit the generator.
    """
    try:
        require_file(path)
        with path.open("rb") as file:
            start = file.read(16)
        foreign = _read(path, start)
    except OSError as exc:
        raise ForeignFileError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except _UNFIT as exc:
        if isinstance(exc, EngineError):
            raise
        reason = " ".join(str(exc).split())[:160]
        raise damaged(path.name, f"{type(exc).__name__}: {reason}") from exc
    return complete_generator(foreign, label_classes=label_classes, name=path.name)


def _read(path: Path, start: bytes) -> ForeignGenerator:
    name = path.name
    if is_torch_file(start):
        content = read_torch_file(path)
        if not isinstance(content, Mapping):
            raise ForeignFileError(f"{name}: expected a dict, got {type(content).__name__}")
        return rosinality.read_checkpoint(content, name)
    if not start.startswith(PICKLE_START):
        what = "an empty file" if not start else "a file of another kind"
        raise ForeignFileError(
            f"{name}: expected a checkpoint of StyleGAN2 (NVIDIA .pkl, rosinality .pt), got {what}"
        )
    content = read_pickle(path)
    if isinstance(content, Mapping):
        network, notes = nvidia.find_network(content, name)
        foreign = nvidia.read_module(network, name)
        return foreign._replace(notes=(*notes, *foreign.notes))
    if isinstance(content, Record) and content.kind != tensorflow.KIND:
        return nvidia.read_module(content, name)
    return tensorflow.read_network(tensorflow.find_network(content, name), name)
