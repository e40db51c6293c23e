import pytest

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import ImageFormat, RunSettings


@pytest.mark.parametrize(
    ("typed", "meant", "suffix"),
    [
        ("png", "png", ".png"),
        ("jpeg", "jpeg:95", ".jpg"),
        ("jpeg:80", "jpeg:80", ".jpg"),
        ("webp", "webp:90", ".webp"),
        ("webp:1", "webp:1", ".webp"),
        ("webp:lossless", "webp:lossless", ".webp"),
    ],
)
def test_a_format_prints_with_its_quality(typed: str, meant: str, suffix: str) -> None:
    assert str(ImageFormat.parse(typed)) == meant
    assert ImageFormat.parse(meant) == ImageFormat.parse(typed)
    assert ImageFormat.parse(typed).suffix == suffix


@pytest.mark.parametrize(
    "text",
    ["", "jpg", "PNG", "png:9", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:lossless", "jpeg:9٣"],
)
def test_another_format_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^format: expected png, jpeg\[:Q\]"):
        ImageFormat.parse(text)


def test_settings_keep_the_quality_that_was_meant() -> None:
    assert RunSettings(image_format="jpeg") == RunSettings(image_format="jpeg:95")
    assert RunSettings(image_format="webp").to_json()["image_format"] == "webp:90"
    with pytest.raises(SettingsError):
        RunSettings(image_format="gif")
