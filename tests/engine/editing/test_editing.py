import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from editvec.engine.editing.descent import DescentStep
from editvec.engine.editing.editing import (
    EditResult,
    EditSettings,
    apply_deltas,
    learn,
    optimize,
    refine,
    segment,
)
from editvec.engine.editing.losses import LossWeights, Networks, Objective
from editvec.engine.errors import EngineMaskError, EngineSettingsError, NonFiniteError, ShapeError
from tests.support.edited_masks import ROI_LABELS, edited_masks


def _roi_error(networks: Networks, ws: Tensor, target: Tensor, roi: Tensor) -> Tensor:
    """Share of the ROI's pixels with another label than the target, [N]."""
    wrong = (segment(networks, ws) != target) & roi[:, 0]
    return wrong.flatten(1).sum(1) / roi.flatten(1).sum(1)


def _outside_error(networks: Networks, ws: Tensor, reference: Tensor, roi: Tensor) -> Tensor:
    """Squared error outside the ROI, [N]."""
    with torch.no_grad():
        squares = ((networks.synthesis(ws) - reference) / 2).square() * ~roi
    return squares.sum(dim=(1, 2, 3)) / (3 * (~roi).sum(dim=(1, 2, 3)))


# ----------------------------------------------------------------------------------------------
# Apply


def test_deltas_add_up_with_their_scales(ws: Tensor) -> None:
    deltas = torch.randn(2, *ws.shape[1:], dtype=ws.dtype)

    edited = apply_deltas(ws, deltas, torch.tensor([0.5, -2.0]))

    torch.testing.assert_close(edited, ws + 0.5 * deltas[0] - 2.0 * deltas[1])
    assert torch.equal(apply_deltas(ws, deltas, torch.zeros(2)), ws)


def test_a_sweep_is_a_batch(ws: Tensor) -> None:
    delta = torch.randn(1, *ws.shape[1:], dtype=ws.dtype)
    scales = torch.linspace(-1, 1, 5)

    swept = apply_deltas(ws[:1].expand(5, -1, -1), delta, scales[:, None])

    for row, scale in zip(swept, scales.tolist(), strict=True):
        torch.testing.assert_close(row, ws[0] + scale * delta[0])


def test_deltas_that_do_not_fit_are_refused(ws: Tensor) -> None:
    delta = torch.zeros(1, *ws.shape[1:])

    with pytest.raises(ShapeError, match="deltas"):
        apply_deltas(ws, torch.zeros(1, 3, 3), torch.ones(1))
    with pytest.raises(ShapeError, match="scales"):
        apply_deltas(ws, delta, torch.ones(3))
    with pytest.raises(NonFiniteError, match="deltas"):
        apply_deltas(ws, delta * torch.nan, torch.ones(1))
    with pytest.raises(NonFiniteError, match="scales"):
        apply_deltas(ws, delta, torch.tensor([torch.inf]))


# ----------------------------------------------------------------------------------------------
# Learn


def test_learning_paints_the_part_inside_and_leaves_the_outside(
    networks: Networks, ws: Tensor
) -> None:
    _, after = edited_masks(networks, ws)
    with torch.no_grad():
        reference = networks.synthesis(ws)

    weights = LossWeights(perceptual_weight=5, mse_weight=75, cross_entropy_weight=1)

    result = learn(
        networks, ws, after, roi_labels=ROI_LABELS, settings=EditSettings(30, 0.1, weights)
    )

    careless = learn(
        networks,
        ws,
        after,
        roi_labels=ROI_LABELS,
        settings=EditSettings(30, 0.1, LossWeights(cross_entropy_weight=1.0)),
    )
    assert (result.terms.cross_entropy < 0.8 * careless.losses[0]).all()
    wrong = _roi_error(networks, result.edited_ws, after, result.roi)
    assert (wrong < 0.6 * _roi_error(networks, ws, after, result.roi)).all()
    outside = _outside_error(networks, result.edited_ws, reference, result.roi)
    spilled = _outside_error(networks, careless.edited_ws, reference, result.roi)
    assert (outside < 0.3 * spilled).all()


def test_deltas_start_at_zero(networks: Networks, ws: Tensor) -> None:
    before, after = edited_masks(networks, ws)
    seen = []

    result = learn(
        networks, ws, after, roi_labels=ROI_LABELS, settings=EditSettings(2), on_step=seen.append
    )

    assert seen[0].terms.mse.abs().max() < 1e-20
    assert result.num_steps == 2
    assert result.losses.shape == (3, 4)
    assert torch.equal(result.ws, ws)
    assert torch.equal(result.mask_before, before)


