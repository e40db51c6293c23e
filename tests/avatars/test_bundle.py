"""The shipped bundle and the starter library."""

from pathlib import Path

import pytest
import torch

from editvec.avatars import check, default
from editvec.avatars.drawing.render import LABELS
from editvec.avatars.starter import STARTERS
from editvec.batch.classes.adding import install_shipped
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.library.library import Library

MAX_BYTES = 16 * 2**20


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.open(default.BUNDLE_FOLDER)


def test_bundle_is_complete_and_small(editor: Editor) -> None:
    files = [path.stat().st_size for path in default.BUNDLE_FOLDER.iterdir()]

    assert sum(files) + default.STARTER_ARCHIVE.stat().st_size <= MAX_BYTES
    assert tuple(label.name for label in editor.bundle.labels) == LABELS
    assert editor.perceptual is not None
    assert editor.perceptual.name == "perceptual/avatars"
    assert None not in (editor.segmentation, editor.encoder, editor.identity, editor.classifier)
    assert editor.bundle.built["labelled_images"] == 16


def test_starter_library_installs_once(tmp_path: Path) -> None:
    library = Library.open(RegistryConfig.from_environment(tmp_path))

    install_shipped(library, "avatars")
    install_shipped(library, "avatars")

    vectors = library.find_vectors(VectorQuery(class_name=default.CLASS_NAME))
    assert {vector.name for vector in vectors} == {starter.name for starter in STARTERS}
    assert {vector.version for vector in vectors} == {1}
    assert all(vector.pairs and vector.metrics and vector.roi_labels for vector in vectors)


def test_samples_are_varied_and_finite(editor: Editor) -> None:
    images = editor.synthesize(editor.sample(8, seed=1))

    assert torch.isfinite(images).all()
    assert (images[0] - images[1:]).abs().mean(dim=(1, 2, 3)).min() > 0.05


@pytest.mark.parametrize("starter", STARTERS[:3], ids=lambda starter: starter.name)
def test_encoder_alone_reconstructs_the_lesson(editor: Editor, starter: object) -> None:
    pair = starter.mask_pair()  # type: ignore[attr-defined]
    images = torch.from_numpy(pair.pixels)[None].permute(0, 3, 1, 2).float() / 127.5 - 1

    embedded = editor.embed(images, EmbedSettings(num_steps=0))

    assert embedded.psnr.item() > 18


def test_smile_makes_held_out_avatars_smile(editor: Editor, tmp_path: Path) -> None:
    library = Library.open(RegistryConfig.from_environment(tmp_path))
    install_shipped(library, "avatars")
    vector = library.get_vector(check.VECTOR)
    setting = check.SETTINGS[0]._replace(embed_steps=20, refine_steps=5)

    lines, ious = check.measure(
        editor, torch.from_numpy(library.delta(vector)), vector.roi_labels, setting, count=24
    )

    values = {line.name: line.value for line in lines}
    assert values["smile success at scale 1"] >= 85
    assert values["PSNR outside, refined, median"] >= 30
    assert values["attribute accuracy"] >= 95
    assert values["part mIoU after embedding"] >= 0.6
    assert ious["skin"] > 0.85


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bundle_meets_its_table(editor: Editor, tmp_path: Path) -> None:
    library = Library.open(RegistryConfig.from_environment(tmp_path))
    install_shipped(library, "avatars")
    vector = library.get_vector(check.VECTOR)
    delta = torch.from_numpy(library.delta(vector))

    lines, _ = check.measure(editor, delta, vector.roi_labels, check.SETTINGS[0], count=200)

    assert [line for line in lines if not line.met] == []
