"""The pages about vectors in a real browser: they load whole, ask for nothing, show something."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.browser import NEEDS_BROWSER, require_shown

Editvec = Callable[..., int]

pytestmark = [NEEDS_BROWSER, pytest.mark.slow]


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_an_evaluation(run_editvec: Editvec, tmp_path: Path, width: int) -> None:
    words = ("--samples", 16, "--operation", "mouth: grow 1", "--scales", "0:2:3")
    page = tmp_path / "smile.html"
    assert run_editvec("evaluate", "smile", *words, "--html", page, "--device", "cpu") == 0

    require_shown(tmp_path, page, width=width)


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_vectors_together(run_editvec: Editvec, tmp_path: Path, width: int) -> None:
    page = tmp_path / "pairs.html"
    words = ("--samples", 4, "--html", page, "--device", "cpu")
    assert run_editvec("disentangle", "smile", "frown", *words) == 0

    require_shown(tmp_path, page, width=width)