@pytest.mark.parametrize("mode", ["learn", "optimize", "refine"])
def test_joint_edits_equal_separate_edits_in_float64(
    networks: Networks, ws: Tensor, images: Tensor, mode: str
) -> None:
    _, after = edited_masks(networks, ws)
    edited = ws + 0.2 * torch.randn(ws.shape, generator=torch.Generator().manual_seed(2)).double()
    weights = LossWeights(2.0, 30.0, 1.0, identity_weight=0.5, encoder_weight=0.1)
    settings = EditSettings.for_mode(mode, num_steps=6, weights=weights)

    def run(part: slice) -> EditResult:
        common = {"roi_labels": ROI_LABELS, "settings": settings}
        if mode == "refine":
            return refine(networks, ws[part], edited[part], **common)
        function = learn if mode == "learn" else optimize
        return function(networks, ws[part], after[part], images=images.flip(0)[part], **common)

    together = run(slice(None))

    for sample in range(4):
        alone = run(slice(sample, sample + 1))
        torch.testing.assert_close(together.deltas[sample], alone.deltas[0], atol=1e-8, rtol=0)
        torch.testing.assert_close(together.losses[:, sample], alone.losses[:, 0])


def test_joint_learning_agrees_in_float32(networks32: Networks, ws: Tensor) -> None:
    ws = ws.float()
    _, after = edited_masks(networks32, ws)
    settings = EditSettings(12)

    def first_gradient(part: slice, roi: Tensor) -> Tensor:
        with torch.no_grad():
            reference = networks32.synthesis(ws[part])
        objective = Objective(
            networks32,
            settings.weights,
            images=reference,
            base_ws=ws[part],
            roi=roi,
            target_mask=after[part],
        )
        deltas = torch.zeros_like(ws[part], requires_grad=True)
        return torch.autograd.grad(objective(deltas).total.sum(), deltas)[0]

    together = learn(networks32, ws, after, roi_labels=ROI_LABELS, settings=settings)
    gradient = first_gradient(slice(None), together.roi)

    for sample in range(4):
        part = slice(sample, sample + 1)
        alone = learn(networks32, ws[part], after[part], roi_labels=ROI_LABELS, settings=settings)
        torch.testing.assert_close(
            gradient[part], first_gradient(part, alone.roi), atol=1e-5, rtol=1e-5
        )
        final, final_alone = together.losses[-1, sample].item(), alone.losses[-1, 0].item()
        assert final == pytest.approx(final_alone, rel=0.02)


def test_the_identity_term_keeps_the_identity_in_learning(networks: Networks, ws: Tensor) -> None:
    _, after = edited_masks(networks, ws)
    plain = LossWeights(cross_entropy_weight=1.0)
    with_identity = LossWeights(cross_entropy_weight=1.0, identity_weight=200.0)

    def similarity(weights: LossWeights) -> Tensor:
        settings = EditSettings(12, 0.1, weights)
        result = learn(networks, ws, after, roi_labels=ROI_LABELS, settings=settings)
        with torch.no_grad():
            before = networks.identity(networks.synthesis(ws))
            edited = networks.identity(networks.synthesis(result.edited_ws))
        return torch.nn.functional.cosine_similarity(before, edited)

    assert (similarity(with_identity) > similarity(plain)).all()


def test_any_module_can_be_the_identity_network(networks: Networks, ws: Tensor) -> None:
    _, after = edited_masks(networks, ws)
    colours = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    settings = EditSettings(3, weights=LossWeights(cross_entropy_weight=1, identity_weight=1))

    result = learn(
        networks._replace(identity=colours), ws, after, roi_labels=ROI_LABELS, settings=settings
    )

    assert (result.losses[-1] < result.losses[0]).all()


def test_only_the_rows_of_the_row_mask_change(networks: Networks, ws: Tensor) -> None:
    _, after = edited_masks(networks, ws)
    rows = (False, False, True, True, False, False)

    deltas = learn(
        networks, ws, after, roi_labels=ROI_LABELS, settings=EditSettings(3, row_mask=rows)
    ).deltas

    assert deltas[:, [0, 1, 4, 5]].abs().max() == 0
    assert deltas[:, [2, 3]].abs().max() > 0


