"""The label schemes that come with the program, against what their publications say."""

import pytest

from editvec.registry.errors import SchemeError
from editvec.registry.labels.files import known_schemes, read_scheme


def test_every_known_scheme_is_read() -> None:
    sizes = {name: len(read_scheme(name).labels) for name in known_schemes()}

    assert sizes == {"celebamask-hq": 19, "datasetgan-face": 34, "editgan-car": 32}
    for name in sizes:
        scheme = read_scheme(name)
        assert scheme.label_names[0] == "background"
        assert len({label.color for label in scheme.labels}) == len(scheme.labels)
        for group in scheme.all_groups:
            assert len(scheme.expand([group])) > 1
    with pytest.raises(SchemeError, match="celebamask-hq, datasetgan-face, editgan-car"):
        read_scheme("editgan-horse")


@pytest.mark.parametrize(
    ("name", "parts", "indices"),
    [
        # ROI lists of EditGAN's program
        ("editgan-car", ["frontlight"], (4, 5)),
        ("editgan-car", ["wheel"], (21, 22, 24, 25, 26, 27)),
        ("editgan-car", ["licenseplate"], (13, 14)),
        ("editgan-car", ["mirror"], (16,)),
        ("editgan-car", ["windshield", "back_bumper", "hoods"], (1, 12, 31)),
        ("datasetgan-face", ["wrinkles", "pupil", "hair", "teeth"], (10, 17, 24, 33)),
        ("datasetgan-face", ["eye"], (7, 8, 9, 10, 11, 12, 13)),
        ("celebamask-hq", ["eye_g", "hair", "cloth"], (3, 13, 18)),
        ("celebamask-hq", ["whole_mouth"], (10, 11, 12)),
    ],
)
def test_parts_have_their_published_indices(
    name: str, parts: list[str], indices: tuple[int, ...]
) -> None:
    assert read_scheme(name).indices(parts) == indices


def test_cars_fill_the_middle_of_their_square() -> None:
    scheme = read_scheme("editgan-car")

    assert (scheme.resolution, scheme.rectangle) == (512, (64, 0, 448, 512))


def test_celebamask_colours_are_those_of_its_masks() -> None:
    scheme = read_scheme("celebamask-hq")

    assert scheme.index_of_color[(204, 0, 0)] == 1  # skin
    assert scheme.index_of_color[(0, 0, 204)] == 13  # hair
    assert scheme.index_of_color[(0, 204, 0)] == 18  # cloth
    assert scheme.index_of_name["left_eye"] == scheme.label_names.index("l_eye")
