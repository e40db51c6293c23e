"""The container of an archive: a zip of a manifest and blobs, read without trusting it.

Entries are stored as they are, sorted and without times, so that equal contents give equal bytes.
Nothing is ever unpacked to a path.
"""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from editvec.registry.errors import ExchangeError
from editvec.registry.json_fields import Fields, unique_keys
from editvec.whole_files import digest_of

ARCHIVE_FORMAT = "editvec-archive"
ARCHIVE_FORMAT_VERSION = 1
MANIFEST_ENTRY = "manifest.json"
MAX_ENTRIES = 100_000
MAX_ENTRY_BYTES = 512 << 20
MAX_ARCHIVE_BYTES = 4 << 30
_RESERVE = 256 << 20
"""Of an archive, for its manifest and its directory."""
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class Archive(NamedTuple):
    """What an archive holds: its manifest, and the bytes of every other entry by name."""

    manifest: Fields
    entries: dict[str, bytes]


def archive_bytes(manifest: Mapping[str, Any], entries: Mapping[str, bytes]) -> bytes:
    """The bytes of an archive; equal arguments give equal bytes.

    Raises:
        ExchangeError: more than an archive may hold.
    """
    size = sum(map(len, entries.values()))
    if size > MAX_ARCHIVE_BYTES - _RESERVE or len(entries) >= MAX_ENTRIES:
        raise ExchangeError(
            f"export: {len(entries)} blobs of {size >> 20} MiB are more than one archive holds; "
            "export fewer vectors at once"
        )
    content = {"format": ARCHIVE_FORMAT, "format_version": ARCHIVE_FORMAT_VERSION, **manifest}
    text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST_ENTRY: text.encode(), **dict(sorted(entries.items()))}.items():
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()


def read_archive(path: Path) -> Archive:
    """Reads an archive; refuses what could be a trap before it reads anything.

    Raises:
        ExchangeError: no archive of ours, or damaged.
    """
    of = f"archive {path}"
    entries = _read_entries(path, of=of)
    content = _json(entries.pop(MANIFEST_ENTRY), of=of)
    manifest = Fields(content, of=of, error=ExchangeError)
    if manifest.text("format") != ARCHIVE_FORMAT:
        raise ExchangeError(f'{of}: expected "format": "{ARCHIVE_FORMAT}"')
    if (version := manifest.integer("format_version", 1, 1 << 30)) != ARCHIVE_FORMAT_VERSION:
        raise ExchangeError(
            f"{of}: this release reads format_version {ARCHIVE_FORMAT_VERSION}, got {version}"
        )
    return Archive(manifest, entries)


def check_entries(entries: Mapping[str, bytes], expected: Mapping[str, str], *, of: str) -> None:
    """Checks that an archive holds exactly the blobs that its records name, unaltered.

    Args:
        entries: bytes by entry.
        expected: digests by entry.
        of: what messages call the archive.

    Raises:
        ExchangeError: an entry too many, one too few, or one whose bytes were altered.
    """
    if surplus := sorted(entries.keys() - expected.keys()):
        raise ExchangeError(f"{of}: unexpected entry {surplus[0]!r:.80}")
    if missing := sorted(expected.keys() - entries.keys()):
        raise ExchangeError(f"{of}: entry {missing[0]!r} is missing")
    for name, digest in expected.items():
        if digest_of(entries[name]) != digest:
            raise ExchangeError(f"{of}: entry {name!r}: its bytes were altered")


def _read_entries(path: Path, *, of: str) -> dict[str, bytes]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ExchangeError(f"{of}: expected a regular file")
        if status.st_size > MAX_ARCHIVE_BYTES:
            raise ExchangeError(f"{of}: larger than {MAX_ARCHIVE_BYTES >> 30} GiB")
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check_infos(infos, size=status.st_size, of=of)
            return {info.filename: archive.read(info) for info in infos}
    except zipfile.BadZipFile as exc:
        raise ExchangeError(f"{of}: not a zip archive, or damaged ({exc})") from exc
    except (EOFError, NotImplementedError, RuntimeError, ValueError) as exc:
        if isinstance(exc, ExchangeError):
            raise
        raise ExchangeError(f"{of}: cannot be read ({exc})") from exc
    except OSError as exc:
        raise ExchangeError(f"{of}: {exc.strerror or exc}") from exc


def _check_infos(infos: Sequence[zipfile.ZipInfo], *, size: int, of: str) -> None:
    names = [info.filename for info in infos]
    if len(names) > MAX_ENTRIES or len(set(names)) != len(names):
        raise ExchangeError(f"{of}: too many entries, or two of the same name")
    if MANIFEST_ENTRY not in names:
        raise ExchangeError(f"{of}: it has no {MANIFEST_ENTRY}, so editvec did not make it")
    for info in infos:
        entry = f"{of}: entry {info.filename!r:.80}"
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or info.is_dir():
            raise ExchangeError(f"{entry}: expected a plain file, not a link or a folder")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ExchangeError(f"{entry}: expected it uncompressed")
        if info.file_size > MAX_ENTRY_BYTES:
            raise ExchangeError(f"{entry}: larger than {MAX_ENTRY_BYTES >> 20} MiB")
    if sum(info.file_size for info in infos) > size:
        raise ExchangeError(f"{of}: its entries announce more bytes than the archive has")


def _json(data: bytes, *, of: str) -> object:
    try:
        content: object = json.loads(data, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as exc:
        raise ExchangeError(f"{of}: {MANIFEST_ENTRY} is not JSON ({exc})") from exc
    return content
