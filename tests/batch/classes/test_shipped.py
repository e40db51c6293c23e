"""Classes register what they bring: anybody's package may, and only what is there is found."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.batch.classes.adding import install_shipped
from editvec.batch.classes.shipped import judge_of, trunk_folder
from editvec.registry.bundles.shipped import registered, shipped_bundles
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import BundleFormatError
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import write_small_bundle

JUDGE = """
import numpy as np
from typing import NamedTuple

class Edits(NamedTuple):
    pixels: object
    targets: object

def expected_attribute(name):
    return {"rusty": "rust"}.get(name)

def can_render(name):
    return name == "rusty"

def exact_edits(name, count, *, seed, resolution):
    mask = np.full((count, resolution, resolution), seed, np.uint8)
    return Edits(np.zeros((count, resolution, resolution, 3), np.uint8), mask)
"""


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    registered.cache_clear()
    yield
    registered.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that holds a package which brings a class."""
    about = tmp_path / "toys-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[editvec.judges]\ntoys = toys_of_a_test\nbroken = toys_of_a_test:nothing\n"
        "[editvec.bundles]\ntoys = toys_of_a_test:FOLDER\n"
    )
    folder = tmp_path / "bundle"
    text = f"{JUDGE}\nfrom pathlib import Path\nFOLDER = Path({str(folder)!r})\n"
    (tmp_path / "toys_of_a_test.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toys_of_a_test", raising=False)
    return tmp_path


def test_the_class_of_this_package_is_registered() -> None:
    judge = judge_of("avatars")

    assert judge is not None
    assert judge.expected_attribute("smile") == "smiling"
    assert shipped_bundles() == {"avatars": BUNDLE_FOLDER}
    assert trunk_folder() == BUNDLE_FOLDER


def test_another_package_brings_a_judge_of_its_class(installed: Path) -> None:
    judge = judge_of("toys")

    assert judge is not None
    assert judge.expected_attribute("rusty") == "rust"
    assert judge.expected_attribute("smile") is None
    edits = judge.exact_edits("rusty", 2, seed=3, resolution=4)
    assert edits.pixels.shape == (2, 4, 4, 3)
    assert np.unique(edits.targets).tolist() == [3]


def test_nobody_judges_a_class_of_the_user(installed: Path) -> None:
    assert judge_of("cells") is None


def test_a_judge_that_cannot_be_loaded_is_named(installed: Path) -> None:
    with pytest.raises(BundleFormatError, match=r"editvec.judges: broken = toys_of_a_test:nothing"):
        judge_of("broken")


def test_a_bundle_counts_once_it_is_there(installed: Path) -> None:
    assert "toys" not in shipped_bundles()

    (installed / "bundle").mkdir()
    (installed / "bundle" / "bundle.json").write_text("{}")

    assert list(shipped_bundles()) == ["avatars", "toys"]
    assert trunk_folder() == BUNDLE_FOLDER


def test_a_class_of_another_package_is_installed_by_its_name(
    installed: Path, tmp_path: Path
) -> None:
    bundle = write_small_bundle(installed / "bundle")

    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        model = install_shipped(library, "toys")

    assert model.bundle_digest
    assert bundle.is_dir()


def test_a_class_that_is_not_shipped_is_refused(tmp_path: Path) -> None:
    with (
        Library.open(RegistryConfig.for_home(tmp_path / "home")) as library,
        pytest.raises(BundleFormatError, match=r"cells: not shipped .*\(avatars is\)"),
    ):
        install_shipped(library, "cells")
