"""Curves over scales and the usable range that follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from editvec.avatars import default
from editvec.batch.classes.adding import install_shipped
from editvec.batch.evaluation.calibration import Calibration, calibrate
from editvec.batch.evaluation.evaluate import evaluate_vector, store_evaluation
from editvec.batch.evaluation.measure import MeasuredEdits, ModeResult
from editvec.batch.evaluation.settings import AskedMode, EvaluateSettings
from editvec.batch.evaluation.targets import WantedAttribute
from editvec.batch.recipes.settings import Mode
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

SCALES = (-2.0, -1.0, 0.0, 1.0, 2.0)


def measured(
    success: Callable[[float], float],
    psnr: Callable[[float], float],
    *,
    reconstruction: tuple[float, ...] = (0.1,) * 8,
) -> MeasuredEdits:
    """Images that all do the same, with reconstructions of their own."""

    def row(scale: float, image: int) -> dict[str, Any]:
        ratio = psnr(scale)
        leak = {"psnr": None if math.isinf(ratio) else ratio, "perceptual/x": 10 ** (-ratio / 20)}
        # images differ by an offset, not in how they answer
        return {"attribute": success(scale) + image, "leakage": leak}

    rows = [{"reconstruction": {"psnr": 30.0, "perceptual/x": one}} for one in reconstruction]
    return MeasuredEdits(
        names=[str(image) for image in range(len(reconstruction))],
        scale=1.0,
        modes=[ModeResult(mode=AskedMode(Mode.VECTOR, 0), rows=rows)],
        unedited={},
        sweep=[[row(scale, image) for image in range(len(reconstruction))] for scale in SCALES],
        attribute=WantedAttribute("smiling", 0, 1),
        target=None,
        no_target="",
        skipped={},
        unlike=[],
        sets=cast(Any, None),
    )


def found(
    success: Callable[[float], float],
    psnr: Callable[[float], float],
    *,
    default_scale: float = 1.0,
    **settings: Any,
) -> Calibration:
    chosen = EvaluateSettings(scales=SCALES, **settings)
    return calibrate(measured(success, psnr), chosen, default_scale=default_scale)


def leaking(per_scale: float) -> Callable[[float], float]:
    return lambda scale: math.inf if scale == 0 else 45 - per_scale * abs(scale)


def test_the_range_ends_where_success_no_longer_rises() -> None:
    calibration = found(lambda scale: min(scale, 1.0), leaking(1))

    assert calibration.usable == (-2, 1)
    assert calibration.monotonicity is not None
    assert 0.9 < calibration.monotonicity.value < 1
    assert calibration.points[2].leakage_psnr == math.inf


def test_the_range_ends_where_too_much_leaks() -> None:
    assert found(lambda scale: scale, leaking(8)).usable == (-2, 2)
    assert found(lambda scale: scale, leaking(12)).usable == (-1, 1)
    bounded = found(lambda scale: scale, leaking(8), max_leakage=10 ** (-36 / 20))
    assert bounded.usable == (-1, 1)


def test_what_is_at_its_bound_is_usable() -> None:
    def exactly(limit: float) -> Callable[[float], float]:
        return lambda scale: limit if abs(scale) == 2 else 60.0

    assert found(lambda scale: scale, exactly(30), min_leakage_psnr=30).usable == (-2, 2)
    assert found(lambda scale: scale, exactly(29.9), min_leakage_psnr=30).usable == (-1, 1)
    at_limit = {"max_leakage": 10 ** (-30 / 20), "min_leakage_psnr": 0}
    assert found(lambda scale: scale, exactly(30), **at_limit).usable == (-2, 2)
    assert found(lambda scale: scale, exactly(29.9), **at_limit).usable == (-1, 1)


def test_a_step_at_which_success_stands_still_is_not_usable() -> None:
    assert found(lambda scale: max(scale, -1.0), leaking(1)).usable == (-1, 2)
    assert found(lambda scale: max(scale, 0.0), leaking(1)).usable == (0, 2)
    assert found(lambda scale: min(abs(scale), 1.0) * scale / 2, leaking(1)).usable == (-2, 2)


@pytest.mark.parametrize(("default_scale", "usable"), [(-2.0, (-2, 2)), (2.0, (-2, 2))])
def test_the_default_scale_may_be_an_end(default_scale: float, usable: tuple[int, int]) -> None:
    calibration = found(lambda scale: scale, leaking(1), default_scale=default_scale)

    assert (calibration.usable, calibration.reason) == (usable, "")
    assert found(lambda s: s, leaking(1), default_scale=default_scale * 1.01).usable is None


def test_between_two_scales_both_must_keep_to_the_bounds() -> None:
    def one_leaks(at: float) -> Callable[[float], float]:
        return lambda scale: 5.0 if scale == at else 60.0

    for at in (0.0, 1.0):
        calibration = found(lambda scale: scale, one_leaks(at), default_scale=0.5)
        assert calibration.usable is None
        assert f"at scale {at:g} leakage" in calibration.reason
    assert found(lambda scale: scale, one_leaks(2.0), default_scale=0.5).usable == (-2, 1)


def test_an_image_at_the_limit_of_reconstruction_counts() -> None:
    some = measured(lambda scale: scale, leaking(1), reconstruction=(0.5, 0.500001))
    settings = EvaluateSettings(scales=SCALES, max_reconstruction=0.5)

    assert calibrate(some, settings, default_scale=1.0).images == 1


@pytest.mark.parametrize(
    ("success", "leak", "default_scale", "reason"),
    [
        (lambda scale: -scale, 1, 1.0, "does not rise"),
        (lambda scale: scale, 30, 1.0, "at scale 1 leakage of 15.0 dB is under 25"),
        (lambda scale: scale, 1, 3.0, "do not hold the default scale 3"),
        (lambda scale: abs(scale), 1, -0.5, "does not rise from -1"),
    ],
)
def test_without_a_range_the_reason_is_told(
    success: Callable[[float], float], leak: float, default_scale: float, reason: str
) -> None:
    calibration = found(success, leaking(leak), default_scale=default_scale)

    assert calibration.usable is None
    assert reason in calibration.reason


def test_images_that_are_reconstructed_badly_do_not_count() -> None:
    some = measured(lambda scale: scale, leaking(1), reconstruction=(0.1, 0.9, 0.2, 0.8))
    settings = EvaluateSettings(scales=SCALES, max_reconstruction=0.5)

    calibration = calibrate(some, settings, default_scale=1.0)
    none = calibrate(
        some, EvaluateSettings(scales=SCALES, max_reconstruction=0.0), default_scale=1.0
    )

    assert (calibration.images, calibration.left_out) == (2, 2)
    # of images 0 and 2, whose offsets are 0 and 2
    assert calibration.points[2].success == 1
    assert none.usable is None
    assert "--max-reconstruction" in none.reason


def test_success_without_a_target_has_no_range() -> None:
    some = measured(lambda scale: scale, leaking(1))
    some.attribute = "nobody said"

    calibration = calibrate(some, EvaluateSettings(scales=SCALES), default_scale=1.0)

    assert calibration.usable is None
    assert calibration.monotonicity is None
    assert "--attribute, --operation or --renders" in calibration.reason


@pytest.mark.slow
def test_the_smile_of_the_shipped_class_gets_the_range_that_it_rises_in(
    empty_home: Any, tmp_path: Any
) -> None:
    import shutil

    shutil.copytree(empty_home, tmp_path / "home")
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        install_shipped(library, "avatars")
        vector = library.get_vector("avatars/smile")
        editor = Editor.open(default.BUNDLE_FOLDER)
        settings = EvaluateSettings(samples=8, scales=(-0.5, 0.0, 0.5, 1.0, 3.0))
        assert (vector.scale_min, vector.scale_max) == (-1, 1), "as it ships"

        evaluation = evaluate_vector(library, editor, vector, settings)
        stored = store_evaluation(library, editor, evaluation).vector

        assert (stored.scale_min, stored.scale_max) == (-0.5, 1)
        assert {one.name for one in stored.latest_metrics} >= {"monotonicity", "success_attribute"}
        assert library.history("avatars/smile")[-2].action == "calibrate"
