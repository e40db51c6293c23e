"""The demo: the whole story in a folder of its own, from an empty library to an image set."""

from __future__ import annotations

import io
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from editvec.avatars import default
from editvec.avatars.drawing.parameters import FloatArray, index, sample
from editvec.avatars.drawing.render import render
from editvec.avatars.starter import RESOLUTION, SURPRISE, write_pair
from editvec.batch.classes.adding import install_shipped
from editvec.batch.errors import PlanError
from editvec.batch.execution.local import Progress, run_locally
from editvec.batch.learning.learn import LearnedVector, OnProgress, learn_vector
from editvec.batch.learning.request import LearnRequest
from editvec.batch.recipes.pinning import EditArgument
from editvec.batch.recipes.settings import Composite, Mode, RunSettings
from editvec.batch.reports.contact_sheet import MAX_SAMPLES, Section, draw_contact_sheet
from editvec.batch.reports.pictures import SampleReader
from editvec.batch.reports.tally import RunTally
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.manifests import METADATA
from editvec.batch.workbench import Workbench
from editvec.masking import is_url
from editvec.registry.config import RegistryConfig
from editvec.registry.drawing import png_bytes
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.entities.vectors import EditingVector, NewTerm
from editvec.registry.errors import VectorNotFoundError
from editvec.registry.files import write_atomically

PHOTO_COUNT = 48
# Far from every seed that the class was trained or is measured with.
PHOTO_SEED = 31_415_926
_PHOTO_FOLDERS = ("family", "friends", "team")
_SMILING_EVERY = 6

SETTINGS = RunSettings(embed="steps:30", composite=Composite.FEATHER, refine_steps=10)
COMPOSED = "delight"
_TERMS = (("smile", 0.8), (SURPRISE.name, 0.5))
RUNS: Mapping[str, Mode] = {
    "smile": Mode.REFINE,
    SURPRISE.name: Mode.VECTOR,
    COMPOSED: Mode.REFINE,
}
"""Vectors that are applied to the photographs, each at scale 1 and into a folder of its name.

One of them goes without refinement, which takes most of the time.
"""

_MARKER = ".editvec-demo"
_SHEET = "contact_sheet.png"
_PHOTOS = "photos"

Say = Callable[[str], object]


class DemoOutcome(NamedTuple):
    """What the demo left behind.

    Attributes:
        out: Its folder.
        seconds: How long it took.
        images: Number of images that the runs made.
        with_failures: Whether an item of a run failed.
    """

    out: Path
    seconds: float
    images: int
    with_failures: bool

    def closing_lines(self, command: str) -> list[str]:
        """Where to look and what to try next.

        Args:
            command: How `editvec` is called on the demo's library.
        """
        first = self.out / next(iter(RUNS))
        photos, gaze, new = (shlex.quote(str(self.out / name)) for name in (_PHOTOS, "gaze", "new"))
        return [
            f"Done in {self.seconds:.0f} s: {self.images} edited images with their masks. Look at",
            f"  {self.out / _SHEET}",
            f"  {first / 'report.html'}",
            f"  {first / METADATA}",
            "Try next",
            f"  {command} registry list",
            f"  {command} batch run {photos} {gaze} --class {default.CLASS_NAME} "
            "--edit look-left=-1:1:3",
            f"  {command} batch generate {new} --class {default.CLASS_NAME} --count 24 "
            f"--edit {COMPOSED}=1",
        ]


def run_demo(
    config: RegistryConfig,
    out: Path,
    *,
    device: str | None = None,
    say: Say,
    on_progress: OnProgress | None = None,
) -> DemoOutcome:
    """Tell the story. What an earlier demo in the same folder finished is not done again.

    Args:
        config: The library to work with.
        out: Folder of the demo; made if it is missing.
        device: None takes a CUDA device if there is one.
        say: Called with each line of the story.
        on_progress: Told how far a long step is.

    Raises:
        PlanError: `out` holds files that no demo made.
        RegistryError, EngineError, BatchError: As the parts of the program raise them.
    """
    started = time.monotonic()
    _claim(out, config.home)
    with Workbench.open(config, device=device) as bench:
        with _step(1, f"A library in {config.home}", say):
            say(f"   {_install(bench)}")
        with _step(2, f"{PHOTO_COUNT} photographs in {out / _PHOTOS}", say):
            write_photographs(out / _PHOTOS)
            say("   rendered avatars: no generator made them, and most do not smile")
        with _step(3, f"Learning {SURPRISE.address} from one edited mask", say):
            say(f"   {_learn(bench, out / 'lesson', on_progress)}")
        with _step(4, f"Composing {default.CLASS_NAME}/{COMPOSED}", say):
            say(f"   {_compose(bench)}")
        images, with_failures = 0, False
        for number, (name, mode) in enumerate(RUNS.items()):
            with _step(5 + number, f"Editing the photographs: {name}, mode {mode}", say):
                made = _edit(bench, out, name, on_progress)
                say(f"   {made.images} images, masks and labels in {out / name}")
            images += made.images
            with_failures = with_failures or made.with_failures
    _draw_sheet(out)
    return DemoOutcome(out, time.monotonic() - started, images, with_failures)


@contextmanager
def _step(number: int, title: str, say: Say) -> Iterator[None]:
    """Numbers a step of the story, and tells how long it took if that was noticeable."""
    started = time.monotonic()
    say(f"{number}. {title}")
    yield
    seconds = time.monotonic() - started
    if seconds >= 1:
        say(f"   ({seconds:.0f} s)")


