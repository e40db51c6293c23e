"""A bundle as one file: a tar whose bytes follow from the bundle, read without trusting it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from editvec.outputs import OutputFile
from editvec.registry.bundles.manifest import (
    BUNDLE_FILE,
    MAX_MANIFEST_BYTES,
    lay_out,
    parse_manifest,
)
from editvec.registry.entities.classes import ClassModel
from editvec.registry.errors import BundleFormatError, ExchangeError
from editvec.registry.files import foreign_errors, new_file, temporary_folder
from editvec.registry.library.library import Library
from editvec.whole_files import appearing, copy_blocks

SUFFIX = ".tar"


def export_bundle(library: Library, model: ClassModel, out: Path | OutputFile) -> None:
    """Writes a class's bundle as a folder, or as a tar where the name ends in ``.tar``.

    Equal bundles give equal bytes. The result appears whole or not at all.

    Raises:
        ExchangeError: the folder is there.
        OutputError: a tar of that name is there which is no bundle.
        BlobError: a file is missing from the blob store, or altered there; or it cannot be written.
    """
    out = out if isinstance(out, OutputFile) else OutputFile(out)
    check_target(out)
    target = out.path
    with foreign_errors(f"export {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix != SUFFIX:
        lay_out(model, library.blobs, target)
        return
    with temporary_folder(target.parent) as folder:
        laid_out = lay_out(model, library.blobs, folder / "bundle")
        names = [file.name for file in model.files if file.name != BUNDLE_FILE]
        with foreign_errors(f"export {target}"), appearing(target) as stream:
            # what describes the others comes first, so that they can be checked as they are read
            _write(stream, laid_out, [BUNDLE_FILE, *sorted(names)])


def check_target(out: OutputFile) -> None:
    """Refuses a folder that exists, and a tar of that name that is no bundle; see `export_bundle`.

    Raises:
        ExchangeError, OutputError: as there.
    """
    if out.path.suffix == SUFFIX:
        out.check(makes_folder=True)
    elif out.path.exists() or out.path.is_symlink():
        raise ExchangeError(f"export {out}: it exists; choose another name")


@contextmanager
def opened_bundle(source: Path) -> Iterator[Path]:
    """The folder of a bundle: that very folder, or that of a tar while the block runs.

    Raises:
        BundleFormatError: the file is no tar of a bundle.
    """
    if not source.is_file():
        yield source
        return
    import tempfile

    with temporary_folder(Path(tempfile.gettempdir())) as folder:
        try:
            with tarfile.open(source, "r:") as archive:
                _unpack(archive, folder, of=f"bundle {source}")
        except (tarfile.TarError, EOFError, ValueError) as exc:
            if isinstance(exc, BundleFormatError):
                raise
            raise BundleFormatError(
                f"bundle {source}: expected a folder, or a tar that `editvec model export` wrote "
                f"({exc})"
            ) from exc
        yield folder


def _write(stream: IO[bytes], folder: Path, names: list[str]) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)  # no time, no owner
            info.size = (folder / name).stat().st_size
            info.mode = 0o644
            with (folder / name).open("rb") as file:
                archive.addfile(info, file)


def _unpack(archive: tarfile.TarFile, folder: Path, *, of: str) -> None:
    """Writes those files that bundle.json lists, each no larger than it says."""
    first = archive.next()
    if first is None or first.name != BUNDLE_FILE or not first.isreg():
        raise BundleFormatError(f"{of}: expected {BUNDLE_FILE} as its first file")
    if first.size > MAX_MANIFEST_BYTES:
        raise BundleFormatError(
            f"{of}: {BUNDLE_FILE} is larger than {MAX_MANIFEST_BYTES >> 20} MiB"
        )
    data = _content(archive, first, of=of).read()
    sizes = {file.name: file.size for file in parse_manifest(data, of=of).files}
    (folder / BUNDLE_FILE).write_bytes(data)
    while (member := archive.next()) is not None:
        if not member.isreg() or sizes.pop(member.name, None) != member.size:
            raise BundleFormatError(
                f"{of}: {member.name!r:.80} is no file of this size that {BUNDLE_FILE} lists"
            )
        with new_file(folder / member.name) as file:
            copy_blocks(_content(archive, member, of=of), file)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, *, of: str) -> IO[bytes]:
    content = archive.extractfile(member)
    if content is None:
        raise BundleFormatError(f"{of}: {member.name!r:.80} cannot be read")
    return content
