"""The notebook is true: its cells run in order, and links and names in it lead somewhere."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.console_blocks import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def _cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_outputs_are_cleared() -> None:
    code = _cells("code")

    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK.stat().st_size < 30_000


def test_links_of_the_notebook_lead_to_pages() -> None:
    links = [
        link for cell in _cells("markdown") for link in re.findall(r"\]\((.+?)\)", _source(cell))
    ]

    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).is_file()] == []


def test_the_notebook_is_found_from_readme_and_from_the_page_about_python() -> None:
    assert "(docs/notebook.ipynb)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(notebook.ipynb)" in (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_cell_runs_and_shows_what_its_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}

    for number, cell in enumerate(_cells("code"), start=1):
        exec(compile(_source(cell), f"code cell {number}", "exec"), names)

    assert names["folder"].parent == tmp_path
    _require_labelled_images(names)
    _require_that_edits_change_what_they_may(names)
    assert names["grin"].roi_labels == ("eye", "iris", "mouth", "teeth")
    assert names["done"].counts.total == 8
    assert names["again"].run.id == names["done"].run.id
    assert (names["folder"] / "wide" / "report.html").is_file()
    assert names["learned"].vector.address == "avatars/big-mouth@1"
    assert 20 < names["measured"]["leakage_psnr"] < 60
    assert 0.5 < names["measured"]["success_attribute"] <= 1
    assert tuple(names["batch"]["image"].shape) == (4, 3, 64, 64)


def _require_labelled_images(names: dict[str, Any]) -> None:
    assert len(names["vectors"]) == 11
    assert len(names["rows"]) == len(names["faces"]) == 8
    assert all(-1 <= row["attributes"]["smile"] <= 1 for row in names["rows"])
    for mask in names["masks"]:
        assert mask.shape == (64, 64)
        assert mask.max() < len(names["model"].labels)
    colored = np.asarray(names["colored"](names["masks"][0]))
    first = names["model"].labels[int(names["masks"][0][0, 0])]
    assert tuple(colored[0, 0]) == first.color
    assert names["strip"](names["faces"]).size == (8 * 96, 96)


def _require_that_edits_change_what_they_may(names: dict[str, Any]) -> None:
    assert 0.01 < names["changed"].mean() < 0.5
    assert len(names["variants"]) == 7
    left, right = names["variants"][0].pixels, names["variants"][-1].pixels
    assert (left != right).any()
    untouched = ~(left != right).any(axis=2)
    assert untouched.mean() > 0.5
