"""What `model show` and `model export` tell and write of a class."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from editvec.outputs import OutputError, OutputFile
from editvec.registry.bundles.manifest import bundle_digest_of
from editvec.registry.errors import BundleFormatError, ExchangeError
from editvec.registry.library.contents import contents_of
from editvec.registry.library.library import Library
from editvec.registry.sharing.bundle_archives import export_bundle, opened_bundle
from tests.support.registry_fixtures import Failure, Run


def successor(bundle: Path, folder: Path) -> Path:
    """The same bundle with another description, made of the first."""
    shutil.copytree(bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    content["description"] = "better"
    content["built"] = {"parent": content["bundle_digest"], "encoder": {"by": "a test"}}
    content["bundle_digest"] = bundle_digest_of(content)
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def test_versions_name_their_parents(sqlite_library: Library, bundle: Path, tmp_path: Path) -> None:
    first = sqlite_library.get_class()
    second = sqlite_library.add_bundle(successor(bundle, tmp_path / "next"))

    versions = contents_of(sqlite_library, second).versions

    assert [(one.address, one.parent, one.same_generator) for one in versions] == [
        (first.address, None, True),
        (second.address, first.address, True),
    ]
    assert versions[0].differs_in != ()
    assert versions[1].differs_in == ()


def test_show_tells_networks_versions_and_parents(
    filled: Run, bundle: Path, tmp_path: Path
) -> None:
    filled("model", "add", successor(bundle, tmp_path / "next"))

    text = filled("model", "show")
    record = json.loads(filled("model", "show", "--json"))

    assert "VERSION" in text
    assert "avatars@2  avatars@1" in text
    assert record["address"] == "avatars@2"
    assert {"networks", "built", "versions", "files", "labels"} <= set(record)
    assert record["versions"][1]["parent"] == "avatars@1"


def test_export_gives_the_same_bytes_and_comes_back(
    sqlite_library: Library, tmp_path: Path
) -> None:
    model = sqlite_library.get_class()
    os.umask(0o077)

    export_bundle(sqlite_library, model, tmp_path / "one.tar")
    os.umask(0o022)
    export_bundle(sqlite_library, model, tmp_path / "sub" / "two.tar")
    export_bundle(sqlite_library, model, tmp_path / "folder")

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "sub" / "two.tar").read_bytes()
    for source in (tmp_path / "one.tar", tmp_path / "folder"):
        with opened_bundle(source) as folder:
            assert sqlite_library.add_bundle(folder).address == model.address
            assert {path.name for path in folder.iterdir()} == {file.name for file in model.files}
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert archive.getnames()[0] == "bundle.json"
        assert {(one.mtime, one.uid, one.mode) for one in archive} == {(0, 0, 0o644)}


def test_export_replaces_nothing_of_others(sqlite_library: Library, tmp_path: Path) -> None:
    (tmp_path / "mine.tar").write_text("mine")
    (tmp_path / "mine").mkdir()
    model = sqlite_library.get_class()

    with pytest.raises(OutputError, match=r"mine\.tar: it exists, and editvec did not write it"):
        export_bundle(sqlite_library, model, tmp_path / "mine.tar")
    with pytest.raises(ExchangeError, match="it exists; choose another name"):
        export_bundle(sqlite_library, model, OutputFile(tmp_path / "mine", overwrite=True))

    assert (tmp_path / "mine.tar").read_text() == "mine"
    export_bundle(sqlite_library, model, OutputFile(tmp_path / "mine.tar", overwrite=True))
    written = (tmp_path / "mine.tar").read_bytes()
    export_bundle(sqlite_library, model, tmp_path / "mine.tar")
    assert (tmp_path / "mine.tar").read_bytes() == written != b"mine"


def add(archive: tarfile.TarFile, name: str, data: bytes, **changes: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("../evil", tarfile.REGTYPE, 4),
        ("/tmp/evil", tarfile.REGTYPE, 4),
        ("{first}", tarfile.SYMTYPE, 0),
        ("{first}", tarfile.REGTYPE, 4),
    ],
)
def test_hostile_tar_is_refused(
    sqlite_library: Library, tmp_path: Path, name: str, kind: bytes, size: int
) -> None:
    model = sqlite_library.get_class()
    export_bundle(sqlite_library, model, tmp_path / "folder")
    first = next(file.name for file in model.files if file.name != "bundle.json")
    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        add(archive, "bundle.json", (tmp_path / "folder" / "bundle.json").read_bytes())
        data = b"evil"[:size]
        add(archive, name.format(first=first), data, type=kind, linkname="/etc/passwd")

    with (
        pytest.raises(BundleFormatError, match="no file of this size"),
        opened_bundle(tmp_path / "hostile.tar"),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_file_that_is_no_bundle_is_one_line(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)

    with pytest.raises(Failure, match="bundle"):
        run("model", "add", tmp_path / "x.tar")
