"""The report of a run in the library: its command, at any time, for every kind of output."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library

MakePictures = Callable[..., Path]
Editvec = Callable[..., int]


@pytest.mark.parametrize("output", ["imagefolder", "coco", "webdataset"])
def test_the_report_is_written_anew_with_every_picture(
    output: str,
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    words = ("--edit", "smile=1", "--edit", "frown=uniform(0.5,1.5)", "--write", output)
    assert run_editvec("batch", "run", make_pictures(3), out, *words) == 0
    at_the_end = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    (out / "contact_sheet.png").unlink()
    capsys.readouterr()

    assert run_editvec("batch", "report", Runs(library.engine).latest(limit=1)[0].id[:8]) == 0

    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert (out / "contact_sheet.png").stat().st_size > 0
    page = (out / "report.html").read_bytes()
    assert page.count(b"<img") == 3 * 4
    assert page.count(b'class="missing"') == 0
    assert b"frown=uniform(0.5,1.5)" in page
    assert at_the_end.count(b"<img") == 3 * 4
    # but for the second in which the run was closed
    assert len(page) == pytest.approx(len(at_the_end), abs=20)


def test_json_gives_the_numbers_behind_the_page(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_pictures(4)
    (source / "broken.png").write_bytes(b"no picture")
    words = ("--edit", "smile=50%", "--edit", "frown=50%", "--max-leakage", "1000")
    assert run_editvec("batch", "run", source, tmp_path / "out", *words) == 3
    capsys.readouterr()

    assert run_editvec("batch", "report", Runs(library.engine).latest()[0].id, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    (recipe,) = found["recipes"]
    assert recipe["counts"] == {"done": 4, "failed": 1}
    assert recipe["metrics"]["leakage.psnr"]["count"] <= 4
    assert sum(count for _, count in found["attributes"]["smile"]["scales"]) == 4
    assert sum(one["count"] for one in found["combinations"]) == 4
    assert [(one["state"], one["count"]) for one in found["reasons"]] == [("failed", 1)]
    assert Path(found["report"]).is_file()


def test_a_run_that_goes_on_says_how_far_it_is(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path, library: Library
) -> None:
    out = tmp_path / "out"
    assert run_editvec("batch", "run", make_pictures(2), out, "--edit", "smile=0:1:2") == 0
    (run,) = Runs(library.engine).latest()
    reopen(library, run.id, state="paused", reason="no space left on the <disk>")

    assert run_editvec("batch", "report", run.id) == 0

    page = (out / "report.html").read_text()
    assert "This run is paused. no space left on the &lt;disk&gt;." in page
    assert "3 of 4 items were decided when this page was written" in page
    assert Runs(library.engine).get(run.id).state == "paused"


def test_an_output_folder_that_is_gone_is_told_in_one_line(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run_editvec("batch", "run", make_pictures(1), out, "--edit", "smile=1") == 0
    out.rename(tmp_path / "elsewhere")
    capsys.readouterr()

    assert run_editvec("batch", "report", Runs(library.engine).latest()[0].id) == 1

    assert "the output folder of" in capsys.readouterr().err
    assert not out.exists()


def test_generated_samples_are_the_inputs_of_their_edits(
    run_editvec: Editvec, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--class", "tiny", "--count", "3", "--edit", "smile=1")

    assert run_editvec("batch", "generate", out, *words) == 0

    page = (out / "report.html").read_text()
    assert page.count('<img class="before"') == page.count('<img class="after"') == 3
    assert page.count('class="missing"') == 0
    for link in re.findall(r'href="#([^"]*)"', page):
        assert f'id="{link}"' in page


@pytest.mark.parametrize("gate", [(), ("--max-leakage", "0")], ids=["done", "rejected"])
def test_inputs_with_boxes_are_shown_as_the_generator_saw_them(
    gate: tuple[str, ...], run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, boxes = make_pictures(1), tmp_path / "boxes.csv"
    before: list[str] = []

    for name, sides in (("a", "0,0,16,16"), ("b", "16,16,16,16")):
        boxes.write_text(f"file_name,x,y,width,height\n0.png,{sides}\n")
        words = ("--edit", "smile=1", "--boxes", boxes, *gate)
        assert run_editvec("batch", "run", source, tmp_path / name, *words) == 0
        page = (tmp_path / name / "report.html").read_text()
        before += re.findall(r'<img class="before"[^>]* src="([^"]*)"', page)

    assert len(before) == len(set(before)) == 2


def test_the_report_opens_in_the_browser_where_asked(
    run_editvec: Editvec,
    make_pictures: MakePictures,
    tmp_path: Path,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", opened.append)
    out = tmp_path / "out"
    assert run_editvec("batch", "run", make_pictures(1), out, "--edit", "smile=1") == 0

    assert run_editvec("batch", "report", Runs(library.engine).latest()[0].id, "--open") == 0

    assert opened == [(out / "report.html").as_uri()]


def reopen(library: Library, run_id: str, *, state: str, reason: str) -> None:
    """Takes a run back to before its last item."""
    from sqlalchemy import delete, update

    from editvec.batch.runs.models import Run, RunItem
    from editvec.registry.tables.database import transaction

    with transaction(library.engine) as session:
        session.execute(
            update(Run)
            .where(Run.id == run_id)
            .values(state=state, reason=reason, finished_at=None, counts=None)
        )
        session.execute(delete(RunItem).where(RunItem.position == 1, RunItem.recipe_position == 1))
