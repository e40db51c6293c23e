"""Templates: what is put into them is text, and what they lack is an error, not a gap."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from PIL import Image

from editvec.batch.evaluation.curves import Curve, Place
from editvec.batch.reports.rendering import exact_picture, photograph, render
from tests.support.places import ROOT

HOSTILE = '"><script>alert(1)</script>\u202e\udcff\n\x1b[2J{{ 1 + 1 }}{% include "x" %}'
TEMPLATES = sorted((ROOT / "batch").rglob("templates/*.html"))
BASE = "reports/templates/base.html"


def _base(**values: object) -> str:
    told = {"title": "T", "subtitle": "S", "state": "completed", "note": "", "tiles": {}}
    return render(BASE, **told | values)


@pytest.mark.parametrize("place", ["title", "subtitle", "state", "note"])
def test_a_hostile_value_is_text_on_one_line(place: str) -> None:
    page = _base(**{place: HOSTILE})

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not {"\u202e", "\udcff", "\x1b"} & set(page)
    assert "{{ 1 + 1 }}" in page


def test_a_hostile_value_in_an_attribute_stays_in_its_quotes() -> None:
    page = render(
        "evaluation/templates/curve.html", curve=Curve(HOSTILE, [Place(0, 1.0), Place(1, 2.0)])
    )

    (label,) = re.findall(r'aria-label="([^"]*)"', page)
    assert label.startswith("&#34;&gt;&lt;script&gt;")
    assert label.endswith(": 1 at 0, 2 at 1")


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render(BASE)


def test_every_page_says_who_made_it_and_forbids_all_but_its_own_pictures_and_styles() -> None:
    page = _base()

    assert page.startswith("<!doctype html>")
    assert '<meta name="generator" content="editvec">' in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert ".card{" in page


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_runs_nothing_and_refers_to_nothing_outside_the_page(path: Path) -> None:
    text = path.read_text()

    assert not re.search(r"https?:|<(script|link|iframe|object)\b|\son[a-z]+=|url\(", text)
    # text that is not escaped: base64, and a break between escaped lines
    trusted = set(re.findall(r"([\w.\"<>]+)\s*\|\s*safe", text))
    assert trusted <= {"picture.data", '"<br>"'}
    assert "autoescape" not in text


def test_python_files_hold_no_html() -> None:
    tag = re.compile(r"</?(div|span|table|t[rdh]|p|svg|figure|section|h[1-6])\b")

    assert [path for path in (ROOT / "batch").rglob("*.py") if tag.search(path.read_text())] == []


def test_pictures_are_data_and_a_missing_one_is_told() -> None:
    image = Image.new("RGB", (4, 2), (10, 200, 30))

    lossy, exact, none = (
        photograph(image, "a", "b"),
        exact_picture(image, "a", "b"),
        photograph(None, "a", "b"),
    )

    assert lossy.data.startswith("data:image/webp;base64,")
    assert exact.data.startswith("data:image/png;base64,")
    assert (exact.width, exact.height) == (4, 2)
    assert none.data == ""
