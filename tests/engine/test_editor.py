from pathlib import Path

import pytest
import torch

import editvec.engine.networks.generator
from editvec.engine.editing.editing import EditSettings
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.errors import (
    BundleError,
    EngineCompatibilityError,
    EngineSettingsError,
    ShapeError,
)


@pytest.fixture(scope="module")
def editor(small: Path) -> Editor:
    return Editor.open(small)


def test_samples_depend_on_the_seed_and_their_index_only(editor: Editor) -> None:
    together = editor.sample(5, seed=3)
    parts = torch.cat([editor.sample(2, 3), editor.sample(3, 3, first=2)])

    torch.testing.assert_close(together, parts)
    assert not torch.equal(together, editor.sample(5, seed=4))
    assert together.shape == (5, 6, 8)
    truncated = editor.sample(1, 3, truncation_psi=0.0)
    torch.testing.assert_close(truncated, editor.generator.w_avg.expand(1, 6, 8))


def test_images_come_with_masks_and_with_uncertainty_on_request(editor: Editor) -> None:
    ws = editor.sample(3, seed=0)

    plain = editor.synthesize_with_mask(ws)
    full = editor.synthesize_with_mask(ws, with_uncertainty=True)

    assert torch.equal(plain.images, editor.synthesize(ws))
    assert plain.mask.shape == (3, 16, 16)
    assert plain.uncertainty is None
    assert torch.equal(plain.mask, full.mask)
    assert full.uncertainty is not None
    assert (full.uncertainty >= 0).all()


@pytest.mark.parametrize("together", [2, 5])
def test_images_are_synthesised_some_at_a_time(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    ws = editor.sample(5, seed=int(torch.randint(1000, ())))
    images, features = editor.generator.synthesis.with_features(ws)
    assert editor.segmentation is not None
    whole = editor.embed(images.clamp(-1, 1), EmbedSettings(num_steps=0))
    largest = max(maps[0].numel() * maps.element_size() for maps in features)
    monkeypatch.setattr(editvec.engine.networks.generator, "CPU_MAP_BYTES", together * largest)
    counts = []
    synthesis = editor.generator.synthesis

    with synthesis.register_forward_pre_hook(lambda _, args: counts.append(len(args[0]))):
        assert torch.allclose(editor.synthesize(ws), images, atol=1e-5)
        parts = editor.embed(images.clamp(-1, 1), EmbedSettings(num_steps=0))
    made = editor.synthesize_with_mask(ws, with_uncertainty=True)

    assert max(counts) <= together
    assert sum(counts) == 2 * len(ws)
    torch.testing.assert_close(parts.psnr, whole.psnr)
    torch.testing.assert_close(parts.perceptual, whole.perceptual, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(made.images, images)
    assert torch.equal(made.mask, editor.segmentation(features).argmax(dim=1))
    torch.testing.assert_close(made.uncertainty, editor.segmentation.uncertainty(features))


def test_embedding_names_what_it_was_measured_with(editor: Editor) -> None:
    images = editor.synthesize(editor.sample(2, seed=0))

    result = editor.embed(images, EmbedSettings(num_steps=1))

    assert result.perceptual_name == "perceptual/tiny"
    assert result.perceptual is not None
    assert result.psnr.shape == result.perceptual.shape == result.num_steps.shape == (2,)


def test_learn_apply_refine_and_optimize_work_from_files_to_latents(editor: Editor) -> None:
    ws = editor.sample(3, seed=1)
    images, before, _ = editor.synthesize_with_mask(ws)
    after = editor.synthesize_with_mask(ws + 0.3).mask
    settings = EditSettings(num_steps=3)

    learned = editor.learn(
        images[:1],
        after[:1],
        roi_labels=["mouth", "teeth"],
        settings=settings,
        embed_settings=EmbedSettings(num_steps=1),
    )
    edited = editor.apply(ws, learned.deltas, torch.tensor([1.0]))
    refined = editor.refine(
        ws, edited, roi_labels=["mouth", "teeth"], settings=EditSettings.for_mode("refine")
    )
    optimized = editor.optimize(images, ws, after, roi_labels=[4, 5], settings=settings)

    assert learned.num_steps == 3
    assert learned.seconds > 0
    assert learned.deltas.shape == (1, 6, 8)
    torch.testing.assert_close(edited, ws + learned.deltas)
    assert refined.shape == optimized.shape == ws.shape
    assert not torch.equal(refined, edited)
    assert torch.equal(
        editor.roi(before, after, ["mouth"]), editor.roi(before, after, [4], dilation=1)
    )


def test_vectors_of_another_generator_are_refused(editor: Editor) -> None:
    editor.check_generator(editor.bundle.generator_digest)

    with pytest.raises(EngineCompatibilityError, match="tiny"):
        editor.check_generator("0" * 64)
    with pytest.raises(ShapeError):
        editor.apply(torch.zeros(1, 4, 8), torch.zeros(1, 4, 8), torch.ones(1))


def test_bad_arguments_are_refused(editor: Editor, tmp_path: Path, small: Path) -> None:
    with pytest.raises(EngineSettingsError, match="count"):
        editor.sample(0, seed=0)
    with pytest.raises(EngineSettingsError, match="nose"):
        editor.roi(torch.zeros(1, 4, 4).long(), torch.zeros(1, 4, 4).long(), ["nose"])
    with pytest.raises(BundleError, match="cannot be read"):
        Editor.open(tmp_path)
    for device in ("cuda:99", "gpu"):
        with pytest.raises(EngineSettingsError, match="device"):
            Editor.open(small, device)
