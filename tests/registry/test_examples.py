"""The examples in the docstrings are true; `library` is one that holds a few vectors."""

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry
from registry.config import RegistryConfig
from registry.entities.vectors import NewMetric
from registry.library.library import Library
from tests.support.registry_fixtures import new_vector, random_delta, write_small_bundle

# parts, and how much of the smile is in it
VECTORS = {
    "smile": (("mouth", "teeth"), 1.0),
    "frown": (("mouth",), -1.0),
    "squint": (("eye",), 0.5),
    "look-left": (("eye",), 0.0),
}


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [module.name for module in pkgutil.iter_modules(registry.__path__, "registry.")]
    return [
        test
        for name in modules
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]


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


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example.name)
def test_example_is_true(example: doctest.DocTest, request: pytest.FixtureRequest) -> None:
    told: list[str] = []
    if "library" in (example.docstring or "").partition(">>>")[2]:
        example.globs["library"] = request.getfixturevalue("library")

    doctest.DocTestRunner(verbose=False).run(example, out=told.append)

    if told:
        pytest.fail("".join(told), pytrace=False)


def test_no_example_is_skipped() -> None:
    options = [one.options for example in _examples() for one in example.examples]

    assert options
    assert not any(chosen.get(doctest.SKIP) for chosen in options)


def test_library_shows_how_it_is_used() -> None:
    shown = {example.name for example in _examples()}

    assert {
        "registry.library.library.Library",
        "registry.library.library.Library.add_vector",
        "registry.library.library.Library.compose",
        "registry.library.marks.VectorMarks.set_alias",
        "registry.library.search.VectorSearch.find_vectors",
        "registry.library.search.VectorSearch.find_similar",
    } <= shown
