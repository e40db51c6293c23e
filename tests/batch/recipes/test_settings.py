from typing import Any

import pytest

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import (
    Composite,
    EmbeddingMethod,
    Fit,
    Mode,
    OutputSize,
    RunSettings,
)


@pytest.mark.parametrize("text", ["encoder", "steps:50", "target:26", "target:26.5"])
def test_an_embedding_prints_as_it_is_typed(text: str) -> None:
    assert str(EmbeddingMethod.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "steps", "steps:0", "steps:-1", "steps:x", "target:", "target:0", "target:500"]
)
def test_a_wrong_embedding_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^embed: expected"):
        EmbeddingMethod.parse(text)


def test_settings_survive_json() -> None:
    settings = RunSettings(
        mode=Mode.OPTIMIZE, masks_folder="/masks", roi=("mouth",), fit=Fit.PAD, chunk_size=7
    )

    assert RunSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"masks_folder": "/masks"},
        {"chunk_size": 65},
        {"refine_steps": 0},
        {"truncation_psi": float("nan")},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        RunSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "fitting", "wrong"),
    [
        ("refine_steps", (1, 10_000), (0, 10_001)),
        ("optimize_steps", (1, 10_000), (0, 10_001)),
        ("seed", (0, 2**62), (-1, 2**62 + 1)),
        ("count", (0, 10_000_000), (-1, 10_000_001)),
        ("chunk_size", (0, 64), (-1, 65)),
        ("truncation_psi", (0.0, 2.0), (-0.01, 2.01, float("inf"))),
        ("box_margin", (0.0, 10.0), (-0.01, 10.01, float("nan"))),
        ("max_leakage", (0.0, 9.0), (-0.01, float("inf"), float("nan"))),
        ("max_reconstruction", (0.0, 9.0), (-0.01, float("inf"))),
        ("max_uncertainty", (0.0, 9.0), (-0.01, float("inf"))),
        ("image_format", ("jpeg:1", "webp:100"), ("jpeg:0", "webp:101", "gif")),
        ("embed", ("steps:1", "steps:10000", "target:100"), ("steps:10001", "target:100.1")),
    ],
)
def test_settings_end_at_their_limits(
    name: str, fitting: tuple[Any, ...], wrong: tuple[Any, ...]
) -> None:
    for value in fitting:
        RunSettings(**{name: value})
    for value in wrong:
        said = {"image_format": "format"}.get(name, name)
        with pytest.raises(SettingsError, match=f"^{said}: expected"):
            RunSettings(**{name: value})


ORIGINAL = {"output_size": OutputSize.ORIGINAL, "composite": Composite.FEATHER}
MASKS = {"mode": Mode.OPTIMIZE, "masks_folder": "/masks"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ORIGINAL, None),
        ({**ORIGINAL, "composite": Composite.NONE}, "output_size: original adds the change"),
        ({**ORIGINAL, "keep_profile": True}, None),
        ({"keep_profile": True}, "keep_profile: only outputs of output_size original"),
        ({**ORIGINAL, "count": 1}, "output_size, boxes: sampled images have neither"),
        ({"count": 1, "boxes": "b.json"}, "output_size, boxes: sampled images have neither"),
        ({"boxes": "b.json"}, None),
        ({"sources": True, "count": 1}, None),
        ({**MASKS, "min_success": 0.5}, None),
        ({"min_success": 0.5}, "min_success: only mode optimize"),
        ({"max_reconstruction": 0.5, "count": 1}, "max_reconstruction: sampled images"),
        ({"refine_auto": True, "max_leakage": 0.0}, None),
        ({"refine_auto": True}, "refine auto: expected mode vector and a bound"),
        (
            {"refine_auto": True, "max_leakage": 0.1, "mode": Mode.REFINE},
            "refine auto: expected mode vector and a bound",
        ),
    ],
)
def test_settings_go_together_or_are_refused(settings: dict[str, Any], message: str | None) -> None:
    if message is None:
        made = RunSettings(**settings)
        assert RunSettings.from_json(made.to_json()) == made
    else:
        with pytest.raises(SettingsError, match=f"^{message}"):
            RunSettings(**settings)


@pytest.mark.parametrize(
    ("text", "steps", "target"),
    [("encoder", 0, None), ("steps:7", 7, None), ("target:26.5", 500, 26.5)],
)
def test_embeddings_are_steps_and_targets(text: str, steps: int, target: float | None) -> None:
    found = EmbeddingMethod.parse(text, "W")

    assert (found.num_steps, found.target_psnr, found.space.value) == (steps, target, "W")
