"""Files of annotation tools, read one checked value at a time."""

from pathlib import Path

import pytest

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms import documents
from editvec.registry.masks.forms.documents import (
    items,
    mapping,
    number,
    parse_json,
    read_document,
    text,
)
from editvec.registry.masks.sources import open_masks
from tests.support.mask_drawings import SCHEME


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a.txt"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "classes.txt").write_text("body\n")

    with pytest.raises(MaskError, match=r"annotations .*: No such file or directory"):
        open_masks(tmp_path / name, SCHEME)[0].read()
    with pytest.raises(MaskError, match=r"annotations .*: Is a directory"):
        read_document(tmp_path)


def test_a_document_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_bytes(bytes(2 << 20))

    monkeypatch.setattr(documents, "MAX_BYTES", 2 << 20)
    assert len(read_document(tmp_path / "a.json")) == 2 << 20
    monkeypatch.setattr(documents, "MAX_BYTES", (2 << 20) - 1)
    with pytest.raises(MaskError, match=r"a\.json: larger than 1 MiB"):
        read_document(tmp_path / "a.json")


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b""])
def test_what_is_no_json_is_told(data: bytes) -> None:
    assert parse_json(b"[1]", of="x") == [1]
    with pytest.raises(MaskError, match=r"^x: not JSON \("):
        parse_json(data, of="x")


def test_values_of_another_kind_are_refused() -> None:
    assert (mapping({"a": 1}, of="x"), items([1], of="x"), text("a", of="x")) == (
        {"a": 1},
        [1],
        "a",
    )
    assert [number(value, of="x") for value in (1, -0.5, 10**9)] == [1.0, -0.5, 1e9]
    for read, wrong, message in (
        (mapping, [1], "an object"),
        (items, {"a": 1}, "a list"),
        (items, "ab", "a list"),
        (text, 1, "a text"),
        (text, None, "a text"),
        (number, "1", "a number"),
        (number, True, "a number"),
        (number, None, "a number"),
        (number, float("nan"), "a number"),
        (number, 1.001e9, "a number"),
        (number, -(10**400), "a number"),
    ):
        with pytest.raises(MaskError, match=f"^x: expected {message}"):
            read(wrong, of="x")
