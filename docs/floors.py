"""Draws the floors of the packages as the import rules in pyproject.toml have them.

    python docs/floors.py

It writes docs/images/floors.svg, and the table of the rooms in docs/architecture.md: one line a
folder, which is the first line of its docstring. A test compares both with what is there.
"""

import ast
import html
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "floors.svg"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: python docs/floors.py -->", "<!-- end of rooms -->"
HOUSES = ("batch", "registry", "engine")

_WIDTH, _HEIGHT, _GAP, _MARGIN = 330, 30, 6, 20
_INK, _PAPER, _LINE = "#1c2733", "#ffffff", "#9aa7b4"
_FILLS = {"batch": "#e6f0fa", "registry": "#eaf5ea", "engine": "#fbf0e2", "": "#f1f2f4"}


class Box(NamedTuple):
    """A room on the picture: its place, its name and whose house it is of."""

    x: float
    y: float
    width: float
    name: str
    house: str


def floors_of(contract: str) -> list[list[str]]:
    """The layers of a contract, highest first; rooms that share a layer are in one list."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {one["id"]: one for one in project["tool"]["importlinter"]["contracts"]}
    return [layer.split(" | ") for layer in contracts[contract]["layers"]]


def told(room: Path) -> str:
    """The first line of the docstring of a folder or a file."""
    file = room / "__init__.py" if room.is_dir() else room.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0]


def picture() -> str:
    """The floors as SVG: a house for each of the three large packages, the small ones around."""
    boxes: list[Box] = []
    whole = len(HOUSES) * _WIDTH + (len(HOUSES) - 1) * 3 * _GAP
    top = float(_MARGIN)
    for floor in floors_of("packages"):
        if {"registry", "engine"} <= set(floor):
            top = _houses(boxes, top, {"registry": 0, "engine": 1}, whole)
        elif floor == ["batch"]:
            top = _houses(boxes, top, {"batch": 0}, whole)
        else:
            top = _row(boxes, floor, "", float(_MARGIN), top, whole)
    return _svg(boxes, whole + 2 * _MARGIN, top + _MARGIN)


def _houses(boxes: list[Box], top: float, houses: dict[str, int], whole: float) -> float:
    """Houses side by side; returns where the next floor begins."""
    width = (whole - (len(houses) - 1) * 3 * _GAP) / len(houses)
    ends = []
    for house, column in houses.items():
        left = _MARGIN + column * (width + 3 * _GAP)
        below = _row(boxes, [f"{house}/"], house, left, top, width)
        for floor in floors_of(house):
            below = _row(boxes, floor, house, left, below, width)
        ends.append(below)
    return max(ends)


def _row(
    boxes: list[Box], names: list[str], house: str, left: float, top: float, width: float
) -> float:
    each = (width - (len(names) - 1) * _GAP) / len(names)
    for place, name in enumerate(names):
        boxes.append(Box(left + place * (each + _GAP), top, each, name, house))
    return top + _HEIGHT + _GAP


def _svg(boxes: list[Box], width: float, height: float) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="Helvetica, Arial, sans-serif">',
        "<title>Floors of the packages: imports point downwards</title>",
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
    ]
    for box in boxes:
        is_title = box.name.endswith("/")
        fill = _FILLS[box.house] if not is_title else _PAPER
        line = "none" if is_title else _LINE
        weight = "bold" if is_title or not box.house else "normal"
        lines += [
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{_HEIGHT}" rx="5" '
            f'fill="{fill}" stroke="{line}"/>',
            f'<text x="{box.x + box.width / 2:g}" y="{box.y + _HEIGHT / 2 + 5:g}" fill="{_INK}" '
            f'font-size="13" font-weight="{weight}" text-anchor="middle">'
            f"{html.escape(box.name)}</text>",
        ]
    return "\n".join([*lines, "</svg>", ""])


def rooms() -> str:
    """The table of the rooms, one line a folder."""
    lines = []
    for house in HOUSES:
        lines += [f"| `{house}/` | {told(ROOT / house)} |", "|---|---|"]
        for floor in floors_of(house):
            for name in sorted(floor):
                room = ROOT / house / name
                if room.is_dir():
                    lines.append(f"| `{house}/{name}/` | {told(room)} |")
                    lines += [
                        f"| `{house}/{name}/{inner.name}/` | {told(inner)} |"
                        for inner in sorted(room.iterdir())
                        if (inner / "__init__.py").exists()
                    ]
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{rooms()}\n{END}{after}"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
