import pytest

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import EmbeddingMethod, Fit, Mode, RunSettings


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
