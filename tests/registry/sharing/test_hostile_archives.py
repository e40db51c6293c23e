"""Archives that mean harm or are damaged: one precise line, nothing unpacked, nothing changed."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import editvec.cli
from editvec.registry.errors import ExchangeError, RegistryError
from editvec.registry.library.library import Library
from editvec.registry.sharing.archives import read_archive
from editvec.registry.sharing.exchange import import_library
from tests.support.registry_fixtures import contents, random_delta


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, random_delta())
    return stream.getvalue()


@pytest.fixture
def library(sqlite_library: Library) -> Library:
    """What is refused does not depend on the database."""
    return sqlite_library


def _archive(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return stream.getvalue()


MANIFEST = json.dumps({"format": "editvec-archive", "format_version": 1, "vectors": []}).encode()
OURS = ("manifest.json", MANIFEST)


def _link() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(*OURS)
        info = zipfile.ZipInfo("blobs/link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def _overlapping() -> bytes:
    """Many names for the same bytes: small to send, endless to read."""
    data = bytearray(_archive(OURS, ("blobs/a.png", b"x" * 1000), ("blobs/b.png", b"y" * 1000)))
    first = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(data)


def _announcing() -> bytes:
    """An entry that announces more bytes than the file has."""
    data = bytearray(_archive(OURS, ("blobs/a.png", b"x" * 1000)))
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    data[entry + 20 : entry + 28] = struct.pack("<II", 50 << 20, 50 << 20)
    return bytes(data)


def _encrypted() -> bytes:
    data = bytearray(_archive(OURS))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


BAD_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not a zip archive"),
    "no zip": (lambda: b"PK" + b"\0" * 500, "not a zip archive"),
    "a pickle": (lambda: pickle.dumps([1]), "not a zip archive"),
    "an .npz": (_npz, "it has no manifest.json"),
    "a name that leads out": (lambda: _archive(OURS, ("../evil", b"")), r"entry '\.\./evil'"),
    "an absolute name": (lambda: _archive(OURS, ("/etc/cron.d/x", b"")), "entry '/etc/cron.d/x'"),
    "a name with a newline": (lambda: _archive(OURS, ("a\nb", b"")), r"entry 'a\\nb'"),
    "a long name": (lambda: _archive(OURS, ("a" * 5000, b"")), "entry 'aaa"),
    "a folder": (lambda: _archive(OURS, ("blobs/", b"")), "not a link or a folder"),
    "a link": (_link, "'blobs/link.png': expected a plain file, not a link"),
    "a bomb": (
        lambda: _archive(OURS, ("b", b"\0" * 9_999_999), compression=zipfile.ZIP_DEFLATED),
        "expected it uncompressed",
    ),
    "overlapping entries": (_overlapping, "not a zip archive, or damaged"),
    "more than there is": (_announcing, "announce more bytes|damaged"),
    "encrypted": (_encrypted, "cannot be read"),
    "no JSON": (lambda: _archive(("manifest.json", b"\xff\xfe")), "manifest.json is not JSON"),
    "deep JSON": (lambda: _archive(("manifest.json", b"[" * 999_999)), "is not JSON"),
    "duplicate keys": (
        lambda: _archive(("manifest.json", b'{"vectors": [], "vectors": []}')),
        "not JSON .duplicate keys",
    ),
    "another format": (lambda: _archive(("manifest.json", b'{"format": "x"}')), "editvec-archive"),
    "a newer format": (
        lambda: _archive(("manifest.json", MANIFEST.replace(b"1", b"2"))),
        "this release reads format_version 1, got 2",
    ),
    "an entry too many": (lambda: _archive(OURS, ("blobs/x.png", b"x")), "unexpected entry"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_archive_that_cannot_be_trusted_is_refused(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    make, message = BAD_ARCHIVES[case]
    path = tmp_path / "a.zip"
    path.write_bytes(make())
    before, files = contents(library), sorted(tmp_path.iterdir())

    with pytest.raises(ExchangeError, match=message) as caught:
        import_library(library, path)
    assert "\n" not in str(caught.value)
    for options in ([], ["--dry-run"]):
        arguments = ["--home", str(library.config.home), "registry", "import", str(path), *options]
        assert editvec.cli.main(arguments) == 1
        assert capsys.readouterr().err == f"editvec: error: {caught.value}\n"

    assert contents(library) == before
    assert sorted(tmp_path.iterdir()) == files


SMALL = _archive(OURS, ("blobs/a.png", b"x" * 20))


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_no_change_of_an_archive_ends_in_another_error(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray(SMALL)
    for position, value in changes:
        whole[position] = value
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    path.write_bytes(whole)

    try:
        read_archive(path)
    except RegistryError as error:
        assert "\n" not in str(error)  # noqa: PT017 (some changes are harmless)
