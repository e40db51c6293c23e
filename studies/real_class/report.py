"""What `studies/real_class` writes: results.json, results.md and the pictures of curves."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from editvec.batch.quality.samples import read_curve
from editvec.batch.sinks.manifests import UNCHANGED_PSNR
from editvec.engine.training.loop import read_log

_SIZE = (640, 280)
_PLOT = (70, 24, 620, 240)
_INK, _GRID, _LINE = (40, 40, 40), (230, 230, 230), (200, 60, 30)

Table = Sequence[Sequence[object]]


def write_report(
    out: Path,
    done: Mapping[str, Mapping[str, Any]],
    *,
    counts: Mapping[str, int],
    class_name: str,
    lessons: Mapping[str, str],
    device: str,
    edited: Path,
) -> None:
    """Write everything that the steps found into `out`.

    Args:
        out: Folder of the whole.
        done: By name of the step its `words`, `seconds` and `result`.
        counts: Files to train on and held out.
        class_name: Of the class.
        lessons: Operation by name of the vector.
        device: Where it was computed, as torch names it.
        edited: Folder of the run; not looked into where there was none.
    """
    if device.startswith("cuda"):
        device = torch.cuda.get_device_name(device)
    medians = edited_rows(edited / "metadata.jsonl", lessons) if "batch" in done else {}
    found = {"device": device, "counts": counts, "steps": done, "edited": medians}
    (out / "results.json").write_text(json.dumps(found, indent=2))
    curve = read_curve(out / "training" / "generator")
    draw_curve(
        out / "generator.png",
        [(entry["images"] / 1000, entry["kid"]) for entry in curve],
        names=("KID", "thousands of images"),
    )
    validations = [
        (float(entry["step"]), entry["photographs_perceptual"])
        for entry in read_log(out / "training" / "encoder" / "joint")
        if "photographs_perceptual" in entry
    ]
    draw_curve(out / "encoder.png", validations, names=("distance of held-out photographs", "step"))
    lines = [f"# The class {class_name}", "", f"Computed on {device}.", ""]
    for section in (
        _times(done, counts),
        _generator(done, curve),
        _encoder(done),
        _segmentation(done),
        _held_out(done),
        _vectors(done, lessons),
        _edited(done, medians, edited.name),
    ):
        lines += [*section, ""]
    (out / "results.md").write_text("\n".join(lines))


def edited_rows(path: Path, lessons: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Medians over the images of each recipe of a run.

    Args:
        path: The run's metadata.jsonl.
        lessons: Names of the recipes.
    """
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found = {}
    for name in lessons:
        metrics = [row["metrics"] for row in rows if row["recipe"] == name]
        told = [one["leakage"]["psnr"] for one in metrics]
        leaked = [None if value == UNCHANGED_PSNR else value for value in told]
        if not metrics:
            continue
        found[name] = {
            "images": len(metrics),
            "reconstruction_psnr": _median(one["reconstruction"]["psnr"] for one in metrics),
            "leakage_psnr": _median(value for value in leaked if value is not None),
            "unchanged": sum(value is None for value in leaked),
        }
    return found


