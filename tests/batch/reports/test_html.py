"""The pieces of a page, read back by a parser: what is hostile is text."""

import base64
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from editvec.batch.reports.html import (
    card,
    document,
    exact_picture,
    header,
    photograph,
    table,
    text,
)

HOSTILE = "<script>\"'&\x1b[31m\u202e"


def test_text_is_only_text_also_within_quotes() -> None:
    root = ET.fromstring(f'<p title="{text(HOSTILE)}">{text(HOSTILE)}</p>')

    assert root.text == root.get("title") == "<script>\"'&\\x1b[31m\\u202e"
    assert text(7) == "7"


def test_a_page_refers_to_nothing_outside_it() -> None:
    page = document(HOSTILE, ["<p>a</p>", "<p>b</p>"])

    assert page.startswith("<!doctype html>\n")
    assert page.endswith("<p>a</p>\n<p>b</p>\n</main></body></html>\n")
    assert "default-src 'none'; img-src data:" in page
    assert "<script>" not in page
    assert f"<title>{text(HOSTILE)}</title>" in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize(
    ("state", "kind"),
    [("completed", "good"), ("running", "busy"), ("planned", "busy"), ("some_failed", "warn")],
)
def test_the_top_tells_state_note_and_figures(state: str, kind: str) -> None:
    root = ET.fromstring(
        header("T<", "S", state=state, note="N&", tiles={"images": "7", "failed": "<1"})
    )
    bare = header("T", "S", state=state, note="", tiles={})

    (badge,) = (one for one in root.iter("span") if "badge" in one.get("class", ""))
    assert (badge.get("class"), badge.text) == (f"badge {kind}", state.replace("_", " "))
    assert [tile.find("b").text for tile in root.iter("div") if tile.get("class") == "tile"] == [  # type: ignore[union-attr]
        "7", "<1",
    ]  # fmt: skip
    assert [one.text for one in root.iter("p")] == ["S", "N&"]
    assert "notice" not in bare


def test_tables_align_their_numbers() -> None:
    root = ET.fromstring(table(["name", "", "n"], [["<b>a</b>", "x", "1"]], numbers=[2]))

    heads = root.findall(".//thead/tr/*")
    assert [(one.tag, one.text, one.get("class")) for one in heads] == [
        ("th", "name", None), ("td", None, None), ("th", "n", "num"),
    ]  # fmt: skip
    cells = root.findall(".//tbody/tr/td")
    assert [one.get("class") for one in cells] == [None, None, "num"]
    assert ["".join(one.itertext()) for one in cells] == ["a", "x", "1"]


def test_a_section_without_a_body_is_none() -> None:
    assert card("a", "T", "") == ""
    assert "note" not in card("a", "T", "<p/>")
    root = ET.fromstring(card("a", "T", "<p/>", note="n"))
    assert (root.get("id"), [one.text for one in root.iter("span")]) == ("a", ["n"])


def test_pictures_are_in_the_page() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2] = (255, 0, 0)

    for make, kind in ((photograph, "WEBP"), (exact_picture, "PNG")):
        root = ET.fromstring(make(Image.fromarray(pixels), "mask", HOSTILE).replace(">", "/>"))
        assert (root.get("class"), root.get("width"), root.get("height")) == ("mask", "6", "4")
        data = base64.b64decode(root.get("src", "").partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == kind
            if kind == "PNG":
                assert (np.asarray(image.convert("RGB")) == pixels).all()
        missing = ET.fromstring(make(None, "mask", "after"))
        assert (missing.get("class"), missing.get("aria-label")) == ("missing", "no after")
