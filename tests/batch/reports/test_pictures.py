"""The pictures of a report: an input as the generator saw it, and exactly what changed in it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from editvec.batch.editing.reading import seen_part
from editvec.batch.recipes.boxes import Box
from editvec.batch.reports.pictures import SampleReader
from editvec.engine.images.images import Fit, fit_pixels
from editvec.engine.images.views import see

Pixels = npt.NDArray[np.uint8]


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(folder: Path, *, before: Pixels, after: Pixels) -> dict[str, str]:
    Image.fromarray(before).save(folder / "before.png")
    Image.fromarray(after).save(folder / "after.png")
    return {"source": "before.png", "file_name": "after.png"}


def test_the_share_of_changed_pixels_is_exact(tmp_path: Path) -> None:
    before = noise(32, 32)
    after = before.copy()
    after[4:12, 4:8] = 255 - after[4:12, 4:8]
    after[20, 20] ^= 1  # less than rounding may be
    row = save(tmp_path, before=before, after=after)

    sample = SampleReader(tmp_path, inputs_root=tmp_path, side=64).read(row)

    assert sample.changed is not None
    differs = np.abs(before.astype(int) - after).max(axis=2) > 2
    assert sample.changed.share == differs.mean() == pytest.approx(32 / 1024, abs=0.001)
    shown = np.asarray(sample.changed.picture)
    is_colored = (shown.max(axis=2) - shown.min(axis=2)) > 20
    assert is_colored[8:24, 8:16].mean() > 0.9
    is_colored[8:24, 8:16] = False
    assert not is_colored.any()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_an_input_of_another_shape_is_compared_as_the_generator_saw_it(
    tmp_path: Path, fit: Fit
) -> None:
    before = noise(40, 90)
    row = save(tmp_path, before=before, after=fit_pixels(before, 32, fit=fit))

    sample = SampleReader(tmp_path, inputs_root=tmp_path, side=64, fit=fit).read(row)

    assert sample.changed is not None
    assert sample.changed.share == 0.0
    assert sample.before is not None
    assert sample.before.size == (64, 64)


def test_an_output_at_the_size_of_its_photograph_is_compared_there(tmp_path: Path) -> None:
    before = noise(700, 1100)
    after = before.copy()
    after[:350] = 0
    row = save(tmp_path, before=before, after=after)

    sample = SampleReader(tmp_path, inputs_root=tmp_path, side=64).read(row)

    assert sample.changed is not None
    assert sample.changed.share == pytest.approx(0.5, abs=0.01)


def test_what_a_lossy_format_loses_is_no_change(tmp_path: Path) -> None:
    before = np.asarray(Image.fromarray(noise(4, 4)).resize((64, 64), Image.Resampling.BICUBIC))
    Image.fromarray(before).save(tmp_path / "before.png")
    Image.fromarray(before).save(tmp_path / "after.jpg", quality=90)
    row = {"source": "before.png", "file_name": "after.jpg"}

    sample = SampleReader(tmp_path, inputs_root=tmp_path, side=64, is_lossless=False).read(row)

    assert sample.changed is not None
    assert sample.changed.share < 0.01


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("sides", [(40, 10, 20, 12), (0, 0, 30, 9), (70, 28, 50, 30)])
def test_an_input_with_a_box_is_compared_as_the_generator_saw_it(
    tmp_path: Path, fit: Fit, sides: tuple[float, ...]
) -> None:
    picture, box = noise(40, 90), Box(*sides)
    view = seen_part((40, 90), 32, fit=fit, box=box, box_margin=0.25)
    row = save(tmp_path, before=picture, after=see(picture, view, 32))
    reader = SampleReader(tmp_path, inputs_root=tmp_path, side=64, fit=fit, box_margin=0.25)

    sample = reader.read({**row, "box": list(sides)})
    elsewhere = reader.read({**row, "box": [30, 5, 20, 20]})

    assert sample.changed is not None
    assert sample.changed.share == 0.0
    assert elsewhere.changed is not None
    assert elsewhere.changed.share > 0.5


def test_a_box_that_its_picture_does_not_have_shows_the_picture(tmp_path: Path) -> None:
    row = save(tmp_path, before=noise(40, 90), after=noise(32, 32))

    sample = SampleReader(tmp_path, inputs_root=tmp_path, side=90, box_margin=0.1).read(
        {"source": row["source"], "box": [400, 0, 20, 20]}
    )

    assert sample.before is not None
    assert sample.before.size == (90, 40)


@pytest.mark.parametrize(
    ("named", "title"),
    [
        ({"box_label": "cup/mug", "box_id": "7"}, "before.png (cup-mug 7)"),
        ({"box_label": None, "box_id": None}, "before.png (4, 2.5)"),
    ],
)
def test_objects_of_one_picture_are_told_apart(
    tmp_path: Path, named: dict[str, str], title: str
) -> None:
    row = save(tmp_path, before=noise(40, 90), after=noise(32, 32))
    reader = SampleReader(tmp_path, inputs_root=tmp_path, side=64, box_margin=0.1)

    sample = reader.read({**row, "box": [4.0, 2.5, 20.0, 20.0], **named})

    assert sample.source == title
