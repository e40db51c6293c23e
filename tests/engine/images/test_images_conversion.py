"""Masks as files, fitting to the square, and conversion between pixels and images."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from editvec.engine.errors import EngineMaskError, EngineSettingsError, ShapeError
from editvec.engine.images.images import (
    crop_box,
    fit_pixels,
    read_mask,
    resize_mask,
    to_images,
    to_pixels,
    write_mask,
)

Array = npt.NDArray[np.uint8]


def draw_pixels(height: int = 24, width: int = 32) -> Array:
    """A smooth picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 7, y * 9, (x * y) // 4], axis=2).clip(0, 255).astype(np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


# ---------------------------------------------------------------------------------------------
# Masks.


def test_masks_keep_their_indices(tmp_path: Path) -> None:
    labels = (np.arange(64).reshape(8, 8) % 5).astype(np.uint8)
    palette = Image.fromarray(labels)
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200, 7, 7, 7])
    wide = labels.astype(np.uint16) * 300

    for path, expected in (
        (save(tmp_path / "p.png", palette), labels),
        (save(tmp_path / "l.png", Image.fromarray(labels)), labels),
        (save(tmp_path / "w.png", Image.fromarray(wide)), wide),
        (save(tmp_path / "t.tiff", Image.fromarray(wide)), wide),
    ):
        mask = read_mask(path)
        assert mask.dtype == np.int32
        assert np.array_equal(mask, expected), path.name


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_a_mask_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", Image.new(mode, (8, 8)))

    with pytest.raises(EngineMaskError, match=f"expected label indices .* got mode {mode}"):
        read_mask(path)


def test_a_mask_in_a_lossy_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("L", (8, 8)))

    with pytest.raises(
        EngineMaskError, match=r"not a picture in a format that is read \(PNG, TIFF\)"
    ):
        read_mask(path)


def test_a_rotated_mask_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", Image.new("L", (8, 8)), exif=exif)

    with pytest.raises(EngineMaskError, match="without EXIF orientation"):
        read_mask(path)


@pytest.mark.parametrize(("count", "mode"), [(11, "P"), (256, "P"), (257, "I;16")])
def test_written_masks_read_back_equal(tmp_path: Path, count: int, mode: str) -> None:
    colors = [(index % 256, index // 2 % 256, 255 - index % 256) for index in range(count)]
    labels = np.random.default_rng(0).integers(0, count, (19, 23))
    path = tmp_path / "mask.png"

    write_mask(path, labels, colors=colors)

    with Image.open(path) as image:
        assert image.mode == mode
        if mode == "P":
            shown = np.asarray(image.convert("RGB"))
            assert np.array_equal(shown, np.array(colors, np.uint8)[labels])
    assert np.array_equal(read_mask(path), labels)


def test_labels_without_a_colour_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(EngineMaskError, match="expected labels 0 to 1, got 0 to 2"):
        write_mask(tmp_path / "a.png", np.array([[0, 2]]), colors=[(0, 0, 0), (1, 1, 1)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resolution", [1, 5, 8, 16, 21])
def test_resized_masks_hold_the_label_under_each_pixel_centre(resolution: int) -> None:
    mask = np.random.default_rng(0).integers(0, 9, (8, 13))

    resized = resize_mask(mask, resolution)

    for row in range(resolution):
        for column in range(resolution):
            y = int((row + 0.5) / resolution * 8)
            x = int((column + 0.5) / resolution * 13)
            assert resized[row, column] == mask[y, x]


# ---------------------------------------------------------------------------------------------
# Sizes and ranges.


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    pixels = draw_pixels(16, 16)

    fitted = fit_pixels(pixels, 16)

    assert np.array_equal(fitted, pixels)
    assert fitted is not pixels


def test_crop_takes_the_middle_square() -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 200

    assert crop_box(20, 60) == (0, 20, 20, 40)
    assert (fit_pixels(pixels, 20, fit="crop") == 200).all()
    assert (fit_pixels(pixels.transpose(1, 0, 2), 20, fit="crop") == 200).all()


def test_pad_keeps_the_shape_and_adds_black_bars() -> None:
    pixels = np.full((10, 40, 3), 99, np.uint8)

    fitted = fit_pixels(pixels, 16, fit="pad")

    assert fitted[:, :, 0].tolist() == [[0] * 16] * 6 + [[99] * 16] * 4 + [[0] * 16] * 6


def test_stretch_fills_the_square_without_aliasing() -> None:
    stripes = np.zeros((64, 256, 3), np.uint8)
    stripes[:, ::2] = 200

    fitted = fit_pixels(stripes, 32)

    assert fitted.shape == (32, 32, 3)
    assert np.abs(fitted.astype(int) - 100).max() <= 8


def test_images_and_pixels_are_exact_inverses() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)

    images = to_images(list(pixels))

    assert images.dtype == torch.float32
    assert images.shape == (1, 3, 16, 16)
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    assert np.array_equal(to_pixels(images), pixels)


def test_images_beyond_the_range_are_clipped_and_rounded() -> None:
    values = torch.tensor([-7.0, -1.0, 0.0, 0.003, 1.0, 7.0])

    pixels = to_pixels(values.view(1, 1, 1, 6).expand(-1, 3, -1, -1))

    assert pixels[0, 0, :, 0].tolist() == [0, 0, 128, 128, 255, 255]


def test_wrong_pixels_are_refused_by_name() -> None:
    pixels = draw_pixels()

    with pytest.raises(ShapeError, match="pixels: expected at least one"):
        to_images([])
    with pytest.raises(ShapeError, match=r"pixels: expected .* throughout"):
        to_images([pixels, pixels[:5]])
    with pytest.raises(ShapeError, match=r"pixels: expected uint8 \[H, W, 3\], got float64"):
        to_images([pixels.astype(float)])  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="images: expected floating"):
        to_pixels(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(EngineSettingsError, match="fit: expected stretch, crop or pad, got 'zoom'"):
        fit_pixels(pixels, 16, fit="zoom")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="mask: expected integers"):
        resize_mask(np.zeros((4, 4)), 8)  # type: ignore[arg-type]
