"""The usable range of a stored vector: measured later, never without its history."""

import math

import pytest

from editvec.registry.cli.vector_text import details_text
from editvec.registry.errors import RecordError, VectorNotFoundError
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import new_vector, random_delta


@pytest.fixture
def smiling(library: Library) -> Library:
    library.add_vector(new_vector("smile"), random_delta(0))
    return library


def test_a_range_is_kept_and_its_history_too(smiling: Library) -> None:
    smiling.set_scale_range("smile@1", -0.5, 2, reason="on 16 images")
    changed = smiling.set_scale_range("smile@1", -1, 1.5, reason="on 64 images")

    assert (changed.scale_min, changed.scale_max) == (-1, 1.5)
    stored = smiling.get_vector("smile")
    assert (stored.version, stored.scale_min, stored.scale_max) == (1, -1, 1.5)
    told = [one for one in smiling.history("avatars/smile") if one.action == "calibrate"]
    assert [one.reason for one in told] == ["on 16 images", "on 64 images"]
    assert details_text(told[1].details) == "-0.5 to 2 -> -1 to 1.5"


def test_the_same_range_again_writes_nothing(smiling: Library) -> None:
    smiling.set_scale_range("smile", 0, 2)
    smiling.set_scale_range("smile", 0, 2)

    assert [one.action for one in smiling.history("avatars/smile")].count("calibrate") == 1


def test_a_version_stays_the_one_of_its_content(smiling: Library) -> None:
    smiling.set_scale_range("smile", 0, 2)

    again = smiling.add_vector(new_vector("smile"), random_delta(0))

    assert (again.version, again.scale_max) == (1, 2)


@pytest.mark.parametrize(("low", "high"), [(1.5, 2), (-2, 0.5), (2, 0), (math.nan, 2)])
def test_a_range_that_cannot_be_one_is_refused(smiling: Library, low: float, high: float) -> None:
    with pytest.raises(RecordError):
        smiling.set_scale_range("smile", low, high)

    assert smiling.get_vector("smile").scale_max is None


def test_a_range_needs_its_vector(smiling: Library) -> None:
    with pytest.raises(VectorNotFoundError):
        smiling.set_scale_range("frown", 0, 1)