def draw_curve(
    path: Path, points: Sequence[tuple[float, float]], *, names: tuple[str, str]
) -> None:
    """Draw positive values on a logarithmic scale; nothing where there are fewer than two.

    Args:
        path: PNG to write.
        points: (where, value), in order.
        names: Of the value and of the axis.
    """
    shown = [(x, y) for x, y in points if y > 0]
    if len(shown) < 2:
        return
    canvas = Image.new("RGB", _SIZE, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    left, top, right, bottom = _PLOT
    heights = np.log10([value for _, value in shown])
    low, high = float(heights.min()), float(heights.max()) + 1e-6
    first, last = shown[0][0], shown[-1][0]

    def place(x: float, height: float) -> tuple[float, float]:
        across = (x - first) / ((last - first) or 1)
        return left + (right - left) * across, bottom - (bottom - top) * (height - low) / (
            high - low
        )

    for height in np.linspace(low, high, 5).tolist():
        y = place(first, height)[1]
        draw.line([left, y, right, y], fill=_GRID)
        draw.text((left - 6, y), f"{10**height:.3g}", fill=_INK, font=font, anchor="rm")
    for x in np.linspace(first, last, 5).tolist():
        draw.text((place(x, low)[0], bottom + 6), f"{x:.4g}", fill=_INK, font=font, anchor="mt")
    line = [place(x, float(height)) for (x, _), height in zip(shown, heights, strict=True)]
    draw.line(line, fill=_LINE, width=3, joint="curve")
    draw.text((left, 6), names[0], fill=_INK, font=font)
    draw.text(((left + right) / 2, bottom + 22), names[1], fill=_INK, font=font, anchor="mt")
    canvas.save(path)


# --- sections ---


def _times(done: Mapping[str, Mapping[str, Any]], counts: Mapping[str, int]) -> list[str]:
    rows = [(name, f"{step['seconds']:.0f}") for name, step in done.items()]
    total = sum(step["seconds"] for step in done.values())
    data = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [f"Files: {data}.", "", *_table(("step", "seconds"), [*rows, ("all", f"{total:.0f}")])]


def _generator(
    done: Mapping[str, Mapping[str, Any]], curve: Sequence[Mapping[str, Any]]
) -> list[str]:
    rows = [
        (f"{entry['images'] / 1000:g}", _number(entry["kid"]), _number(entry.get("fid")))
        for entry in curve
    ]
    network = done["generator"]["result"]["measured"].get("network", "")
    table = _table(("thousands of images", f"KID ({network})", "FID"), rows)
    return ["## Generator", "", "![KID](generator.png)", "", *table]


def _encoder(done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = done["encoder"]["result"]
    network = found["measured"]["network"]
    rows = [
        (row["way"], _number(row["psnr"]), _number(row["perceptual"]), _number(row["seconds"]))
        for row in found["comparison"]
    ]
    header = ("embedded by", "PSNR, dB", network, "seconds an image")
    told = (
        f"On {found['compared_on']} that were not trained on; of {found['photographs']} "
        f"photographs {len(found['unlike'])} did not look like the class."
    )
    picture = "![Distance of held-out photographs](encoder.png)"
    return ["## Encoder", "", told, "", picture, "", *_table(header, rows)]


def _segmentation(done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = done["segmentation"]["result"]
    measured = found["measured"]
    rows = [
        (part["name"], part["images"], part["pixels"], _number(part["iou"]))
        for part in measured["parts"]
        if part["images"] or part["iou"] is not None
    ]
    told = (
        f"Trained on {found['trained_on']} annotated images; mean IoU "
        f"{_number(measured['mean_iou'])} in {measured['folds']} rounds of cross-validation."
    )
    table = _table(("part", "images", "pixels", "IoU"), rows)
    picture = "![Annotations beside predictions](training/segmentation/predictions.png)"
    return ["## Segmentation", "", told, "", picture, "", *table]


def _held_out(done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    row = done["compare"]["result"][0]
    rows = [
        ("photographs", row["images"]),
        ("PSNR by the encoder, dB", _number(row["psnr"])),
        (f"PSNR after {row['steps']} steps, dB", _number(row["psnr_after"])),
        (f"{row['perceptual_name']} after {row['steps']} steps", _number(row["perceptual_after"])),
        ("annotated images", row["pairs"]),
        ("mean IoU of their parts", _number(row["mean_iou"])),
    ]
    picture = "![Photographs above, reconstructions below](held-out.png)"
    return ["## Held out of all trainings", "", picture, "", *_table(("", ""), rows)]


def _vectors(done: Mapping[str, Mapping[str, Any]], lessons: Mapping[str, str]) -> list[str]:
    rows = []
    for name, operation in lessons.items():
        if f"learn {name}" not in done:
            rows.append((name, f"`{operation}`", *["not learned"] * 4))
            continue
        found = done[f"learn {name}"]["result"]
        metrics = {key: metric["value"] for key, metric in found["metrics"].items()}
        shown = [_number(metrics.get(key)) for key in ("success_iou_unedited", "success_iou")]
        leaked = _number(metrics.get("leakage_psnr"))
        rows.append((name, f"`{operation}`", *shown, leaked, f"{found['seconds']:.0f}"))
    header = ("vector", "operation", "IoU before", "IoU in the ROI", "leakage, dB", "seconds")
    return ["## Vectors", "", *_table(header, rows)]


def _edited(
    done: Mapping[str, Mapping[str, Any]], edited: Mapping[str, Mapping[str, Any]], folder: str
) -> list[str]:
    if not edited:
        return []
    rows = [
        (
            name,
            row["images"],
            _number(row["reconstruction_psnr"]),
            _number(row["leakage_psnr"]),
            row["unchanged"],
        )
        for name, row in edited.items()
    ]
    header = ("vector", "images", "reconstruction, dB", "leakage, dB", "unchanged outside")
    told = (
        f"Medians over held-out photographs, in [{folder}]({folder}/report.html), in "
        f"{done['batch']['seconds']:.0f} s."
    )
    picture = f"![Before, after and mask]({folder}/contact_sheet.png)"
    return ["## Edited photographs", "", told, "", picture, "", *_table(header, rows)]


def _table(header: Sequence[str], rows: Table) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None
