import numpy as np

from editvec.batch.editing.gate import rejection
from editvec.batch.recipes.settings import RunSettings


def test_pictures_without_content_are_rejected_with_their_reason() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    images[1] = 0.25
    images[2, 0, 3, 3] = np.nan
    images[3, 1, 0, 0] = np.inf

    reasons = rejection(images, [{}] * 4, RunSettings())

    assert reasons[0] is None
    assert reasons[1] == "the picture is of one colour"
    assert reasons[2] == reasons[3] == "the picture has values that are no numbers"
