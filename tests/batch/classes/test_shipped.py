"""Classes register what they bring: anybody's package may, and only what is there is found."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.batch.classes import shipped
from editvec.batch.classes.shipped import judge_of, shipped_bundles, trunk_folder
from editvec.batch.errors import SettingsError

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
    shipped._registered.cache_clear()
    yield
    shipped._registered.cache_clear()


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
    with pytest.raises(SettingsError, match=r"editvec.judges: broken = toys_of_a_test:nothing"):
        judge_of("broken")


def test_a_bundle_counts_once_it_is_there(installed: Path) -> None:
    assert "toys" not in shipped_bundles()

    (installed / "bundle").mkdir()
    (installed / "bundle" / "bundle.json").write_text("{}")

    assert list(shipped_bundles()) == ["avatars", "toys"]
    assert trunk_folder() == BUNDLE_FOLDER
