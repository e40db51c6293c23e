"""How a bundle says what mask files call the parts of a class."""

import json
from pathlib import Path
from typing import Any

import pytest

from editvec.registry.bundles.manifest import bundle_digest_of, read_manifest
from editvec.registry.errors import BundleFormatError
from editvec.registry.labels.files import known_schemes, parse_scheme, read_scheme
from editvec.registry.labels.spellings import parse_spellings, spellings_to_json
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library

SCHEME = """
parts:
  - background
  - {name: skin, value: 50, also: [Face, "#010203"]}
  - {name: mouth, also: [40]}
  - left_eye
  - right_eye
splits: {eye: {left: left_eye, right: right_eye, value: 60, also: [Eyes]}}
"""


@pytest.mark.parametrize("name", [None, *known_schemes()])
def test_what_is_written_is_read(name: str | None) -> None:
    scheme = parse_scheme(SCHEME) if name is None else read_scheme(name)

    content = json.loads(json.dumps(spellings_to_json(scheme)))
    said = parse_spellings(content or None, scheme.label_names, of="bundle")

    read = type(scheme)(
        labels=scheme.labels,
        groups=scheme.groups,
        splits=said.splits,
        spellings=said.spellings,
    )
    assert read.index_of_value == scheme.index_of_value
    assert read.index_of_color == scheme.index_of_color
    assert read.index_of_name == scheme.index_of_name
    assert read.all_groups == scheme.all_groups


def test_scheme_without_spellings_says_nothing() -> None:
    assert spellings_to_json(parse_scheme("parts: [background, skin]")) == {}


def _with_spellings(folder: Path, said: Any) -> None:
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    content["mask_spellings"] = said
    content["bundle_digest"] = bundle_digest_of(content)
    path.write_text(json.dumps(content))


def test_class_knows_what_its_bundle_says(library: Library, bundle: Path) -> None:
    said = {"parts": {"skin": {"names": ["Face"], "colors": [[9, 8, 7]], "values": [50]}}}
    _with_spellings(bundle, said)

    scheme = scheme_of_class(library, library.add_bundle(bundle))

    assert scheme.index_of_value == {0: 0, 50: 1, 2: 2, 3: 3, 4: 4, 255: -1}
    assert scheme.index_of_name["face"] == scheme.index_of_color[9, 8, 7] == 1


def _part(**changes: Any) -> dict[str, Any]:
    return {"parts": {"skin": {"names": [], "colors": [], "values": [50], **changes}}}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "expected an object"),
        ({"part": {}}, "'part' is no known field"),
        ({"parts": {"nose": {}}}, "'nose' is none of the parts"),
        ({"parts": {"skin": 3}}, "skin: expected an object"),
        (_part(values=[70000]), "integers from 0 to 65535"),
        (_part(values=[True]), "integers from 0 to 65535"),
        (_part(values=[4]), "4 means"),
        (_part(colors=[[1, 2]]), "3 integers from 0 to 255"),
        (_part(names=[3]), "a list of texts"),
        ({"splits": {"a/b": {}}}, "split name"),
        (
            {
                "splits": {
                    "eyes": {"first": "eye", "second": "eye", "axis": 1, **_part()["parts"]["skin"]}
                }
            },
            "two parts",
        ),
        (
            {
                "splits": {
                    "eyes": {"first": "eye", "second": "ear", "axis": 1, **_part()["parts"]["skin"]}
                }
            },
            "two parts",
        ),
        ({"splits": {"eyes": {"first": "eye", "second": "skin", "axis": 2}}}, "axis"),
    ],
)
def test_wrong_spellings_of_a_bundle_are_refused(bundle: Path, said: Any, message: str) -> None:
    _with_spellings(bundle, said)

    with pytest.raises(BundleFormatError, match=message):
        read_manifest(bundle)
