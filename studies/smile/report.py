"""What `studies/smile` makes of its points: results.json and results.md, and the drawings."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from editvec.batch.evaluation.sets import INCEPTION
from editvec.registry.files import write_atomically
from studies.smile.drawings import Column, draw_grid, draw_over_scales, draw_over_steps
from studies.smile.drawings import Place as DrawnPlace
from studies.smile.faces import Faces

OURS = "ours"
UNEDITED = "unedited"

Point = Mapping[str, Any]
Row = list[str]
Equal = Mapping[str, Any]


class Shown(NamedTuple):
    """A line of a table.

    Attributes:
        title: Of the method.
        labels: What a person has to bring.
        point: What was measured; None where it is not known yet.
        suffix: Of the measures' names: `_unedited` for what was before the edit.
    """

    title: str
    labels: str
    point: Point | None
    suffix: str = ""

    def measure(self, name: str) -> Mapping[str, Any] | None:
        """A measure by its name; a distance of sets by the best network that there is."""
        if self.point is None:
            return None
        measures: Mapping[str, Any] = self.point["measures"]
        if name.partition("_")[0] not in ("fid", "kid"):
            return measures.get(name)
        kind, _, reference = name.partition("_")
        ending = (f"_{reference}" if reference else "") + self.suffix
        return measures.get(f"{kind}{_network_suffix(measures)}{ending}")

    def value(self, name: str) -> float | None:
        """The value of a measure."""
        found = self.measure(name)
        return None if found is None else float(found["value"])


class Points:
    """All points of a folder, by name."""

    def __init__(self, out: Path) -> None:
        self._folder = out / "points"
        self._points: dict[str, Point] = {}
        for path in sorted(self._folder.glob("*.json")):
            point = json.loads(path.read_text())
            if "name" in point:  # a sweep has none: what it found is in equal.json
                self._points[point["name"]] = point

    def whole(self, name: str, scale: float) -> Point | None:
        """All faces at a scale."""
        return self._points.get(f"whole {name if scale else OURS} {scale:g}")

    def few(self, name: str, scale: float, mode: str = "vector") -> Point | None:
        """Some faces."""
        return self._points.get(f"few {name} {mode} {scale:g}")

    def scales(self, name: str) -> list[float]:
        """Scales of a direction that all faces were measured at."""
        found = {one["scale"] for one in self._points.values() if _is_whole(one, name)}
        return sorted(found | {0.0} if self.whole(OURS, 0.0) else found)

    def modes(self, kind: str) -> list[str]:
        """Modes of some faces that begin with a word, by their steps."""
        found = {one["mode"] for one in self._points.values() if one["mode"].startswith(kind)}
        return sorted(found, key=lambda mode: int(mode.partition(":")[2]))

    def pictures(self, point: Point | None, which: str = "after") -> Sequence[Any] | None:
        """Pictures uint8 [N, H, W, 3] of a point."""
        if point is None:
            return None
        path = self._folder / f"{'-'.join(point['name'].replace(':', '-').split())}.npz"
        with np.load(path) as pictures:
            found: Sequence[Any] = pictures[which]
        return found

    def to_json(self) -> dict[str, Point]:
        """As they were stored."""
        return dict(self._points)


def write_report(out: Path, faces: Faces, labels: Mapping[str, str]) -> str:
    """Write tables, figures and pictures of all points that are there.

    Args:
        out: Folder of the benchmark.
        faces: That were edited.
        labels: What a person has to bring, by the name of the method.

    Returns:
        The tables, as markdown.
    """
    points = Points(out)
    path = out / "equal.json"
    equal: dict[str, Equal] = json.loads(path.read_text()) if path.exists() else {}
    text = "\n\n".join(_sections(points, faces, labels, equal)) + "\n"
    about = {"torch": torch.__version__, "faces": faces.root.name, "equal": equal}
    found = about | {"labels": dict(labels), "points": points.to_json()}
    write_atomically(out / "results.json", json.dumps(found, indent=1).encode())
    write_atomically(out / "results.md", text.encode())
    curves = {name: _curve(points, name, equal.get(name, {})) for name in labels}
    steps = _steps(points)
    draw_over_scales(out, curves, _single_places(points))
    draw_over_steps(out / "refinement.png", steps, faces.few_count)
    draw_grid(out / "faces.png", _columns(points, labels, equal))
    return text


# --- tables ---

_WHOLE = ("success_attribute", "fid", "kid", "fid_smiling", "identity_similarity")
_FEW = (
    "success_attribute", "fid", "kid", "identity_similarity", "leakage_psnr", "leakage_perceptual",
    "success_iou", "seconds_per_image",
)  # fmt: skip
_EQUAL = ("success_attribute", "fid", "kid", "identity_similarity")
_LEAK = ("leakage_psnr", "leakage_perceptual")
_HEADERS = {
    "success_attribute": "accuracy, %",
    "fid": "FID",
    "kid": "KID",
    "fid_smiling": "FID to smiling",
    "identity_similarity": "identity",
    "leakage_psnr": "leakage, dB",
    "leakage_perceptual": "leakage",
    "success_iou": "IoU",
    "seconds_per_image": "s an image",
}
_DIGITS = {
    "fid": 2, "fid_smiling": 2, "kid": 4, "identity_similarity": 3, "leakage_psnr": 1,
    "leakage_perceptual": 4, "success_iou": 3, "seconds_per_image": 2,
}  # fmt: skip


def _sections(
    points: Points, faces: Faces, labels: Mapping[str, str], equal: Mapping[str, Equal]
) -> Iterator[str]:
    network = _network(points)
    yield (
        f"FID and KID on {network}, to {faces.reference_count} held-out faces, or to the "
        f"{faces.smiling_count} of them that smile; intervals are of 95 %."
    )
    unedited = Shown(UNEDITED, "", points.whole(OURS, 0.0))
    at_one = [Shown(name, labels[name], points.whole(name, 1.0)) for name in labels]
    yield f"### All faces at scale 1, n={faces.count}"
    yield _table(["method", "labels"], _WHOLE, [unedited, *at_one], with_labels=True)
    yield f"### At equal accuracy, n={faces.count}; leakage n={faces.few_count}"
    yield _equal_table(points, labels, equal)
    yield f"### Everything, n={faces.few_count}"
    rows = [Shown(UNEDITED, "", points.few(OURS, 0.0)), Shown(OURS, "", points.few(OURS, 1.0))]
    rows += [
        Shown(f"{OURS}, {mode}", "", points.few(OURS, 1.0, mode)) for mode in points.modes("refine")
    ]
    rows += [
        Shown(f"{mode}, a mask for each face", "", points.few(OURS, 0.0, mode))
        for mode in points.modes("optimize")
    ]
    rows += [
        Shown(f"{name} at {scale:.3g}", "", points.few(name, scale))
        for name in labels
        if (scale := equal.get(name, {}).get("scale")) is not None
    ]
    yield _table(["method"], _FEW, rows)
    yield f"### Over scales, n={faces.count}"
    rows = [
        Shown(f"{name} at {scale:g}", "", points.whole(name, scale))
        for name in labels
        for scale in points.scales(name)
    ]
    yield _table(["method"], _EQUAL, rows)


def _equal_table(points: Points, labels: Mapping[str, str], equal: Mapping[str, Equal]) -> str:
    headers = ["method", "least scale", *(_HEADERS[name] for name in (*_EQUAL, *_LEAK))]
    headers += ["scale of 90 %", "identity there"]
    rows = []
    for name in labels:
        known = equal.get(name, {})
        scale, at_level = known.get("scale"), known.get("at_level")
        whole = Shown(name, "", None if scale is None else points.whole(name, scale))
        few = Shown(name, "", None if scale is None else points.few(name, scale))
        cells = [_cell(whole, one) for one in _EQUAL] + [_cell(few, one) for one in _LEAK]
        there = ["", ""]
        if at_level is not None:
            there = [f"{at_level['scale']:.3g}", f"{at_level['identity']:.3f}"]
        rows.append([name, "not reached" if scale is None else f"{scale:.3g}", *cells, *there])
    return _markdown(headers, rows)


def _table(
    first: Sequence[str], names: Sequence[str], rows: Sequence[Shown], *, with_labels: bool = False
) -> str:
    cells = []
    for shown in rows:
        start = [shown.title, shown.labels] if with_labels else [shown.title]
        cells.append([*start, *(_cell(shown, name) for name in names)])
    return _markdown([*first, *(_HEADERS[name] for name in names)], cells)


def _markdown(headers: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(shown: Shown, name: str) -> str:
    """A value with its interval; nothing where it is not known."""
    found = shown.measure(name)
    if found is None:
        return ""
    factor, digits = (100, 1) if name == "success_attribute" else (1, _DIGITS[name])
    text = f"{factor * found['value']:.{digits}f}"
    if found["interval"] is None:
        return text
    low, high = (f"{factor * end:.{digits}f}" for end in found["interval"])
    return f"{text} ({low} to {high})"


def _network(points: Points) -> str:
    for point in points.to_json().values():
        for name, measure in point["measures"].items():
            if name.startswith("fid"):
                return str(measure["backbone"])
    return "no network (too few faces)"


def _network_suffix(measures: Mapping[str, Any]) -> str:
    """What names of FID and KID end in: nothing for Inception, else the class's own trunk."""
    networks = [one["backbone"] for name, one in measures.items() if name.startswith("fid_")]
    if "fid" in measures or not networks or networks[0] == INCEPTION:
        return ""
    return f"_{networks[0].replace('/', '-')}"


