"""Compositions of a library: what is stored, and what is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.registry.composition import sums
from editvec.registry.composition.compose import recompute, union_roi
from editvec.registry.composition.sums import WeightedDelta, exact_sum, to_float32
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import (
    Condition,
    EditingVector,
    FloatArray,
    Kind,
    LatentSpace,
    NewTerm,
    RoiPolicy,
    TermRole,
    VectorParcel,
)
from editvec.registry.errors import (
    CompatibilityError,
    CompositionError,
    ConflictError,
    LabelNotFoundError,
    RecordError,
    RegistryError,
    RetiredVectorError,
)
from editvec.registry.labels.label import Label
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import decode_brush, encode_brush
from editvec.registry.sharing.exchange import export_library, import_library
from tests.support.registry_fixtures import (
    NUM_WS,
    RESOLUTION,
    W_DIM,
    new_vector,
    random_delta,
    rewrite_manifest,
)


def _sum(terms: Sequence[WeightedDelta]) -> FloatArray:
    return to_float32(exact_sum(terms))


def term(address: str, scale: float = 1.0, rows: slice | None = None) -> NewTerm:
    """A term; `rows` as a slice."""
    return NewTerm(address=address, scale=scale, row_mask=None if rows is None else mask_of(rows))


def mask_of(rows: slice) -> tuple[bool, ...]:
    return tuple(row in range(NUM_WS)[rows] for row in range(NUM_WS))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture
def faces(sqlite_library: Library) -> Library:
    """A library with three vectors that are neither parallel nor orthogonal."""
    parts = {"smile": ("mouth", "teeth"), "frown": ("mouth",), "look": ("eye",)}
    for seed, (name, labels) in enumerate(parts.items()):
        delta = random_delta(seed) + random_delta(99)
        sqlite_library.add_vector(new_vector(name, roi_labels=labels), delta)
    return sqlite_library


# --- conditions ---


def test_condition_is_projected_out_and_stored_with_its_role(library: Library) -> None:
    smile = library.add_vector(new_vector("smile"), random_delta(0))
    frown = library.add_vector(new_vector("frown", roi_labels=("eye",)), random_delta(1))

    calm = library.compose("calm", [term("smile")], conditions=[Condition(address="frown")])

    assert [(one.address, one.role) for one in calm.terms] == [
        (smile.address, TermRole.SUM),
        (frown.address, TermRole.CONDITION),
    ]
    n, b = random_delta(0).astype(float).ravel(), random_delta(1).astype(float).ravel()
    assert calm.terms[1].scale == pytest.approx(-(n @ b) / (b @ b), rel=1e-12)
    assert cosine(library.delta(calm), random_delta(1)) == pytest.approx(0, abs=1e-6)
    assert calm.roi_labels == smile.roi_labels  # what is taken out may not change
    assert library.get_vector(calm.address) == calm
    assert recompute(library, calm).tobytes() == library.delta(calm).tobytes()


def test_condition_counts_on_its_rows_only(faces: Library) -> None:
    calm = faces.compose(
        "calm",
        [term("smile")],
        conditions=[Condition(address="frown", row_mask=mask_of(slice(2, 5)))],
    )

    smile, frown = (faces.delta(faces.get_vector(name)) for name in ("smile", "frown"))
    result = faces.delta(calm)
    assert cosine(result[2:5], frown[2:5]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(result[[0, 1, 5]], smile[[0, 1, 5]])
    assert calm.terms[1].row_mask == mask_of(slice(2, 5))


def test_projection_stays_in_the_rows_of_the_sum(faces: Library) -> None:
    upper = slice(0, 3)

    calm = faces.compose(
        "calm", [term("smile", rows=upper)], conditions=[Condition(address="frown")]
    )

    assert calm.row_mask == calm.terms[1].row_mask == mask_of(upper)
    frown = faces.delta(faces.get_vector("frown"))
    assert cosine(faces.delta(calm), frown) == pytest.approx(0, abs=1e-6)


def test_condition_without_a_row_of_the_sum_takes_nothing_and_is_reported(faces: Library) -> None:
    planned = faces.plan_composition(
        [term("smile", rows=slice(0, 3))],
        conditions=[Condition(address="frown", row_mask=mask_of(slice(3, 6)))],
    )

    assert planned.terms[1].scale == 0.0
    assert planned.terms[1].row_mask == mask_of(slice(3, 6))
    assert planned.report.conflicts == (
        "avatars/frown@1: there is nothing of it in the sum that could be projected out",
    )


def test_condition_that_is_given_twice_counts_once(faces: Library) -> None:
    once = faces.plan_composition([term("smile")], conditions=[Condition(address="frown")])
    twice = faces.plan_composition(
        [term("smile")], conditions=[Condition(address="frown"), Condition(address="frown@1")]
    )

    assert twice.terms == once.terms


def test_projected_composition_travels_to_another_library(
    faces: Library, bundle: Path, tmp_path: Path
) -> None:
    calm = faces.compose("calm", [term("smile")], conditions=[Condition(address="frown")])
    export_library(faces, tmp_path / "calm.zip", [calm.address])

    with Library.open(RegistryConfig.for_home(tmp_path / "other home")) as other:
        other.add_bundle(bundle)
        other.add_vector(new_vector("frown"), random_delta(7))  # so that frown becomes version 2
        import_library(other, tmp_path / "calm.zip")
        imported = other.get_vector("calm")

        assert [(one.address, one.role) for one in imported.terms] == [
            ("avatars/smile@1", TermRole.SUM),
            ("avatars/frown@2", TermRole.CONDITION),
        ]
        assert other.delta(imported).tobytes() == faces.delta(calm).tobytes()
        assert recompute(other, imported).tobytes() == faces.delta(calm).tobytes()


def test_composition_is_a_condition_too(faces: Library) -> None:
    mix = faces.compose("mix", [term("frown"), term("look", -0.5)])

    planned = faces.plan_composition([term("smile")], conditions=[Condition(address="mix")])

    assert cosine(planned.delta, faces.delta(mix)) == pytest.approx(0, abs=1e-6)


def test_projected_composition_is_a_term_like_any_other(faces: Library) -> None:
    calm = faces.compose("calm", [term("smile")], conditions=[Condition(address="frown")])

    twice = faces.compose("twice", [term("calm", 2.0)])

    np.testing.assert_allclose(faces.delta(twice), 2 * faces.delta(calm), rtol=1e-6)
    assert recompute(faces, twice).tobytes() == faces.delta(twice).tobytes()


def test_projection_that_leaves_nothing_is_refused(faces: Library) -> None:
    with pytest.raises(CompositionError, match="cancel to zero, because nothing of them is left"):
        faces.compose("none", [term("smile", 3.0)], conditions=[Condition(address="smile")])


def test_tiny_condition_is_projected_out_like_a_large_one(faces: Library) -> None:
    tiny = faces.delta(faces.get_vector("frown")) * np.float32(1e-25)
    faces.add_vector(new_vector("tiny"), tiny)

    of_tiny = faces.compose("a", [term("smile")], conditions=[Condition(address="tiny")])
    of_large = faces.compose("b", [term("smile")], conditions=[Condition(address="frown")])

    np.testing.assert_allclose(faces.delta(of_tiny), faces.delta(of_large), atol=1e-6)
    assert recompute(faces, of_tiny).tobytes() == faces.delta(of_tiny).tobytes()


# --- sums ---


def test_sum_of_nothing_or_of_different_shapes_is_refused() -> None:
    with pytest.raises(CompositionError, match="one term at least"):
        _sum([])
    with pytest.raises(CompositionError, match="different shapes"):
        _sum([WeightedDelta(np.ones((4, 3), "f4"), 1.0), WeightedDelta(np.ones((4, 2), "f4"), 1.0)])
    with pytest.raises(CompositionError, match="finite scale"):
        _sum([WeightedDelta(np.ones((4, 3), "f4"), float("nan"))])
    with pytest.raises(CompositionError, match=r"scale 1e\+300 is too large"):
        _sum([WeightedDelta(np.full((4, 3), 1e30, "f4"), 1e300)])
    with pytest.raises(CompositionError, match="too large for float32"):
        _sum([WeightedDelta(np.full((4, 3), 3e38, "f4"), 2.0)])
    with pytest.raises(CompositionError, match="row mask of 4 rows, got 1"):
        _sum([WeightedDelta(np.ones((4, 3), "f4"), 1.0, (True,))])


def test_what_rounding_leaves_of_a_difference_is_no_vector(faces: Library) -> None:
    rounded = faces.delta(faces.get_vector("smile")) * (1 + np.finfo(np.float32).eps)
    faces.add_vector(new_vector("same"), rounded)

    with pytest.raises(CompositionError, match="cancel to zero"):
        faces.plan_composition([term("smile"), term("same", -1.0)])
    with pytest.raises(CompositionError, match="cancel to zero"):
        faces.plan_composition([term("smile", 0.1), term("smile", 0.2), term("smile", -0.3)])


def test_sum_that_float32_cannot_hold_is_refused(faces: Library) -> None:
    faces.add_vector(new_vector("tiny"), random_delta() * np.float32(1e-38))
    faces.add_vector(new_vector("huge"), random_delta() * np.float32(1e37))

    with pytest.raises(CompositionError, match="too small for float32"):
        faces.plan_composition([term("tiny", 1e-20)])
    with pytest.raises(CompositionError, match="too large for float32"):
        faces.plan_composition([term("huge", 1e9)])


def test_compositions_that_double_with_every_level_are_refused_in_time(
    faces: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "MAX_LEAVES", 60)
    halves = [slice(0, 3), slice(0, 4)]
    name = "smile"
    for level in range(5):  # 2, 6, 14, 30, 62 terms of terms
        parts = [term(name, 0.5, rows=rows) for rows in halves]
        name = faces.compose(f"level-{level}", parts).name

    with pytest.raises(CompositionError, match="level-4@1 is made of more than 60 terms"):
        faces.plan_composition([term(name)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "expected one term at least"),
        ([NewTerm(address="smile", scale=float("nan"))], "scale nan is beyond 1e"),
        ([NewTerm(address="smile", scale=1e300)], r"term smile: scale 1e\+300 is beyond 1e\+09"),
        ([NewTerm(address="smile", scale=1, row_mask=(True,))], "expected a row mask of 6 rows"),
        ([NewTerm(address="smile", scale=1, row_mask=(False,) * 6)], "with one true at least"),
        ([NewTerm(address="smile", scale=1, role=TermRole.CONDITION)], "expected a summand"),
        ([NewTerm(address="smile", scale=0)], "cancel to zero"),
    ],
)
def test_bad_term_is_refused_in_one_line(
    faces: Library, wrong: list[NewTerm], message: str
) -> None:
    with pytest.raises(CompositionError, match=message) as caught:
        faces.plan_composition(wrong)

    assert "\n" not in str(caught.value)


def test_role_that_is_none_is_refused(faces: Library) -> None:
    strange: Any = NewTerm(address="smile", scale=1.0, role="spectator")  # type: ignore[arg-type]

    with pytest.raises(RecordError, match="expected one of sum, condition, got 'spectator'"):
        faces.add_vector(new_vector("x", kind=Kind.COMPOSED), random_delta(7), terms=[strange])


# --- names, versions, classes ---


def test_own_earlier_version_is_a_term(faces: Library) -> None:
    louder = faces.compose("smile", [term("smile", 2.0)])

    assert louder.address == "avatars/smile@2"
    assert louder.terms[0].address == "avatars/smile@1"
    again = faces.compose("smile", [term("smile", 2.0)])
    assert (again.address, again.terms[0].address) == ("avatars/smile@3", "avatars/smile@2")


def test_version_made_of_itself_is_refused(faces: Library) -> None:
    faces.compose("grin", [term("smile", 2.0)])

    with pytest.raises(CompositionError, match="cannot be made of itself; without '@1' it becomes"):
        faces.compose("smile@1", [term("smile", 2.0)])
    with pytest.raises(CompositionError, match="cannot be made of itself"):
        faces.compose("smile@1", [term("grin"), term("look")])
    with pytest.raises(CompositionError, match="cannot be made of itself"):
        faces.compose("frown@1", [term("smile")], conditions=[Condition(address="frown")])


def test_taken_version_is_a_conflict(faces: Library) -> None:
    with pytest.raises(ConflictError, match="version holds other content"):
        faces.compose("look@1", [term("smile", 2.0)])


def test_equal_composition_answers_with_the_version_that_holds_it(faces: Library) -> None:
    planned = faces.plan_composition([term("smile"), term("look")])
    first = faces.add_composition("mix", planned)
    second = faces.add_composition("mix", planned)

    assert (first.is_new, second.is_new) == (True, False)
    assert first.vector == second.vector


def test_address_of_another_class_than_the_terms_is_refused_with_both_names(
    faces: Library, make_bundle: Callable[..., Path]
) -> None:
    faces.add_bundle(make_bundle("cars", name="car"))

    with pytest.raises(CompatibilityError, match="expected terms of class car, got class avatars"):
        faces.compose("car/x", [term("avatars/smile")])


def test_class_name_says_whose_terms_are_meant(
    faces: Library, make_bundle: Callable[..., Path]
) -> None:
    """Both classes have vectors of these names."""
    faces.add_bundle(make_bundle("cars", name="car"))
    for seed, name in enumerate(("smile", "frown"), start=20):
        faces.add_vector(new_vector(name, class_name="car"), random_delta(seed))
    terms, conditions = [term("smile", 0.5)], [Condition(address="frown")]

    def made_of(address: str, class_name: str | None) -> tuple[str, list[str]]:
        mix = faces.compose(address, terms, conditions=conditions, class_name=class_name)
        planned = faces.plan_composition(terms, conditions=conditions, class_name=mix.class_name)
        assert faces.delta(mix).tobytes() == planned.delta.tobytes()
        return mix.address, [one.address for one in mix.terms]

    of_cars, of_avatars = ([f"{one}/smile@1", f"{one}/frown@1"] for one in ("car", "avatars"))
    assert made_of("one", "car") == ("car/one@1", of_cars)
    assert made_of("one", "avatars") == ("avatars/one@1", of_avatars)
    assert made_of("car/two", None) == ("car/two@1", of_cars)
    assert made_of("avatars/three", "car") == ("avatars/three@1", of_avatars)
    with pytest.raises(RegistryError, match="class"):
        faces.compose("four", terms)


def test_scale_at_the_limit_is_taken_and_beyond_it_refused(faces: Library) -> None:
    for scale in (1e9, -1e9):
        assert faces.plan_composition([term("smile", scale)]).terms[0].scale == scale
    for scale in (2e9, -2e9, np.nextafter(1e9, 2e9), np.nextafter(-1e9, -2e9), -np.inf):
        with pytest.raises(CompositionError, match=r"term smile: scale .* is beyond 1e\+09"):
            faces.plan_composition([term("look"), term("smile", float(scale))])


def test_retired_term_or_condition_is_refused(faces: Library) -> None:
    mix = faces.compose("mix", [term("smile"), term("look")])
    faces.retire("smile@1", reason="too much teeth")

    with pytest.raises(RetiredVectorError, match=r"term smile@1: avatars/smile@1 is retired"):
        faces.compose("x", [term("smile@1")])
    with pytest.raises(RetiredVectorError, match="condition smile@1"):
        faces.compose("x", [term("look")], conditions=[Condition(address="smile@1")])
    assert faces.compose("louder", [term("mix", 2.0)]).terms[0].address == mix.address


def test_composition_of_other_bundles_with_one_generator_takes_the_newest_class(
    faces: Library, make_bundle: Callable[..., Path]
) -> None:
    folder = make_bundle("better")
    manifest = json.loads((folder / "bundle.json").read_text())
    rewrite_manifest(folder, {**manifest, "description": "better labels"})
    newer = faces.add_bundle(folder)
    faces.add_vector(new_vector("new", class_name=newer.address), random_delta(8))

    planned = faces.plan_composition([term("smile"), term("new")])

    assert planned.model.address == newer.address == "avatars@2"
    assert planned.report.conflicts == (
        "avatars/smile@1 is of class avatars@1 and avatars/new@1 of avatars@2: one generator, but "
        "other networks or parts",
    )


def test_terms_of_a_stored_composition_must_be_of_its_class(
    faces: Library, make_bundle: Callable[..., Path]
) -> None:
    faces.add_bundle(make_bundle("cars", name="car"))
    faces.add_vector(new_vector("wheel", class_name="car"), random_delta(5))

    with pytest.raises(
        CompatibilityError, match="expected terms of class avatars, car/wheel is of"
    ):
        faces.add_vector(
            new_vector("mix", kind=Kind.COMPOSED), random_delta(6), terms=[term("car/wheel")]
        )


# --- regions ---


def test_union_of_rois_is_in_the_order_of_the_scheme() -> None:
    labels = [Label(place, name, (0, 0, 0)) for place, name in enumerate("abcd")]

    assert union_roi([("d", "b"), ("a", "b")], labels) == ("a", "b", "d")
    with pytest.raises(CompositionError, match="no part e"):
        union_roi([("d", "e")], labels)


def test_region_is_the_union_or_what_is_asked_for(faces: Library) -> None:
    both = [term("look"), term("smile")]

    assert faces.compose("mix", both).roi_labels == ("mouth", "teeth", "eye")
    assert faces.compose("mix", both, roi_labels=["eye"]).roi_labels == ("eye",)
    with pytest.raises(LabelNotFoundError, match="no part 'nose'"):
        faces.compose("mix", both, roi_labels=["nose"])


def painted(rows: slice) -> np.ndarray:
    region = np.zeros((RESOLUTION, RESOLUTION), bool)
    region[rows, 2:4] = True
    return region


def add_brushed(library: Library, name: str, policy: RoiPolicy, rows: slice) -> EditingVector:
    parcel = VectorParcel(
        new=new_vector(name, roi_policy=policy),
        delta=random_delta(len(name)),
        brush_png=encode_brush(painted(rows)),
    )
    return library.add_vectors([parcel])[0].vector


def test_brushes_of_terms_are_united(faces: Library) -> None:
    add_brushed(faces, "dimple", RoiPolicy.BRUSH, slice(0, 4))
    add_brushed(faces, "freckles", RoiPolicy.BRUSH, slice(8, 12))

    mix = faces.compose("mix", [term("dimple"), term("freckles")])
    with_labels = faces.compose("with-labels", [term("dimple"), term("smile")])
    by_labels = faces.compose("by-labels", [term("dimple")], roi_labels=["mouth"])

    assert mix.roi_policy is RoiPolicy.BRUSH
    region = decode_brush(faces.blobs.get(mix.brush_digest or ""), faces.get_class())
    np.testing.assert_array_equal(region, painted(slice(0, 4)) | painted(slice(8, 12)))
    assert with_labels.roi_policy is RoiPolicy.UNION
    assert (by_labels.roi_policy, by_labels.brush_digest) == (RoiPolicy.LABELS, None)


# --- spaces ---


def test_sum_in_w_stays_in_w_until_its_rows_differ(faces: Library) -> None:
    for seed, name in enumerate(("older", "wider")):
        rows = np.repeat(random_delta(seed)[:1], NUM_WS, axis=0)
        faces.add_vector(new_vector(name, latent_space="W"), rows)

    both = faces.compose("both", [term("older"), term("wider", 0.5)])
    upper = faces.compose("upper", [term("older"), term("wider", rows=slice(0, 3))])
    part = faces.compose("part", [term("older", rows=slice(0, 3))])

    assert both.latent_space is LatentSpace.W
    assert upper.latent_space is LatentSpace.W_PLUS
    assert part.latent_space is LatentSpace.W


@pytest.mark.parametrize(("space", "columns"), [("Z", W_DIM), ("S", 40)])
def test_vectors_of_one_row_are_composed_within_their_space(
    faces: Library, space: str, columns: int
) -> None:
    deltas = np.random.default_rng(0).normal(size=(2, 1, columns)).astype(np.float32)
    for name, delta in zip(("one", "other"), deltas, strict=True):
        faces.add_vector(new_vector(name, latent_space=space), delta)

    mix = faces.compose("mix", [term("one")], conditions=[Condition(address="other")])

    assert (mix.latent_space, mix.num_ws, mix.w_dim) == (space, 1, columns)
    assert cosine(faces.delta(mix), deltas[1]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(CompatibilityError, match="differ in latent space"):
        faces.compose("x", [term("one"), term("smile")])


def test_style_channels_must_be_as_many(faces: Library) -> None:
    faces.add_vector(new_vector("one", latent_space="S"), np.ones((1, 40), np.float32))
    faces.add_vector(new_vector("other", latent_space="S"), np.ones((1, 41), np.float32))

    with pytest.raises(CompatibilityError, match=r"differ in shape: \[1, 40\] and \[1, 41\]"):
        faces.plan_composition([term("one"), term("other")])
