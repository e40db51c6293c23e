"""The examples in the docstrings are true; `library` is one that holds a few vectors."""

import doctest
import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.library.library import Library
from tests.support.places import ROOT
from tests.support.registry_fixtures import new_vector, random_delta, write_small_bundle

PACKAGES = ("registry", "engine", "batch", "avatars", "cuda_ext")
# parts, and how much of the smile is in it
VECTORS = {
    "smile": (("mouth", "teeth"), 1.0),
    "frown": (("mouth",), -1.0),
    "squint": (("eye",), 0.5),
    "look-left": (("eye",), 0.0),
}


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    places = [(ROOT / "editvec").glob("*.py"), *((ROOT / one).rglob("*.py") for one in PACKAGES)]
    modules = [
        ".".join(("editvec", *path.relative_to(ROOT).with_suffix("").parts))
        .replace("editvec.editvec", "editvec")
        .removesuffix(".__init__")
        for path in sorted(itertools.chain(*places))
        if ">>> " in path.read_text(encoding="utf-8")
    ]
    return [
        test
        for name in modules
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]


EXAMPLES = _examples()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """The library that the examples speak of, which the environment names too."""
    monkeypatch.setenv("EDITVEC_HOME", str(tmp_path / "home"))
    with Library.open(RegistryConfig.from_environment()) as library:
        library.add_bundle(write_small_bundle(tmp_path / "bundle"))
        for seed, (name, (parts, share)) in enumerate(VECTORS.items()):
            leakage = NewMetric(name="leakage", value=0.04, direction="lower", sample_count=64)
            new = new_vector(name, roi_labels=parts)
            delta = random_delta(seed) + share * random_delta(0)
            library.add_vector(new, delta, metrics=[leakage])
        yield library


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_is_true(example: doctest.DocTest, request: pytest.FixtureRequest) -> None:
    told: list[str] = []
    if "library" in (example.docstring or "").partition(">>>")[2]:
        example.globs["library"] = request.getfixturevalue("library")

    doctest.DocTestRunner(verbose=False).run(example, out=told.append)

    assert "".join(told) == ""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_examples(package: str) -> None:
    assert [example for example in EXAMPLES if f"editvec.{package}." in example.name]


def test_library_shows_how_it_is_used() -> None:
    shown = {example.name.removeprefix("editvec.registry.library.") for example in EXAMPLES}

    assert {
        "library.Library",
        "library.Library.add_vector",
        "library.Library.compose",
        "marks.VectorMarks.set_alias",
        "search.VectorSearch.find_vectors",
        "search.VectorSearch.find_similar",
    } <= shown
