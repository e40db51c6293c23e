"""The shipped class and its starter library get into a library, once."""

from pathlib import Path

import pytest

from editvec.avatars import default
from editvec.avatars.drawing.render import LABEL_COLORS, LABELS
from editvec.avatars.judging import expected_attribute
from editvec.avatars.starter import STARTERS
from editvec.batch.classes.adding import install_shipped
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.errors import BundleFormatError
from editvec.registry.library.library import Library


def test_installing_brings_the_class_and_every_starter_vector(tmp_path: Path) -> None:
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        model = install_shipped(library, "avatars")
        vectors = library.find_vectors(VectorQuery(class_name=model.name))

    assert model.address == "avatars@1"
    assert model.label_names == LABELS
    assert [label.color for label in model.labels] == [tuple(c) for c in LABEL_COLORS.tolist()]
    assert {vector.name for vector in vectors} == {starter.name for starter in STARTERS}
    for vector in vectors:
        assert vector.generator_digest == model.generator_digest
        assert len(vector.pairs) == 1
        assert {"success_iou", "leakage_psnr"} <= {metric.name for metric in vector.metrics}


def test_starter_vectors_keep_the_parts_and_pairs_that_they_were_learned_from(
    tmp_path: Path,
) -> None:
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        install_shipped(library, "avatars")
        for starter in STARTERS:
            vector = library.get_vector(starter.address)
            assert vector.roi_labels == starter.roi_labels
            assert vector.description == starter.description


def test_starter_vectors_come_measured_on_other_faces(tmp_path: Path) -> None:
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        install_shipped(library, "avatars")
        vectors = [library.get_vector(starter.address) for starter in STARTERS]

    for vector in vectors:
        newest = {metric.name: metric for metric in vector.latest_metrics}
        assert newest["success_iou"].sample_count >= 64
        assert newest["success_iou"].value > 1.3 * newest["success_iou_unedited"].value
        assert newest["leakage_psnr"].value > 30
        has_attribute = expected_attribute(vector.name) is not None
        assert ("success_attribute" in newest) == has_attribute
        if has_attribute:
            assert newest["success_attribute"].value > 0.6
        assert vector.scale_min is not None
        assert vector.scale_max is not None
        assert vector.scale_min < 0 < 1 <= vector.scale_max


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        first = install_shipped(library, "avatars")
        vectors = library.find_vectors()

        assert install_shipped(library, "avatars") == first
        assert library.find_vectors() == vectors
        assert len(library.classes()) == 1


def test_an_installation_without_its_bundle_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "BUNDLE_FOLDER", tmp_path / "none")

    with (
        Library.open(RegistryConfig.for_home(tmp_path / "home")) as library,
        pytest.raises(BundleFormatError, match="avatars: not shipped with this installation"),
    ):
        install_shipped(library, "avatars")


def test_an_installation_without_its_starter_library_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "STARTER_ARCHIVE", tmp_path / "none.zip")

    with (
        Library.open(RegistryConfig.for_home(tmp_path / "home")) as library,
        pytest.raises(BundleFormatError, match=r"none\.zip is missing; install editvec again"),
    ):
        install_shipped(library, "avatars")
