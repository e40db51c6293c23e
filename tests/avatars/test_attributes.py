"""Attributes as exact facts of the parameters."""

import numpy as np
import pytest

from editvec.avatars.drawing import attributes, parameters


def fact(name: str, **values: float) -> bool:
    params = parameters.with_values(parameters.sample(1, seed=4), **values)
    return bool(attributes.present(params)[0, attributes.ATTRIBUTE_NAMES.index(name)])


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("smiling", {"smile": 0.9}, {"smile": 0.0}),
        ("frowning", {"smile": -0.9}, {"smile": 0.0}),
        ("mouth_open", {"mouth_opening": 0.9}, {"mouth_opening": 0.1}),
        ("eyes_closed", {"eye_opening": 0.0}, {"eye_opening": 0.6}),
        ("brows_raised", {"brow_height": 0.9}, {"brow_height": 0.0}),
        ("long_hair", {"hair_length": 0.9}, {"hair_length": 0.3}),
        ("big_nose", {"nose_size": 0.09}, {"nose_size": 0.06}),
        (
            "looking_left",
            {"gaze_x": -0.9, "eye_opening": 0.7},
            {"gaze_x": 0.9, "eye_opening": 0.7},
        ),
        (
            "looking_right",
            {"gaze_x": 0.9, "eye_opening": 0.7},
            {"gaze_x": -0.9, "eye_opening": 0.7},
        ),
    ],
)
def test_attribute_follows_its_parameter(
    name: str, yes: dict[str, float], no: dict[str, float]
) -> None:
    assert fact(name, **yes)
    assert not fact(name, **no)


def test_closed_eyes_look_nowhere() -> None:
    assert not fact("looking_left", gaze_x=-1.0, eye_opening=0.05)


def test_no_attribute_is_rare_or_common_in_the_prior() -> None:
    shares = attributes.present(parameters.sample(5000, seed=6)).mean(axis=0)

    assert np.all(shares > 0.15)
    assert np.all(shares < 0.65)
