"""Vectors of class `tiny` measured alone and together, against plain recomputations."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.pairs.disentangle import (
    Disentanglement,
    disentangle,
    store_disentanglement,
)
from editvec.batch.evaluation.pairs.settings import (
    MAX_VECTORS,
    AskedVector,
    PairSettings,
    pin_parts,
    with_attributes,
)
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.engine.editor import Editor
from editvec.registry.composition.pair_metrics import measured_together
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import EditingVector, NewVector, VectorParcel
from editvec.registry.library.changes import Change
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from editvec.registry.tables.models import VectorRow

Editvec = Callable[..., int]
MakePictures = Callable[..., Path]
Measure = Callable[..., Disentanglement]
Masks = npt.NDArray[np.int64]
WAYS = ("smiling", "not smiling")


@pytest.fixture
def editor(library: Library) -> Editor:
    return Editor.open(library.materialise_bundle(library.get_class("tiny")))


@pytest.fixture
def measure(library: Library, editor: Editor) -> Measure:
    def run(*words: str, attributes: tuple[str, ...] = (), **images: Any) -> Disentanglement:
        asked = [AskedVector.parse(word) for word in words or ("smile", "frown")]
        settings = PairSettings(
            vectors=tuple(with_attributes(asked, attributes)),
            images=EvaluateSettings(**{"samples": 8, **images}),
        )
        parts = pin_parts(library, settings, class_name="tiny")
        return disentangle(library, editor, parts, settings)

    return run


def seen(editor: Editor, library: Library, **scales: float) -> tuple[torch.Tensor, Masks]:
    """Eight samples with vectors added by hand: images, and masks [8, H, W]."""
    ws = editor.sample(8, 0)
    for name, scale in scales.items():
        delta = library.delta(library.get_vector(name, class_name="tiny"))
        ws = ws + scale * torch.from_numpy(delta)
    made = editor.synthesize_with_mask(ws)
    return made.images, made.mask.numpy()


def ious(before: Masks, after: Masks, label: int) -> list[float]:
    """Of one label in each image that shows it."""
    found = []
    for one, other in zip(before == label, after == label, strict=True):
        if (one | other).any():
            found.append((one & other).sum() / (one | other).sum())
    return found


def test_what_moves_is_one_minus_the_iou_of_each_part(
    measure: Measure, editor: Editor, library: Library
) -> None:
    found = measure("smile", "frown=0.5")
    before, alone, both = (
        seen(editor, library, **scales)[1]
        for scales in ({}, {"smile": 1.0}, {"smile": 1.0, "frown": 0.5})
    )

    for label in editor.bundle.labels:
        for effect, after in ((found.alone[0], alone), (found.pairs[0], both)):
            expected = ious(before, after, label.index)
            moved = effect.moved.get(label.name)
            assert (moved is None) == (not expected)
            if moved is not None:
                assert moved.images == len(expected)
                assert moved.value == pytest.approx(1 - np.mean(expected), abs=1e-6)


def test_overlap_and_kept_change_are_those_of_the_changed_pixels(
    measure: Measure, editor: Editor, library: Library
) -> None:
    found = measure().pairs[0]
    before, smile, frown, both = (
        seen(editor, library, **scales)[1]
        for scales in ({}, {"smile": 1.0}, {"frown": 1.0}, {"smile": 1.0, "frown": 1.0})
    )

    changed = [(smile != before), (frown != before)]
    jaccard = [
        (one & other).sum() / (one | other).sum()
        for one, other in zip(*changed, strict=True)
        if (one | other).any()
    ]
    assert found.overlap == pytest.approx(np.mean(jaccard))
    for side, (name, alone) in enumerate((("smile", smile), ("frown", frown))):
        vector = library.get_vector(name, class_name="tiny")
        roi = editor.roi(
            torch.from_numpy(before), torch.from_numpy(alone), vector.roi_labels, vector.dilation
        )[:, 0].numpy()
        inside = changed[side] & roi
        shares = [
            (mine & same).sum() / mine.sum()
            for mine, same in zip(inside, both == alone, strict=True)
            if mine.any()
        ]
        kept = found.change[side]
        assert kept is not None
        assert (kept.count, kept.value) == (len(shares), pytest.approx(np.mean(shares)))


def test_kept_success_counts_the_images_that_succeed_alone(
    measure: Measure, editor: Editor, library: Library
) -> None:
    found = measure(attributes=("smile=not smiling", "frown=eyes_open"), samples=8)
    assert editor.classifier is not None
    names = list(editor.classifier.names)

    for side, (name, attribute, sign) in enumerate(
        (("smile", "smiling", -1), ("frown", "eyes_open", 1))
    ):
        before, alone, both = (
            sign * editor.classifier(seen(editor, library, **scales)[0])[:, names.index(attribute)]
            for scales in ({}, {name: 1.0}, {"smile": 1.0, "frown": 1.0})
        )
        had = (before <= 0) & (alone > 0)
        kept = found.pairs[0].success[side]
        assert (kept is None) == (not had.any())
        if kept is not None:
            assert kept.count == int(had.sum())
            assert kept.value == pytest.approx(float((both[had] > 0).float().mean()))
        success = found.alone[side].success
        assert (success is None) == (not (before <= 0).any())


def test_beside_what_does_nothing_everything_is_kept(library: Library, measure: Measure) -> None:
    model = library.get_class("tiny")
    nothing = np.zeros((model.num_ws, model.w_dim), np.float32)
    nothing[0, 0] = 1e-12
    library.add_vector(NewVector(class_name="tiny", name="none", roi_labels=("hair",)), nothing)

    found = measure("smile", "none", operation="mouth: grow 1").pairs[0]

    change = found.change[0]
    assert change is not None
    assert change.value == 1
    assert found.overlap == 0
    assert found.change[1] is None
    if found.success[0] is not None:
        assert found.success[0].value == pytest.approx(1)


def test_the_operation_is_the_target_of_vectors_without_an_attribute(measure: Measure) -> None:
    found = measure(operation="mouth: grow 1")

    assert [one.purpose for one in found.alone] == ["operation mouth: grow 1"] * 2
    assert all(one.success is not None for one in found.alone)
    assert {one.name.partition(" of ")[0] for one in found.missing} <= {"success left"}


def test_what_a_vector_was_evaluated_for_is_what_it_is_judged_by(
    library: Library, measure: Measure
) -> None:
    known = NewMetric(
        name="success_attribute", value=1.0, settings={"against": "not smiling"}, sample_count=9
    )
    forgotten = NewMetric(name="success_attribute", value=1.0, settings={"against": "tall"})
    library.add_metrics("tiny/smile", [known])
    library.add_metrics("tiny/frown", [forgotten])

    found = measure()

    assert [one.purpose for one in found.alone] == ["not smiling", ""]
    told = {one.name: one.reason for one in found.missing}
    assert "nobody said which attribute" in told["success of tiny/frown@1"]


@pytest.mark.parametrize(
    ("against", "expected"), [("smiling", "not smiling"), ("not smiling", "smiling")]
)
def test_the_other_direction_is_judged_by_the_end_of_the_attribute(
    library: Library, measure: Measure, against: str, expected: str
) -> None:
    known = NewMetric(name="success_attribute", value=1.0, settings={"against": against})
    library.add_metrics("tiny/smile", [known])

    assert [one.purpose for one in measure("smile=-0.5", "frown").alone] == [expected, ""]
    assert measure("smile=2", "frown").alone[0].purpose == against
    told = measure("smile=-1", "frown", attributes=("smile=smiling",))
    assert told.alone[0].purpose == "smiling"


def test_an_evaluation_of_the_other_direction_does_not_say_what_a_vector_is_for(
    library: Library, measure: Measure
) -> None:
    for against, scale in (("smiling", 1.0), ("eyes_open", -1.0)):
        settings = {"against": against, "scale": scale}
        known = NewMetric(name="success_attribute", value=1.0, settings=settings)
        library.add_metrics("tiny/smile", [known])

    assert measure("smile", "frown").alone[0].purpose == "smiling"
    assert measure("smile=-1", "frown").alone[0].purpose == "not smiling"


def test_success_that_leaves_nothing_to_keep_is_told(library: Library, measure: Measure) -> None:
    model = library.get_class("tiny")
    nothing = np.zeros((model.num_ws, model.w_dim), np.float32)
    nothing[0, 0] = 1e-12
    library.add_vector(NewVector(class_name="tiny", name="none", roi_labels=("hair",)), nothing)
    both = [measure("none", "frown", attributes=(f"none={one}",)) for one in WAYS]
    found = next(one for one in both if one.alone[0].success is not None)

    assert found.pairs[0].success[0] is None
    told = {one.name: one.reason for one in found.missing}
    assert "no image in which it succeeds alone" in told["success left of tiny/none@1"]
    assert "success left of tiny/frown@1" not in told

    drawn = measure("none", "frown", operation="mouth: grow 1")
    told = {one.name: one.reason for one in drawn.missing}
    assert drawn.alone[0].success is not None
    assert "comes no nearer to the masks" in told["success left of tiny/none@1"]


def test_what_is_stored_of_a_call_is_stored_at_once(
    library: Library, editor: Editor, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measure()
    before = [library.get_vector(f"tiny/{name}") for name in ("smile", "frown")]
    result, changed = Change.result, []

    def killed(change: Change, row: VectorRow) -> EditingVector:
        changed.append(row.name)
        if row.name == "frown":
            raise KeyboardInterrupt
        return result(change, row)

    with monkeypatch.context() as patch:
        patch.setattr(Change, "result", killed)
        with pytest.raises(KeyboardInterrupt):
            store_disentanglement(library, editor, found)

    assert changed == ["smile", "frown"]
    assert [library.get_vector(f"tiny/{name}") for name in ("smile", "frown")] == before
    assert len(store_disentanglement(library, editor, found)) == 2


def test_a_painted_vector_is_measured_as_far_as_it_can_be(
    library: Library, measure: Measure
) -> None:
    painted = np.zeros((32, 32), bool)
    painted[8:20, 8:20] = True
    new = NewVector(class_name="tiny", name="dot", roi_labels=(), roi_policy="brush")
    delta = library.delta(library.get_vector("smile", class_name="tiny"))
    library.add_vectors([VectorParcel(new=new, delta=-delta, brush_png=encode_brush(painted))])

    found = measure("dot", "frown", operation="mouth: grow 1")

    assert found.alone[0].moved
    assert found.alone[0].success is None
    assert found.pairs[0].change[0] is not None
    assert "only a brush" in found.missing[0].reason


def test_the_command_stores_what_it_prints_and_compose_tells_of_it(
    run_editvec: Editvec, library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "pairs.html"
    words = ("smile", "frown", "--samples", 8, "--device", "cpu")

    assert run_editvec("disentangle", *words, "--html", page, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert run_editvec("disentangle", *words) == 0
    shown = capsys.readouterr().out
    composing = ("--term", "smile=1", "--term", "frown=1", "--dry-run")
    assert run_editvec("registry", "compose", "mix", *composing) == 0
    composed = capsys.readouterr().out

    smile, frown = (library.get_vector(name) for name in ("smile", "frown"))
    held = measured_together(smile, frown)
    assert held is not None
    assert held.overlap == told["pairs"][0]["overlap"]
    assert held.change is not None
    assert held.change.value == told["pairs"][0]["kept_change"][0]["value"]
    assert measured_together(frown, smile) is not None
    assert "(* in the vector's ROI)" in shown
    assert f"{held.overlap:.2f}" in shown
    assert "success of tiny/smile@1: nobody said" in shown
    assert "TOGETHER AT" in composed
    assert f"{100 * held.change.value:.0f} % of its change" in composed
    reader = _Page()
    reader.feed(page.read_text())
    assert all(one.startswith("data:image/") for one in reader.references)
    assert len(reader.references) == 4 * 4


class _Page(HTMLParser):
    """Whatever a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]