def test_the_reference_is_the_reconstruction_unless_the_image_is_asked_for(
    networks: Networks, ws: Tensor, images: Tensor
) -> None:
    _, after = edited_masks(networks, ws)
    other = images.flip(0)
    seen: dict[str, list] = {"reconstruction": [], "image": []}

    for reference, steps in seen.items():
        learn(
            networks,
            ws,
            after,
            roi_labels=ROI_LABELS,
            images=other,
            settings=EditSettings(1, reference=reference),
            on_step=steps.append,
        )

    assert (seen["reconstruction"][0].terms.mse < 1e-20).all()
    assert (seen["image"][0].terms.mse > 1e-3).all()


def test_learning_twice_gives_the_same_bits(networks32: Networks, ws: Tensor) -> None:
    _, after = edited_masks(networks32, ws.float())

    first, second = (
        learn(networks32, ws.float(), after, roi_labels=ROI_LABELS, settings=EditSettings(5))
        for _ in range(2)
    )

    assert torch.equal(first.deltas, second.deltas)


def test_inputs_made_under_inference_mode_are_accepted(networks: Networks, ws: Tensor) -> None:
    with torch.inference_mode():
        made = ws.clone()
        _, after = edited_masks(networks, made)
        images = networks.synthesis(made)
        inside = learn(networks, made, after, roi_labels=ROI_LABELS, settings=EditSettings(2))
    settings = EditSettings(2, reference="image")

    outside = optimize(
        networks, made, after, roi_labels=ROI_LABELS, images=images, settings=settings
    )

    torch.testing.assert_close(inside.deltas, outside.deltas, atol=1e-8, rtol=0)


def test_an_edit_without_its_part_is_refused_in_learning(networks: Networks, ws: Tensor) -> None:
    blank = torch.zeros(4, 16, 16, dtype=torch.long)
    partly = blank.clone()
    partly[[0, 1, 3], 4:8, 4:8] = 5
    common = {"roi_labels": ROI_LABELS, "mask_before": blank, "settings": EditSettings(2)}

    with pytest.raises(EngineMaskError, match="sample 2"):
        learn(networks, ws, partly, **common)


def test_an_image_without_the_part_is_left_as_it_is_in_optimize(
    networks: Networks, ws: Tensor, images: Tensor
) -> None:
    blank = torch.zeros(4, 16, 16, dtype=torch.long)
    partly = blank.clone()
    partly[[0, 1, 3], 4:8, 4:8] = 5

    result = optimize(
        networks,
        ws,
        partly,
        roi_labels=ROI_LABELS,
        mask_before=blank,
        images=images.flip(0),
        settings=EditSettings.for_mode("optimize", num_steps=2),
    )

    assert result.deltas[2].abs().max() == 0
    assert result.deltas[[0, 1, 3]].flatten(1).abs().amax(dim=1).min() > 0


def test_masks_and_latents_that_do_not_fit_are_refused(networks: Networks, ws: Tensor) -> None:
    _, after = edited_masks(networks, ws)

    with pytest.raises(ShapeError, match="mask_after"):
        learn(networks, ws, after[:, :8], roi_labels=ROI_LABELS)
    with pytest.raises(ShapeError, match="labels 0 to 5"):
        learn(networks, ws, after + 10, roi_labels=ROI_LABELS)
    with pytest.raises(ShapeError, match="equal N"):
        learn(networks, ws, after[:2], roi_labels=ROI_LABELS)
    with pytest.raises(EngineMaskError, match="roi_labels"):
        learn(networks, ws, after, roi_labels=[99])
    with pytest.raises(NonFiniteError, match="ws"):
        learn(networks, ws * torch.nan, after, roi_labels=ROI_LABELS)
    with pytest.raises(ShapeError, match="row_mask"):
        learn(networks, ws, after, roi_labels=[4], settings=EditSettings(1, row_mask=(True,)))
    with pytest.raises(EngineSettingsError, match="segmentation"):
        learn(networks._replace(segmentation=None), ws, after, roi_labels=ROI_LABELS)
    with pytest.raises(EngineSettingsError, match="reference"):
        optimize(networks, ws, after, roi_labels=ROI_LABELS)


# ----------------------------------------------------------------------------------------------
# Refine


def test_refinement_repairs_the_outside_and_keeps_the_edit(networks: Networks, ws: Tensor) -> None:
    noise = torch.randn(ws.shape, generator=torch.Generator().manual_seed(7), dtype=ws.dtype)
    edited = ws + 0.3 * noise
    with torch.no_grad():
        reference = networks.synthesis(ws)
    settings = EditSettings.for_mode("refine", num_steps=12)

    result = refine(networks, ws, edited, roi_labels=ROI_LABELS, settings=settings)

    assert torch.equal(result.mask_target, segment(networks, edited))
    leaked = _outside_error(networks, edited, reference, result.roi)
    assert (_outside_error(networks, result.edited_ws, reference, result.roi) < 0.5 * leaked).all()
    kept = _roi_error(networks, result.edited_ws, result.mask_target, result.roi)
    undone = _roi_error(networks, ws, result.mask_target, result.roi)
    assert (kept < undone).all()


