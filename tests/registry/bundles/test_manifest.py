"""Class bundles: every field of bundle.json and every byte of the files is checked."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.registry.bundles.manifest import read_manifest, verify_files
from editvec.registry.errors import BundleFormatError
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import rewrite_manifest


def _content(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / "bundle.json").read_text())
    return content


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "zip", '"format": "editvec-bundle"'),
        ("format_version", 2, "reads format_version 1, got 2"),
        ("class_name", "../up", "class_name: expected a letter"),
        ("class_name", 3, "class_name: expected text, got 3"),
        ("license", None, "license: expected text, got None"),
        ("resolution", "64", "resolution: expected an integer from 4 to 8192, got '64'"),
        ("num_ws", True, "num_ws: expected an integer"),
        ("w_dim", 0, "w_dim: expected an integer from 1"),
        ("valid_rectangle", [0, 0, 99, 16], "valid_rectangle: expected 4 integers from 0 to 16"),
        ("valid_rectangle", [4, 0, 4, 16], "around some pixels"),
        ("labels", [], "indices 0, 1, 2"),
        ("labels", {}, "labels: expected a list"),
        ("labels", ["mouth"], r"labels\[0\]: expected an object, got 'mouth'"),
        ("labels", [{"index": 1, "name": "a", "color": [0, 0, 0]}], "indices 0, 1, 2"),
        ("labels", [{"index": 0, "name": "a", "color": [0, 0]}], "color: expected 3 integers"),
        ("labels", [{"index": 0, "name": "a b", "color": [0, 0, 0]}], "name: expected a letter"),
        (
            "labels",
            [{"index": place, "name": "a", "color": [0, 0, 0]} for place in (0, 1)],
            "two parts have the same name",
        ),
        ("generator_digest", "abc", "generator_digest: expected a SHA-256 in hex, got 'abc'"),
        ("files", {"../evil": {}}, r"files: file name: expected a letter.*'\.\./evil'"),
        ("files", {"/etc/passwd": {}}, "files: file name"),
        ("files", {".hidden": {}}, "files: file name"),
        ("files", {"bundle.json": {}}, "cannot list itself"),
        ("files", {"a": {"sha256": "x", "bytes": 1}}, "files: a: sha256"),
    ],
)
def test_wrong_field_is_named(bundle: Path, field: str, value: object, message: str) -> None:
    content = _content(bundle)
    content[field] = value
    rewrite_manifest(bundle, content)

    with pytest.raises(BundleFormatError, match=message) as caught:
        read_manifest(bundle)

    assert "\n" not in str(caught.value)


def test_changed_manifest_does_not_match_its_digest(bundle: Path) -> None:
    content = _content(bundle)
    content["license"] = "mine"
    (bundle / "bundle.json").write_text(json.dumps(content))

    with pytest.raises(BundleFormatError, match=r"bundle_digest says .*, the content is"):
        read_manifest(bundle)


def test_order_and_spacing_of_the_manifest_do_not_matter(bundle: Path) -> None:
    before = read_manifest(bundle).bundle_digest
    content = dict(reversed(_content(bundle).items()))
    (bundle / "bundle.json").write_text(json.dumps(content, indent=4))

    assert read_manifest(bundle).bundle_digest == before


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe"])
def test_file_that_is_no_manifest_is_refused(bundle: Path, data: bytes) -> None:
    (bundle / "bundle.json").write_bytes(data)

    with pytest.raises(BundleFormatError):
        read_manifest(bundle)


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match=r"it has no bundle\.json"):
        read_manifest(tmp_path)
    with pytest.raises(BundleFormatError, match="expected a folder"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"X" * 10_792, "generator.safetensors: expected digest"),
        (b"w1w1", "generator.safetensors: expected 10792 bytes, got 4"),
        (None, "generator.safetensors: No such file"),
    ],
)
def test_altered_file_is_named_and_nothing_is_stored(
    sqlite_library: Library, make_bundle: Any, data: bytes | None, message: str
) -> None:
    folder = make_bundle("altered", name="car")
    path = folder / "generator.safetensors"
    path.unlink() if data is None else path.write_bytes(data)
    blobs = set(sqlite_library.blobs.digests())

    with pytest.raises(BundleFormatError, match=message):
        sqlite_library.add_bundle(folder)

    assert [model.name for model in sqlite_library.classes()] == ["avatars"]
    assert set(sqlite_library.blobs.digests()) == blobs


def test_good_files_pass(bundle: Path) -> None:
    verify_files(bundle, read_manifest(bundle))


def _header(tensors: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text + data


def _f32(start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [2], "data_offsets": [start, end]}


NAN = np.array([1, np.nan], "<f4").tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x04}.", "expected a safetensors file"),
        (b"PK\x03\x04" + bytes(20), "expected a safetensors file"),
        (_header({"a": _f32(0, 8), "b": _f32(4, 12)}, bytes(12)), "b: expected its bytes from 8"),
        (_header({"a": _f32(0, 8), "b": _f32(12, 20)}, bytes(20)), "b: expected its bytes from 8"),
        (_header({"a": _f32(0, 8)}, bytes(12)), "expected 8 bytes of tensors, got 12"),
        (_header({"a": _f32(0, 8)}, bytes(4)), "expected 8 bytes of tensors, got 4"),
        (_header({"a": _f32(0, 2, "F8_E5M2")}, bytes(2)), "a: expected dtype F16, .*'F8_E5M2'"),
        (_header({"a": _f32(0, 4)}, bytes(4)), "a: expected 8 bytes for F32"),
        (_header({"a": _f32(0, 8)}, NAN), "a: expected finite weights, got NaN"),
        (_header({"a": _f32(0, 4, "BF16")}, b"\x80\x3f\x80\x7f"), "a: expected finite weights"),
        (_header({"a": _f32(0, 4, "F16")}, b"\x00\x3c\x00\x7c"), "a: expected finite weights"),
        (_header({}, b""), "expected 0 bytes of tensors, got 0"),
        (_header({"a": 1}, b""), "a: expected dtype, shape and offsets"),
    ],
)
def test_files_that_hold_no_weights_are_refused(
    data: bytes, message: str, bundle: Path, sqlite_library: Library
) -> None:
    content = _content(bundle)
    (bundle / "generator.safetensors").write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    content["files"]["generator.safetensors"] = entry
    rewrite_manifest(bundle, content)

    with pytest.raises(BundleFormatError, match=rf"generator\.safetensors.*{message}"):
        sqlite_library.add_bundle(bundle)


def test_an_empty_file_pipes_and_clamps_are_refused(bundle: Path) -> None:
    content = _content(bundle)
    manifest = read_manifest(bundle)
    (bundle / "generator.safetensors").unlink()
    os.mkfifo(bundle / "generator.safetensors")
    with pytest.raises(BundleFormatError, match=r"generator\.safetensors: expected a regular file"):
        verify_files(bundle, manifest)
    for clamp in ("x", True, 0):
        content["networks"]["generator"]["config"]["conv_clamp"] = clamp
        rewrite_manifest(bundle, content)
        with pytest.raises(BundleFormatError, match="conv_clamp: expected a positive number"):
            read_manifest(bundle)
    content["files"]["generator.safetensors"]["bytes"] = 0
    content["networks"]["generator"]["config"]["conv_clamp"] = None
    rewrite_manifest(bundle, content)
    with pytest.raises(BundleFormatError, match="bytes: expected an integer from 1"):
        read_manifest(bundle)
    (bundle / "bundle.json").unlink()
    os.mkfifo(bundle / "bundle.json")
    with pytest.raises(BundleFormatError, match=r"bundle\.json: expected a regular file"):
        read_manifest(bundle)


def test_groups_of_groups_take_the_time_of_their_members(
    bundle: Path, sqlite_library: Library
) -> None:
    content = _content(bundle)
    groups = {"g0": ["mouth"]} | {f"g{n}": [f"g{n - 1}", f"g{n - 1}"] for n in range(1, 1200)}
    content["groups"] = dict(reversed(groups.items()))
    rewrite_manifest(bundle, content)

    assert sqlite_library.add_bundle(bundle).parts(["g1199"]) == ("mouth",)
    content["groups"] = {f"g{n}": ["mouth"] for n in range(2049)}
    rewrite_manifest(bundle, content)
    with pytest.raises(BundleFormatError, match="groups: expected at most 2048, got 2049"):
        read_manifest(bundle)