def _is_whole(point: Point, name: str) -> bool:
    return str(point["name"]).startswith(f"whole {name} ")


# --- drawings ---


def _curve(points: Points, name: str, equal: Equal) -> list[DrawnPlace]:
    """What is known of a direction, by scale; between measured scales without FID."""
    swept = {one["scale"]: DrawnPlace(**one) for one in equal.get("curve", ())}
    found = [Shown(name, "", points.whole(name, scale)) for scale in points.scales(name)]
    measured = {float(one.point["scale"]): _place(one) for one in found if one.point is not None}
    return [place for _, place in sorted((swept | measured).items())]


def _place(shown: Shown) -> DrawnPlace:
    assert shown.point is not None
    identity, success = shown.measure("identity_similarity"), shown.measure("success_attribute")
    return DrawnPlace(
        scale=float(shown.point["scale"]),
        accuracy=math.nan if success is None else float(success["value"]),
        identity=math.nan if identity is None else float(identity["value"]),
        fid=shown.value("fid"),
        leakage=shown.value("leakage_psnr"),
        intervals={
            "accuracy": None if success is None else success["interval"],
            "identity": None if identity is None else identity["interval"],
            "fid": (shown.measure("fid") or {}).get("interval"),
            "leakage": (shown.measure("leakage_psnr") or {}).get("interval"),
        },
    )


