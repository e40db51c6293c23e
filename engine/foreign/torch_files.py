"""Files that `torch.save` wrote: tensors, containers, and the settings of a training."""

import argparse
import zipfile
from pathlib import Path

import torch

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.records import damaged, translated

ZIP_START = b"PK\x03\x04"
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that torch wrote before everything else, up to release 1.5."""


def require_file(path: Path) -> None:
    """Refuse what may never end or never begin when it is read: pipes, devices.

    Raises:
        ForeignFileError: It is there and neither file nor folder.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ForeignFileError(f"{path}: expected a regular file")


def is_torch_file(start: bytes) -> bool:
    """Whether a file's first 16 bytes are those of a file that `torch.save` wrote."""
    return start.startswith((ZIP_START, LEGACY_START))


def read_torch_file(path: Path) -> object:
    """What the file holds: tensors and containers, by torch's restricted reader.

    Besides what that reader allows, `argparse.Namespace` may occur: training programs save their
    command line in it.

    Raises:
        ForeignFileError: The file is damaged, or names anything else.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) == ZIP_START
    if is_zip:
        _check_zip(path)
    with translated(path.name), torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def _check_zip(path: Path) -> None:
    """Refuse an archive that grows when it is unpacked, which torch never writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as exc:
        raise damaged(path.name, str(exc)) from exc
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ForeignFileError(f"{path.name}: expected a file of torch.save, got a compressed zip")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise damaged(path.name, "its parts are larger than the file")
