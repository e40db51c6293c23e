"""The report of a run: complete, self-contained and escaped, whatever its folder lacks."""

import base64
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.avatars.drawing.parameters import sample, with_values
from editvec.avatars.drawing.render import LABEL_COLORS, LABELS, render
from editvec.batch.recipes.recipe import Edit, PinnedVector, Recipe
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.batch.reports.contact_sheet import MAX_SAMPLES
from editvec.batch.reports.pictures import numbers
from editvec.batch.reports.report import write_report
from editvec.batch.reports.tally import RunTally
from editvec.batch.runs.entities import RunCounts
from editvec.batch.runs.progress import WorkerRow
from editvec.registry.labels.label import Label
from tests.support.report_runs import report_run

RECIPES = {"smile+1.00": 1.0, "smile-0.50": -0.5}


class _Page(HTMLParser):
    """The tags and texts of a page, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "rect", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def _write_run(out: Path, count: int) -> list[dict[str, Any]]:
    """Inputs, edited images, masks and manifest rows of a run with two recipes."""
    params = sample(count, seed=3)
    before = render(params, 32)
    rows = []
    for position in range(count):
        _save(before.pixels[position], out / "photos" / "sub" / f"{position}.png")
    for recipe, scale in RECIPES.items():
        after = render(with_values(params, smile=scale), 32)
        for position in range(count):
            name = f"{recipe}/sub/{position}.png"
            _save(after.pixels[position], out / "images" / name)
            _save(after.mask[position], out / "masks" / name, palette=True)
            rows.append(
                {
                    "file_name": f"images/{name}",
                    "mask_file_name": f"masks/{name}",
                    "source": f"sub/{position}.png",
                    "recipe": recipe,
                    "vectors": [{"address": "avatars/smile@1", "scale": scale}],
                    "attributes": {"smile": scale},
                    "metrics": {"embed_psnr": 20.0 + position, "leakage": {"psnr": 35.0}},
                    "verdict": "done",
                    "content_key": f"{position:064x}",
                }
            )
    return rows


def _save(array: np.ndarray[Any, Any], path: Path, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette(LABEL_COLORS.tobytes())
    picture.save(path)


def test_report_shows_before_after_mask_and_change_of_every_recipe(tmp_path: Path) -> None:
    rows = _write_run(tmp_path, 3)

    files = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)

    page = _Page(files.report.read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["class"] for image in images] == ["before", "after", "mask", "changed"] * 3 * 2
    assert all(image["alt"] for image in images)
    assert "avatars/smile@1" in page.text
    for image in images:
        data = base64.b64decode(str(image["src"]).partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()


def test_masks_keep_their_exact_colours(tmp_path: Path) -> None:
    rows = _write_run(tmp_path, 1)[:1]

    files = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)

    page = _Page(files.report.read_text(encoding="utf-8"))
    source = next(str(a["src"]) for tag, a in page.tags if tag == "img" and a["class"] == "mask")
    with Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))) as picture:
        shown = {color for _, color in picture.convert("RGB").getcolors() or []}
    assert shown <= {tuple(map(int, color)) for color in LABEL_COLORS}


def test_report_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    rows = _write_run(tmp_path, 2)

    files = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)

    text = files.report.read_text(encoding="utf-8")
    page = _Page(text)
    assert not re.search(r"https?:|url\(|@import|//[a-z]", re.sub(r'base64,[^"]*', "", text))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert not any(name.startswith("on") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#")


def test_hostile_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\udcff\n.png'
    rows = _write_run(tmp_path, 1)
    for row in rows:
        row.update(source=hostile, recipe=f"{row['recipe']}{hostile}")
        row["vectors"] = [{"address": hostile, "scale": 1.0}]
        row["metrics"] = {hostile: 1.0}
        row["attributes"] = {hostile: float(row["recipe"] != rows[0]["recipe"])}
    failed = {"source": hostile, "recipe": hostile, "reason": hostile, "state": "failed"}
    vector = PinnedVector(
        address=hostile, attribute=hostile, delta_digest=hostile, roi_labels=(hostile,)
    )
    edit = Edit(vector=vector, scale=1.0)
    run = report_run(
        tmp_path,
        id=hostile,
        state="paused",
        reason=hostile,
        finished_at=None,
        engine_version=hostile,
        class_address=hostile,
        settings=RunSettings(roi=(hostile,)),
        recipes=[Recipe(name=row["recipe"], edits=(edit,)) for row in rows],
        edits=[{"vector": hostile, "scales": [hostile]}],
        labels=[Label(0, hostile, (1, 2, 3))],
        workers=[WorkerRow(f"{number}{hostile}", 1, 1, None, None) for number in range(2)],
    )

    files = write_report(run, [*rows, failed])

    page = _Page(files.report.read_text(encoding="utf-8"))
    assert page.count("script") == 0
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    assert files.contact_sheet is not None
    with Image.open(files.contact_sheet) as sheet:
        sheet.load()


def test_a_name_that_leads_out_of_the_folder_is_not_shown(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = _write_run(out, 1)[:1]
    _save(np.zeros((32, 32, 3), np.uint8), tmp_path / "secret.png")
    rows[0].update(file_name="../secret.png", mask_file_name="images/../../secret.png", source="")

    files = write_report(report_run(out), rows)

    assert _Page(files.report.read_text(encoding="utf-8")).count("img") == 0


def test_missing_and_broken_images_leave_a_gap(tmp_path: Path) -> None:
    rows = _write_run(tmp_path, 2)
    (tmp_path / rows[0]["file_name"]).write_bytes(b"not an image")
    (tmp_path / rows[0]["mask_file_name"]).unlink()

    files = write_report(report_run(tmp_path), rows)

    page = _Page(files.report.read_text(encoding="utf-8"))
    # no inputs_root: the four before images are missing as well, and so nothing is compared
    assert page.count("img") == 3 + 3
    assert sum(attributes.get("class") == "missing" for _, attributes in page.tags) == 8 + 1 + 1


def test_a_run_without_images_says_so(tmp_path: Path) -> None:
    files = write_report(report_run(tmp_path, counts=RunCounts(total=2, failed=2)), [])

    assert "This run has no images." in _Page(files.report.read_text(encoding="utf-8")).text
    assert files.contact_sheet is not None
    with Image.open(files.contact_sheet) as sheet:
        assert sheet.width > 500


def test_thousands_of_rows_show_a_sample_and_all_their_metrics(tmp_path: Path) -> None:
    few = _write_run(tmp_path, 30)
    rows = [{**row, "source": f"{turn}/{row['source']}"} for turn in range(100) for row in few]

    files = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), iter(rows))

    page = _Page(files.report.read_text(encoding="utf-8"))
    assert page.count("figure") == 2 * 9
    assert "3,000 images, 9 of them shown" in page.text
    measured = files.numbers["recipes"][0]["metrics"]["embed_psnr"]
    assert (measured["count"], measured["low"], measured["high"]) == (3000, 20.0, 49.0)
    assert measured["median"] == pytest.approx(34.5, abs=1.5)
    assert files.report.stat().st_size < 4_000_000


def test_the_worst_and_the_best_are_shown_beside_the_spread_with_all_in_the_chart(
    tmp_path: Path,
) -> None:
    rows = _write_run(tmp_path, 20)
    for row in rows:
        place = int(Path(row["source"]).stem)
        # in no order of the places: 7 steps around a circle of 20
        turned = (7 * place) % 20
        row["metrics"] = {
            "leakage": {"psnr": 30.0 + turned},
            "success_iou": (turned + 10) % 20 / 20,
        }

    files = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)

    content = files.report.read_text(encoding="utf-8")
    section = content[content.index('id="recipe-0"') : content.index('id="recipe-1"')]
    named = []
    for heading in (
        "Most changed outside the region",
        "Least changed outside the region",
        "Furthest from the wanted mask",
        "Closest to the wanted mask",
    ):
        figures = section.partition(heading)[2].partition("<h3>")[0]
        places = re.findall(r'<figcaption><b title="sub/(\d+)\.png"', figures)
        named.append([7 * int(place) % 20 for place in places])
    # IoU turns half a circle later than dB do
    assert named == [[0, 1, 2], [19, 18, 17], [10, 11, 12], [9, 8, 7]]
    measured = files.numbers["recipes"][0]["metrics"]["leakage.psnr"]
    assert (measured["count"], measured["low"], measured["high"]) == (20, 30.0, 49.0)
    assert 'class="ridge"' in content


def test_every_recipe_shows_the_same_sources_whatever_the_order(tmp_path: Path) -> None:
    rows = _write_run(tmp_path, 40)

    def shown(ordered: Sequence[dict[str, Any]]) -> list[list[str]]:
        tally = RunTally(samples_per_recipe=5)
        tally.add_all(ordered)
        return [[row["source"] for row in one.spread.rows()] for one in tally.recipes.values()]

    first, second = shown(rows)
    assert first == second == shown(rows[::-1])[0]
    assert len(set(first)) == 5


def test_what_gave_no_image_is_counted_by_reason_with_examples(tmp_path: Path) -> None:
    _write_run(tmp_path, 2)
    failed: list[dict[str, Any]] = [
        {"source": f"{n}.jpg", "reason": f"truncated at byte {n}", "state": "failed", "recipe": "a"}
        for n in range(150)
    ]
    reason = "leakage 0.31 is over 0.2"
    rejected = {"source": "sub/1.png", "recipe": "a", "state": "rejected", "reason": reason}

    files = write_report(
        report_run(tmp_path, inputs=tmp_path / "photos", state="completed_with_failures"),
        [*failed, rejected],
    )

    assert files.numbers["reasons"] == [
        {"state": "failed", "reason": "truncated at byte #", "count": 150},
        {"state": "rejected", "reason": "leakage # is over #", "count": 1},
    ]
    page = _Page(files.report.read_text(encoding="utf-8"))
    assert "truncated at byte #" in page.text
    assert reason in page.text
    assert page.count("img") == page.count("figure") == 1  # the rejected input can be read
    assert page.count("code") == 6  # names of others
    assert "completed with failures" in page.text


def test_settings_and_labels_of_the_run_are_shown(tmp_path: Path) -> None:
    labels = [
        Label(index, name, color)
        for index, (name, color) in enumerate(zip(LABELS, LABEL_COLORS.tolist(), strict=True))
    ]
    settings = RunSettings(mode=Mode.REFINE, max_leakage=0.5)

    rows = _write_run(tmp_path, 1)

    files = write_report(report_run(tmp_path, labels=labels, settings=settings), rows)

    page = _Page(files.report.read_text(encoding="utf-8"))
    assert "settings.refine_steps" in page.text
    assert "max leakage 0.5" in page.text
    assert any(a.get("style") == "background:#d63e58" for _, a in page.tags)


def test_metrics_that_are_no_finite_numbers_are_left_out() -> None:
    metrics = {"a": 1, "b": float("nan"), "c": "text", "d": True, "e": {"f": 2.5, "g": None}}

    assert dict(numbers(metrics)) == {"a": 1.0, "e.f": 2.5}


@pytest.mark.parametrize("count", [1, MAX_SAMPLES, MAX_SAMPLES + 5])
def test_contact_sheet_has_a_sensible_size(tmp_path: Path, count: int) -> None:
    rows = _write_run(tmp_path, count)

    files = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)

    assert files.contact_sheet is not None
    with Image.open(files.contact_sheet) as sheet:
        assert sheet.mode == "RGB"
        assert 800 <= sheet.width <= 2000
        assert sheet.height <= 2000


def test_writing_again_replaces_the_files_and_leaves_no_others(tmp_path: Path) -> None:
    rows = _write_run(tmp_path, 2)
    before = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)
    first = before.report.read_bytes()

    after = write_report(report_run(tmp_path, inputs=tmp_path / "photos"), rows)

    assert after.report.read_bytes() == first
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {"report.html", "contact_sheet.png"}


def test_a_page_of_many_rich_pictures_stays_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(9):
        _save(random.integers(0, 256, (96, 96, 3), dtype=np.uint8), tmp_path / f"{number}.png")
        for recipe in range(12):
            name = f"images/{recipe}/{number}.png"
            _save(random.integers(0, 256, (96, 96, 3), dtype=np.uint8), tmp_path / name)
            rows.append({"file_name": name, "source": f"{number}.png", "recipe": f"r{recipe}"})

    files = write_report(report_run(tmp_path), rows)

    assert 2_500_000 < files.report.stat().st_size < 5_000_000
    assert "9 images, none of them shown" in _Page(files.report.read_text(encoding="utf-8")).text
