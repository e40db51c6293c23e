"""Learning a vector from files: what is stored, what is measured, and what is refused."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import editvec.cli
from editvec.batch.errors import SettingsError
from editvec.batch.learning.jobs import read_jobs
from editvec.batch.learning.learn import learn_vector
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.batch.workbench import Workbench
from editvec.engine.errors import ImageError
from editvec.registry.errors import LabelNotFoundError, MaskError
from editvec.registry.masks.png import decode_mask
from tests.support.mask_pairs import MOUTH, Files, write_files


def _learn(bench: Workbench, request: LearnRequest) -> object:
    return learn_vector(bench.library, bench.editor_for(request.address), request)


def test_vector_pair_and_metrics_are_stored_together(bench: Workbench, files: Files) -> None:
    outcome = learn_vector(
        bench.library, bench.editor_for("tiny/grin"), files.request(roi_labels=("mouth",))
    )

    stored = bench.library.get_vector("tiny/grin@1")
    assert stored == outcome.vector
    assert stored.kind == "learned"
    assert stored.roi_labels == ("mouth",)
    assert stored.settings["num_steps"] == 8
    assert stored.settings["embed"] == "steps:2"
    assert stored.engine_version == f"editvec {version('editvec')}"
    assert stored.kernel_version == "reference"
    assert bench.library.delta(stored).any()
    (pair,) = stored.pairs
    blobs = bench.library.blobs
    assert (decode_mask(blobs.get(pair.mask_after_digest)) == files.mask_after).all()
    assert (decode_mask(blobs.get(pair.mask_before_digest)) == files.mask_before).all()
    assert {metric.name for metric in stored.metrics} == set(outcome.learned.metrics)
    assert all(metric.sample_count == 1 for metric in stored.metrics)


def test_success_and_leakage_are_those_of_the_stored_delta(bench: Workbench, files: Files) -> None:
    outcome = learn_vector(
        bench.library, bench.editor_for("tiny/grin"), files.request(roi_labels=("mouth",))
    )

    # independently, from what was stored and the given mask alone
    editor = bench.editor_for("tiny/grin")
    delta = torch.from_numpy(bench.library.delta(outcome.vector))[None]
    ws = _stored_ws(bench, outcome.vector.pairs[0].source_ws_digest)
    before, after = editor.synthesize_with_mask(ws), editor.synthesize_with_mask(ws + delta)
    roi = _reference_roi(files.mask_before, files.mask_after, outcome.vector.dilation)
    found = after.mask[0].numpy() == MOUTH
    wanted = files.mask_after == MOUTH
    iou = (found & wanted & roi).sum() / ((found | wanted) & roi).sum()
    difference = ((after.images - before.images)[0].clamp(-2, 2).numpy() / 2) ** 2
    psnr = -10 * np.log10(difference[:, ~roi].mean())
    assert outcome.learned.metrics["success_iou"].value == pytest.approx(iou, abs=1e-6)
    assert outcome.learned.metrics["leakage_psnr"].value == pytest.approx(psnr, abs=0.5)


def _stored_ws(bench: Workbench, digest: str | None) -> torch.Tensor:
    from editvec.registry.codec import decode_latent

    assert digest is not None
    return torch.from_numpy(decode_latent(bench.library.blobs.get(digest), of="ws"))[None]


def _reference_roi(
    before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8], dilation: int
) -> npt.NDArray[np.bool_]:
    rows, columns = np.nonzero((before == MOUTH) | (after == MOUTH))
    y, x = np.mgrid[: before.shape[0], : before.shape[1]]
    distance = np.maximum(abs(y[..., None] - rows), abs(x[..., None] - columns)).min(axis=-1)
    near: npt.NDArray[np.bool_] = distance <= dilation
    return near


def test_learning_again_answers_with_the_same_version(bench: Workbench, files: Files) -> None:
    first = learn_vector(bench.library, bench.editor_for("tiny/grin"), files.request())
    again = learn_vector(bench.library, bench.editor_for("tiny/grin"), files.request())

    assert again.vector.address == first.vector.address == "tiny/grin@1"


def test_more_steps_make_the_next_version(bench: Workbench, files: Files) -> None:
    longer = LearnSettings(num_steps=12, embed="steps:2")
    learn_vector(bench.library, bench.editor_for("tiny/grin"), files.request())

    outcome = learn_vector(
        bench.library, bench.editor_for("tiny/grin"), files.request(settings=longer)
    )

    assert outcome.vector.address == "tiny/grin@2"


def test_parts_are_found_from_the_two_masks(bench: Workbench, files: Files) -> None:
    outcome = learn_vector(bench.library, bench.editor_for("tiny/grin"), files.request())

    assert "mouth" in outcome.vector.roi_labels


def test_parts_must_be_given_when_there_is_no_mask_before(bench: Workbench, files: Files) -> None:
    with pytest.raises(SettingsError, match="--roi"):
        _learn(bench, files.request(mask_before=None))


def test_a_missing_mask_before_is_segmented(bench: Workbench, files: Files) -> None:
    outcome = learn_vector(
        bench.library,
        bench.editor_for("tiny/grin"),
        files.request(mask_before=None, roi_labels=("mouth",)),
    )

    digest = outcome.vector.pairs[0].mask_before_digest
    assert decode_mask(bench.library.blobs.get(digest)).shape == files.mask_after.shape


def test_a_larger_picture_is_learned_from_and_kept_at_its_own_size(
    bench: Workbench, files: Files, tmp_path: Path
) -> None:
    def enlarged(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return array.repeat(3, axis=0).repeat(2, axis=1)

    folder = tmp_path / "large"
    folder.mkdir()
    arrays = (files.pixels, files.mask_before, files.mask_after)
    large = write_files(folder, *map(enlarged, arrays))

    outcome = learn_vector(bench.library, bench.editor_for("tiny/grin"), large.request())

    (pair,) = outcome.vector.pairs
    assert decode_mask(bench.library.blobs.get(pair.mask_after_digest)).shape == (96, 64)


def test_of_a_wide_picture_the_middle_square_is_learned_from(
    bench: Workbench, files: Files, tmp_path: Path
) -> None:
    def widened(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        margins = [(0, 0), (6, 7), *[(0, 0)] * (array.ndim - 2)]
        return np.pad(array, margins)

    folder = tmp_path / "wide"
    folder.mkdir()
    wide = write_files(folder, *map(widened, (files.pixels, files.mask_before, files.mask_after)))
    editor = bench.editor_for("tiny/grin")
    square = learn_vector(bench.library, editor, files.request(roi_labels=("mouth",)))

    outcome = learn_vector(
        bench.library, editor, wide.request(roi_labels=("mouth",), mask_before=None)
    )
    exact = learn_vector(bench.library, editor, wide.request(roi_labels=("mouth",)))

    assert exact.vector == square.vector
    digest = outcome.vector.pairs[0].mask_before_digest
    before = decode_mask(bench.library.blobs.get(digest))
    assert (before[:, :6] == wide.mask_after[:, :6]).all()
    editor_mask = editor.synthesize_with_mask(
        _stored_ws(bench, outcome.vector.pairs[0].source_ws_digest)
    ).mask[0]
    assert (before[:, 6:38] == editor_mask.numpy()).all()


def test_progress_is_told_for_both_stages(bench: Workbench, files: Files) -> None:
    seen: list[tuple[str, int, int]] = []

    learn_vector(
        bench.library,
        bench.editor_for("tiny/grin"),
        files.request(),
        on_progress=lambda stage, step, steps: seen.append((stage, step, steps)),
    )

    assert ("embed", 2, 2) in seen
    assert ("learn", 8, 8) in seen


# What is refused, and that nothing stays behind.


def test_an_unknown_label_is_named_with_its_place(bench: Workbench, files: Files) -> None:
    mask = files.mask_after.copy()
    mask[5, 7] = 9
    Image.fromarray(mask).save(files.after)

    with pytest.raises(MaskError, match="value 9 at row 5, column 7"):
        _learn(bench, files.request())

    assert bench.library.find_vectors() == []


def test_a_mask_of_another_size_is_refused_with_both_sizes(bench: Workbench, files: Files) -> None:
    Image.fromarray(files.mask_after[:, :20]).save(files.after)

    with pytest.raises(MaskError, match=r"after\.png: expected 32 x 32 pixels, got 20 x 32"):
        _learn(bench, files.request())


def test_masks_in_the_colours_of_the_class_are_those_of_its_labels(
    bench: Workbench, files: Files
) -> None:
    labels = bench.library.get_class("tiny").labels
    colors = np.array([label.color for label in labels], np.uint8)
    for path, mask in ((files.before, files.mask_before), (files.after, files.mask_after)):
        Image.fromarray(colors[mask]).save(path)

    pair = _learn(bench, files.request()).vector.pairs[0]  # type: ignore[attr-defined]

    for digest, mask in (
        (pair.mask_before_digest, files.mask_before),
        (pair.mask_after_digest, files.mask_after),
    ):
        assert (decode_mask(bench.library.blobs.get(digest)) == mask).all()


def test_mask_whose_palette_contradicts_its_indices_is_refused(
    bench: Workbench, files: Files
) -> None:
    labels = bench.library.get_class("tiny").labels
    # the picture is the same, its colours are numbered from the last
    turned = Image.fromarray((len(labels) - 1 - files.mask_after).astype(np.uint8), "L")
    turned.putpalette([level for label in labels[::-1] for level in label.color])
    turned.save(files.after)

    with pytest.raises(MaskError, match=r"after\.png: value \d means .*, but its palette colours"):
        _learn(bench, files.request())


def test_a_photograph_is_refused_as_a_mask(bench: Workbench, files: Files) -> None:
    Image.fromarray(files.pixels).save(files.after)

    with pytest.raises(MaskError, match=r"colour #.* is that of no part"):
        _learn(bench, files.request())


def test_an_unknown_part_lists_those_of_the_class(bench: Workbench, files: Files) -> None:
    with pytest.raises(LabelNotFoundError, match="mouth"):
        _learn(bench, files.request(roi_labels=("mouht",)))


def test_an_unreadable_picture_is_refused(bench: Workbench, files: Files) -> None:
    files.image.write_bytes(files.image.read_bytes()[:100])

    with pytest.raises(ImageError):
        _learn(bench, files.request())


def test_equal_masks_have_nothing_to_teach(bench: Workbench, files: Files) -> None:
    with pytest.raises(SettingsError, match="nothing to learn"):
        _learn(bench, files.request(mask_after=files.before))


@pytest.mark.parametrize(
    "values", [{"preset": "best"}, {"num_steps": 0}, {"embed": "some"}, {"dilation": -1}]
)
def test_settings_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        LearnSettings(**values)  # type: ignore[arg-type]


# The command.


def _run(bench: Workbench, *words: str | Path) -> int:
    return editvec.cli.main(["--home", str(bench.library.config.home), "learn", *map(str, words)])


def test_command_prints_the_address_and_a_table(
    bench: Workbench, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    status = _run(
        bench, "tiny/grin", "--image", files.image, "--mask-after", files.after,
        "--roi", "mouth, teeth", "--steps", "3", "--embed", "steps:1", "--device", "cpu",
    )  # fmt: skip

    out = capsys.readouterr().out
    assert status == 0
    assert out.startswith("tiny/grin@1\n")
    assert "mouth, teeth" in out
    assert "IoU" in out
    assert "perceptual/tiny" in out


def test_command_prints_json_and_nothing_else(
    bench: Workbench, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    status = _run(
        bench, "tiny/grin", "--image", files.image, "--mask-after", files.after, "--mask-before",
        files.before, "--steps", "3", "--embed", "steps:1", "--device", "cpu", "--json",
    )  # fmt: skip

    learned = json.loads(capsys.readouterr().out)
    assert status == 0
    assert learned["address"] == "tiny/grin@1"
    assert learned["num_steps"] == 3
    assert 0 <= learned["metrics"]["success_iou"]["value"] <= 1


def test_command_learns_every_pair_of_a_list(
    bench: Workbench, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        {
            "address": f"tiny/{name}",
            "image": files.image.name,
            "mask_after": files.after.name,
            "roi_labels": ["mouth"],
            "settings": {"num_steps": steps, "embed": "steps:1"},
        }
        for name, steps in (("one", 2), ("two", 3))
    ]
    listing = tmp_path / "pairs.json"
    listing.write_text(json.dumps({"vectors": entries}), encoding="utf-8")

    status = _run(bench, "--lessons", listing, "--device", "cpu")

    assert status == 0
    addresses = [vector.address for vector in bench.library.find_vectors()]
    assert addresses == ["tiny/one@1", "tiny/two@1"]


@pytest.mark.parametrize(
    "words", [[], ["tiny/grin"], ["tiny/grin", "--lessons", "list.json"], ["--steps", "0"]]
)
def test_command_refuses_wrong_usage(
    bench: Workbench, files: Files, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (files.image.parent / "list.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(files.image.parent)

    assert _run(bench, *words) == 2


def test_command_reports_a_bad_mask_in_one_line(
    bench: Workbench, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(files.mask_after[:8]).save(files.after)

    status = _run(
        bench, "tiny/grin", "--image", files.image, "--mask-after", files.after, "--roi", "mouth"
    )

    err = capsys.readouterr().err
    assert status == 1
    assert err.startswith("editvec: error: mask ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"vectors": []}',
        '{"vectors": [1]}',
        '{"vectors": [{"address": "tiny/a"}]}',
        '{"vectors": [{"address": "a", "image": "b", "mask_after": "c", "colour": 1}]}',
        '{"vectors": [{"address": "a", "image": 5, "mask_after": "c"}]}',
        '{"vectors": [{"address": "a", "image": "b", "mask_after": "c", "settings": {"x": 1}}]}',
    ],
)
def test_a_pair_list_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    listing = tmp_path / "pairs.json"
    listing.write_text(content, encoding="utf-8")

    with pytest.raises(SettingsError, match="pair list"):
        read_jobs(listing)


def test_a_pair_list_finds_its_files_beside_itself(tmp_path: Path) -> None:
    listing = tmp_path / "pairs.json"
    entry = {"address": "tiny/a", "image": "i.png", "mask_after": "sub/m.png"}
    listing.write_text(json.dumps({"vectors": [entry]}), encoding="utf-8")

    (request,) = read_jobs(listing).requests

    assert request.image == tmp_path / "i.png"
    assert request.mask_after == tmp_path / "sub" / "m.png"
    assert request.mask_before is None


def test_ignored_pixels_ask_for_nothing(bench: Workbench, files: Files, tmp_path: Path) -> None:
    """Wherever a mask is ignored nothing was changed: the parts and the success know nothing."""
    before, after = files.mask_before.copy(), files.mask_after.copy()
    after[18:24, 16:24] = 255
    before[:4] = 255
    after[2] = 3
    holey = write_files(tmp_path, files.pixels, before, after)
    model = bench.library.get_class("tiny")

    outcome = learn_vector(bench.library, bench.editor_for("tiny/grin"), holey.request())

    changed = (before != after) & (before != 255) & (after != 255)
    touched = {model.labels[index].name for index in np.unique([before[changed], after[changed]])}
    assert set(outcome.vector.roi_labels) <= touched
    (pair,) = outcome.vector.pairs
    stored = decode_mask(bench.library.blobs.get(pair.mask_after_digest), model.labels)
    assert (stored == np.where(after == 255, -1, after.astype(int))).all()
    editor = bench.editor_for("tiny/grin")
    delta = torch.from_numpy(bench.library.delta(outcome.vector))[None]
    found = editor.synthesize_with_mask(_stored_ws(bench, pair.source_ws_digest) + delta)
    labels = [model.label_names.index(name) for name in outcome.vector.roi_labels]
    near = _near(np.isin(before, labels) | np.isin(after, labels), outcome.vector.dilation)
    near &= after != 255
    ious = []
    for label in labels:
        one, other = (found.mask[0].numpy() == label) & near, (after == label) & near
        if (one | other).any():
            ious.append((one & other).sum() / (one | other).sum())
    assert outcome.learned.metrics["success_iou"].value == pytest.approx(np.mean(ious), abs=1e-6)


def _near(region: npt.NDArray[np.bool_], distance: int) -> npt.NDArray[np.bool_]:
    found = np.zeros_like(region)
    for row, column in np.argwhere(region):
        top, left = max(0, row - distance), max(0, column - distance)
        found[top : row + distance + 1, left : column + distance + 1] = True
    return found


@pytest.mark.parametrize(
    ("area", "message"),
    [
        (np.s_[:, :], "every pixel is ignored"),
        (np.s_[18:24, 8:24], "it equals the mask before"),
    ],
)
def test_masks_that_ignore_what_changes_are_refused(
    bench: Workbench, files: Files, tmp_path: Path, area: tuple[slice, slice], message: str
) -> None:
    after = files.mask_after.copy()
    after[area] = 255
    holey = write_files(tmp_path, files.pixels, files.mask_before, after)

    with pytest.raises((MaskError, SettingsError), match=message):
        _learn(bench, holey.request(roi_labels=("mouth",)))