def test_refinement_starts_at_the_edited_latents(networks: Networks, ws: Tensor) -> None:
    edited = ws + 0.1
    seen = []

    refine(networks, ws, edited, roi_labels=ROI_LABELS, on_step=seen.append)

    with torch.no_grad():
        reference, start = networks.synthesis(ws), networks.synthesis(edited)
    assert len(seen) == 11
    roi = refine(networks, ws, edited, roi_labels=ROI_LABELS, settings=EditSettings(1)).roi
    expected = ((start - reference) / 2).square() * ~roi
    torch.testing.assert_close(
        seen[0].terms.mse, expected.sum(dim=(1, 2, 3)) / (3 * (~roi).sum(dim=(1, 2, 3)))
    )


def test_painted_pixels_alone_may_be_what_changes(networks: Networks, ws: Tensor) -> None:
    size = networks.synthesis.config.resolution
    brush = torch.zeros(size, size, dtype=torch.bool)
    brush[3:6, 4:9] = True
    settings = EditSettings(2, dilation=1)
    _, wanted = edited_masks(networks, ws)

    refined = refine(networks, ws, ws + 0.1, roi_labels=[], brush=brush, settings=settings)
    optimized = optimize(networks, ws, wanted, roi_labels=[], brush=brush, settings=settings)

    expected = torch.zeros_like(brush)
    expected[2:7, 3:10] = True
    for result in (refined, optimized):
        assert torch.equal(result.roi, expected.expand_as(result.roi))
        assert result.deltas.abs().max() > 0
    with pytest.raises(EngineMaskError, match="roi_labels"):
        refine(networks, ws, ws + 0.1, roi_labels=[], settings=settings)


# ----------------------------------------------------------------------------------------------
# Settings


def test_the_modes_have_the_papers_steps() -> None:
    steps = {
        mode: EditSettings.for_mode(mode).num_steps for mode in ("learn", "refine", "released")
    }

    assert steps == {"learn": 100, "refine": 10, "released": 29}
    assert EditSettings.for_mode("learn", num_steps=7).num_steps == 7
    with pytest.raises(EngineSettingsError, match="mode"):
        EditSettings.for_mode("other")


def test_released_is_the_published_codes_way_to_learn() -> None:
    released = EditSettings.for_mode("released")

    # Ling et al. 2021, and the numbers of their code
    assert released == EditSettings(
        num_steps=29,
        learning_rate=0.02,
        weights=LossWeights(
            perceptual_weight=150,
            mse_weight=75,
            cross_entropy_weight=1,
            encoder_weight=1,
            mse_divisor="all",
        ),
        reference="reconstruction",
    )
    without = EditSettings.for_mode("released", has_encoder=False, num_steps=3)
    assert without.weights == replace(released.weights, encoder_weight=0.0)
    assert without.num_steps == 3
    assert EditSettings.for_mode("learn", has_encoder=False) == EditSettings.for_mode("learn")


def test_released_holds_the_pixels_to_the_reconstruction_and_updates_29_times(
    networks: Networks, ws: Tensor, images: Tensor
) -> None:
    _, after = edited_masks(networks, ws)
    photographs = (images + 0.3).clamp(-1, 1)  # far from what the generator makes of ws
    steps: list[DescentStep] = []

    result = learn(
        networks,
        ws,
        after,
        roi_labels=ROI_LABELS,
        images=photographs,
        settings=EditSettings.for_mode("released"),
        on_step=steps.append,
    )

    first, last = steps[0].terms, steps[-1].terms
    assert first.mse.max() < 1e-20
    assert first.perceptual.max() < 1e-12
    assert (last.mse > first.mse).all()
    assert (first.encoder > 0).all()
    with torch.no_grad():
        encoded = networks.encoder(networks.synthesis(ws))  # type: ignore[misc]
    torch.testing.assert_close(first.encoder, (encoded - ws).square().mean(dim=(1, 2)))
    assert [step.step for step in steps] == list(range(30))  # the start, then one after each update
    assert result.num_steps == 29


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"learning_rate": math.nan},
        {"dilation": -1},
        {"row_mask": (False, False)},
        {"reference": "photo"},
    ],
)
def test_settings_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(EngineSettingsError):
        EditSettings(**values)
