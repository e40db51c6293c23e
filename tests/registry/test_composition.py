"""The laws of composition, and the words it is written in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from registry.codec import decode_latent, encode_latent
from registry.composition import WeightedDelta, parse_term, report_on, union_roi, weighted_sum
from registry.entities import Label
from registry.errors import CompositionError, InvalidNameError

SHAPE = (4, 3)
deltas = hnp.arrays(
    np.float32,
    SHAPE,
    elements=st.floats(-100, 100, width=32),
)
scales = st.floats(-4, 4, allow_nan=False)
row_masks = st.none() | st.tuples(*[st.booleans()] * SHAPE[0])
terms = st.builds(WeightedDelta, deltas, scales, row_masks)


@given(deltas)
def test_one_times_a_vector_is_the_vector(delta: np.ndarray) -> None:
    np.testing.assert_array_equal(weighted_sum([WeightedDelta(delta, 1.0)]), delta)


@given(deltas, scales, row_masks)
def test_a_vector_and_its_negation_cancel_exactly(
    delta: np.ndarray, scale: float, rows: tuple[bool, ...] | None
) -> None:
    both = [WeightedDelta(delta, scale, rows), WeightedDelta(delta, -scale, rows)]

    assert not weighted_sum(both).any()


@given(st.lists(terms, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_does_not_matter(some: list[WeightedDelta], random: object) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    np.testing.assert_array_equal(weighted_sum(shuffled), weighted_sum(some))


@given(deltas, deltas, scales, scales)
def test_scale_distributes(one: np.ndarray, other: np.ndarray, a: float, b: float) -> None:
    over_vectors = weighted_sum([WeightedDelta(one, a), WeightedDelta(other, a)])
    summed = one.astype(np.float64) + other
    over_scales = weighted_sum([WeightedDelta(one, a), WeightedDelta(one, b)])

    np.testing.assert_allclose(over_vectors, a * summed, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(over_scales, (a + b) * one.astype(np.float64), rtol=1e-6, atol=1e-9)


@given(st.lists(terms, min_size=1, max_size=4))
def test_sum_survives_saving_and_loading(some: list[WeightedDelta]) -> None:
    total = weighted_sum(some)

    np.testing.assert_array_equal(decode_latent(encode_latent(total)), total)


@given(st.lists(terms, min_size=1, max_size=4))
def test_sum_equals_the_naive_one(some: list[WeightedDelta]) -> None:
    expected = np.zeros(SHAPE)
    for term in some:
        rows = np.ones(SHAPE[0]) if term.row_mask is None else np.array(term.row_mask, float)
        expected += term.scale * rows[:, None] * term.delta

    np.testing.assert_allclose(weighted_sum(some), expected, rtol=1e-5, atol=1e-5)


def test_sum_of_nothing_or_of_different_shapes_is_refused() -> None:
    with pytest.raises(CompositionError, match="one term at least"):
        weighted_sum([])
    with pytest.raises(CompositionError, match="different shapes"):
        weighted_sum(
            [WeightedDelta(np.ones((4, 3), "f4"), 1.0), WeightedDelta(np.ones((4, 2), "f4"), 1.0)]
        )
    with pytest.raises(CompositionError, match="finite scale"):
        weighted_sum([WeightedDelta(np.ones((4, 3), "f4"), float("nan"))])
    with pytest.raises(CompositionError, match=r"scale 1e\+300 is beyond 1e\+09"):
        weighted_sum([WeightedDelta(np.ones((4, 3), "f4"), 1e300)])
    with pytest.raises(CompositionError, match="too large for float32"):
        weighted_sum([WeightedDelta(np.full((4, 3), 3e38, "f4"), 2.0)])
    with pytest.raises(CompositionError, match="row mask of 4 rows, got 1"):
        weighted_sum([WeightedDelta(np.ones((4, 3), "f4"), 1.0, (True,))])


def test_report_measures_angles_and_lengths() -> None:
    one = np.zeros(SHAPE, np.float32)
    one[0, 0] = 3
    other = np.zeros(SHAPE, np.float32)
    other[0, 1] = 4

    report = report_on(
        ["a/x@1", "a/y@1", "a/x@1"],
        [WeightedDelta(one, 1.0), WeightedDelta(other, 1.0), WeightedDelta(one, -1.0)],
        ("mouth",),
    )

    np.testing.assert_allclose(report.cosines, [[1, 0, -1], [0, 1, 0], [-1, 0, 1]], atol=1e-12)
    assert report.norms == (3.0, 4.0, 3.0)
    assert report.norm == 4.0


def test_union_of_rois_is_in_the_order_of_the_scheme() -> None:
    labels = [Label(place, name, (0, 0, 0)) for place, name in enumerate("abcd")]

    assert union_roi([("d", "b"), ("a", "b")], labels) == ("a", "b", "d")
    with pytest.raises(CompositionError, match="no part e"):
        union_roi([("d", "e")], labels)


def test_terms_are_parsed() -> None:
    plain = parse_term("smile=1")
    versioned = parse_term("avatars/look-left@2=-0.5")
    rows = parse_term("smile[1:3]=0.8", num_ws=4)

    assert (plain.address, plain.scale, plain.row_mask) == ("smile", 1.0, None)
    assert (versioned.address, versioned.scale) == ("avatars/look-left@2", -0.5)
    assert rows.row_mask == (False, True, True, False)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("smile", CompositionError),
        ("smile=", CompositionError),
        ("=1", CompositionError),
        ("smile=big", CompositionError),
        ("smile=nan", CompositionError),
        ("smile=inf", CompositionError),
        ("smile[3:1]=1", CompositionError),
        ("smile[0:5]=1", CompositionError),
        ("smile[1]=1", CompositionError),
        ("a b=1", InvalidNameError),
        ("../smile=1", InvalidNameError),
    ],
)
def test_text_that_is_no_term_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_term(text, num_ws=4)