def _claim(out: Path, home: Path) -> None:
    """Make the folder ours, unless it holds somebody else's files."""
    if is_url(out):
        raise PlanError(f"output folder: expected a folder of this machine, got a URL, {out}")
    marker = out / _MARKER
    if not marker.exists():
        ours = {home.resolve()}
        if out.exists() and (
            not out.is_dir() or any(path.resolve() not in ours for path in out.iterdir())
        ):
            raise PlanError(f"demo folder: {out} holds other files; choose a new or empty folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(marker, b"Made by `editvec demo`.\n")


def _install(bench: Workbench) -> str:
    model = install_shipped(bench.library, default.CLASS_NAME)
    vectors = bench.library.find_vectors(VectorQuery(class_name=model.name))
    return (
        f"class {model.address} ({model.resolution} x {model.resolution} pixels, "
        f"{len(model.labels)} parts) and {len(vectors)} vectors"
    )


# Photographs.


def people(count: int) -> FloatArray:
    """Parameters of the people on the photographs, [count, P]; every sixth of them smiles."""
    params = sample(count, seed=PHOTO_SEED)
    smile = index("smile")
    earnest = np.arange(count) % _SMILING_EVERY != 0
    # fold the prior's range of mouths into its earnest half
    curve = np.abs(params[:, smile])
    params[:, smile] = np.where(earnest, -0.8 * curve, curve)
    return params


def write_photographs(folder: Path) -> None:
    """Write the photographs into sub-folders; a file that is right already is left alone."""
    for number, pixels in enumerate(render(people(PHOTO_COUNT), RESOLUTION).pixels):
        place = folder / _PHOTO_FOLDERS[number % len(_PHOTO_FOLDERS)]
        path = place / f"person-{number + 1:02d}.png"
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        # a run remembers when its inputs were written: do not write them again without need
        if not path.is_file() or path.read_bytes() != stream.getvalue():
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(path, stream.getvalue())


# Vectors.


def _find(bench: Workbench, name: str) -> EditingVector | None:
    try:
        return bench.library.get_vector(f"{default.CLASS_NAME}/{name}")
    except VectorNotFoundError:
        return None


def _learn(bench: Workbench, folder: Path, on_progress: OnProgress | None) -> str:
    known = _find(bench, SURPRISE.name)
    if known is not None:
        return f"{known.address} is in the library already"
    entry = write_pair(SURPRISE, folder)
    request = LearnRequest.from_json(entry, folder=folder)
    outcome = learn_vector(
        bench.library, bench.editor_for(SURPRISE.address), request, on_progress=on_progress
    )
    return _learned_text(outcome)


def _learned_text(outcome: LearnedVector) -> str:
    before, after = (
        outcome.learned.metrics[name].value for name in ("success_iou_unedited", "success_iou")
    )
    return (
        f"{outcome.vector.address}: {outcome.learned.num_steps} steps, IoU in the ROI "
        f"{before:.2f} -> {after:.2f}"
    )


def _compose(bench: Workbench) -> str:
    text = " + ".join(f"{scale:g} {name}" for name, scale in _TERMS)
    vector = bench.library.compose(
        f"{default.CLASS_NAME}/{COMPOSED}",
        [NewTerm(address=f"{default.CLASS_NAME}/{name}", scale=scale) for name, scale in _TERMS],
        description="A smile of surprise.",
        reason="editvec demo",
    )
    return f"{vector.address} = {text}, parts {', '.join(vector.roi_labels)}"


# The runs.


class _Made(NamedTuple):
    images: int
    with_failures: bool


def _edit(bench: Workbench, out: Path, name: str, on_progress: OnProgress | None) -> _Made:
    """Apply one vector to the photographs, or find that it was done before."""
    request = RunRequest(
        class_name=default.CLASS_NAME,
        input_folder=out / _PHOTOS,
        output_folder=out / name,
        edits=[EditArgument(vector=name, scales=(1.0,))],
        settings=replace(SETTINGS, mode=RUNS[name]),
    )
    run = open_run(bench.library, request).run
    if not run.is_finished:

        def show(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(f"edit {name}", progress.finished, progress.total)

        run = run_locally(bench.library, run, device=bench.device, on_progress=show)
    images = Runs(bench.library.engine).counts(run.id).done
    return _Made(images, run.state != "completed")


def _draw_sheet(out: Path) -> None:
    """One contact sheet of all runs."""
    sections = []
    for name in RUNS:
        folder = out / name
        reader = SampleReader(folder, inputs_root=out / _PHOTOS, side=128)
        tally = RunTally(samples_per_recipe=MAX_SAMPLES)
        with (folder / METADATA).open(encoding="utf-8") as rows:
            tally.add_all(map(json.loads, rows))
        for recipe in tally.recipes.values():
            shown = sorted(recipe.spread.rows(), key=lambda row: str(row["source"]))
            samples = [reader.read(row) for row in shown]
            sections.append(Section(recipe, samples))
    subtitle = f"{PHOTO_COUNT} photographs  ·  every vector learned from one mask pair"
    sheet = draw_contact_sheet("editvec demo", subtitle, sections)
    write_atomically(out / _SHEET, png_bytes(sheet))