def _single_places(points: Points) -> dict[str, DrawnPlace]:
    """What was measured on some faces only, and at one scale."""
    found = {}
    for mode in (*points.modes("refine"), *points.modes("optimize")):
        point = points.few(OURS, 0.0 if mode.startswith("optimize") else 1.0, mode)
        if point is not None:
            found[mode] = _place(Shown(mode, "", point))
    return found


def _steps(points: Points) -> dict[int, DrawnPlace]:
    """Our vector at scale 1 by the number of steps of refinement."""
    found = {0: points.few(OURS, 1.0)}
    for mode in points.modes("refine"):
        found[int(mode.partition(":")[2])] = points.few(OURS, 1.0, mode)
    return {steps: _place(Shown("", "", one)) for steps, one in found.items() if one is not None}


def _columns(points: Points, labels: Mapping[str, str], equal: Mapping[str, Equal]) -> list[Column]:
    """The same faces by every method, at the least scale of equal accuracy where it is known."""
    found = [Column(UNEDITED, "", points.pictures(points.whole(OURS, 1.0), "before"))]
    for name in labels:
        reached = None if name == OURS else equal.get(name, {}).get("scale")
        scale = 1.0 if reached is None else reached
        title = name.removeprefix("interfacegan-")
        found.append(
            Column(title, f"scale {scale:.3g}", points.pictures(points.whole(name, scale)))
        )
        if name == OURS:
            modes = [(1.0, mode) for mode in points.modes("refine")[-1:]]
            modes += [(0.0, mode) for mode in points.modes("optimize")]
            found += [
                Column(
                    mode.partition(":")[0],
                    f"{mode.partition(':')[2]} steps",
                    points.pictures(points.few(OURS, at, mode)),
                )
                for at, mode in modes
            ]
    return [one for one in found if one.pictures is not None]