def test_all_vectors_of_a_class_are_measured_in_pairs(
    run_editvec: Editvec, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--all", "--class", "tiny", "--samples", 2, "--device", "cpu", "--json")
    assert run_editvec("disentangle", *words) == 0

    told = json.loads(capsys.readouterr().out)
    assert {one["address"] for one in told["vectors"]} == {"tiny/smile@1", "tiny/frown@1"}
    assert told["pairs"][0]["kept_change"][0]["interval"] is None


def test_pictures_of_another_class_can_be_left_out(
    measure: Measure, make_pictures: MakePictures
) -> None:
    source = make_pictures(3)
    far = measure(probe=source)
    distance = 1e-9

    assert far.measured.psnr
    assert len(far.measured.names) == 3
    with pytest.raises(SettingsError, match="hardly of class tiny"):
        measure(probe=source, max_reconstruction=distance)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("smile",), f"expected 2 to {MAX_VECTORS} vectors, got 1"),
        (("smile", "frown", "smile@1"), "tiny/smile@1 is given twice"),
        (("smile=0", "frown"), "expected a scale other than 0"),
    ],
)
def test_what_makes_no_pairs_is_refused(
    measure: Measure, words: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        measure(*words)


@pytest.mark.parametrize(
    ("attribute", "complaint"),
    [
        ("smiling", "expected NAME=ATTRIBUTE, got 'smiling'"),
        ("wink=smiling", "'wink' is none of the vectors"),
        ("smile=sad", "expected one of smiling, eyes_open"),
    ],
)
def test_purposes_that_nobody_has_are_refused(
    measure: Measure, attribute: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        measure(attributes=(attribute,))


def test_vectors_of_two_classes_are_refused(
    library: Library, tmp_path: Path, make_tiny_bundle: Callable[..., Path],
    run_editvec: Editvec, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = library.add_bundle(make_tiny_bundle(tmp_path / "b", seed=1, class_name="other"))
    delta = np.ones((model.num_ws, model.w_dim), np.float32)
    library.add_vector(NewVector(class_name="other", name="nod", roi_labels=("hair",)), delta)

    assert run_editvec("disentangle", "tiny/smile", "other/nod", "--device", "cpu") == 1

    said = capsys.readouterr().err
    assert "tiny/smile@1 and other/nod@1 differ in class: tiny and other" in said
    assert said.count("\n") == 1


def test_neither_vectors_nor_all_is_a_wrong_command_line(
    run_editvec: Editvec, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_editvec("disentangle") == 2
    assert run_editvec("disentangle", "smile", "frown", "--all") == 2
    assert "give either vectors or --all" in capsys.readouterr().err
