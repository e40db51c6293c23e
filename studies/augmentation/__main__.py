"""Does it help a model to be trained on edited images?

    OMP_NUM_THREADS=1 python -m studies.augmentation OUT [--quick] [--only smiling]
    OMP_NUM_THREADS=1 python -m studies.augmentation OUT --ablations --seeds 3

In a set of rendered avatars an attribute is rare. A small classifier of the attribute and a small
segmenter are trained on that set as it is, and with what several arms add to it; they are measured
on other renders, half of which show the attribute. Every arm has the same number of steps. What an
arm found with a seed is kept in OUT, so that the same command goes on after a kill, and processes
with different `--only` may share OUT. OUT gets results.json, results.md, results.png, and a picture
of training images of every arm. One thread of a CPU; the same seed gives the same numbers.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
import numpy as np
import torch

from editvec.avatars import default
from editvec.avatars.building.dataset import as_images
from editvec.batch.classes.adding import install_shipped
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels
from editvec.engine.networks.classifier import AttributeClassifier
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from studies.augmentation.report import Comparison, write_grid, write_report
from studies.augmentation.sets import (
    CASES,
    Case,
    Examples,
    Making,
    edited,
    further_positives,
    held_out_set,
    own_masks_outside,
    rare_set,
    sampled,
    sees,
)
from studies.augmentation.training import (
    Schedule,
    Way,
    classifier_scores,
    jittered,
    segmenter_scores,
)

SHARE = 0.05


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        name: Of its files.
        title: In tables.
        added: What joins the rare set: edited images, as many as make it balanced and pass the
            gates, or as many others.
        jitter: Whether images are flipped and their colours changed.
        evenly: Whether a batch holds as many of either class.
        making: Of edited images.
        checked: Whether edited images in which the class's classifier does not see the attribute
            are left out.
        own_masks: Whether edited images have the set's own masks where pixels are the input's.
    """

    name: str
    title: str
    added: Literal["nothing", "samples", "edited", "renders"] = "nothing"
    jitter: bool = False
    evenly: bool = False
    making: Making = field(default_factory=Making)
    checked: bool = False
    own_masks: bool = False


ARMS = (
    Arm("rare", "a. rare set as it is"),
    Arm("evenly", "a'. rare set, classes drawn evenly", evenly=True),
    Arm("jitter", "b. flips and colour jitter", jitter=True),
    Arm("evenly-jitter", "a' with flips and jitter", jitter=True, evenly=True),
    Arm("samples", "c. + labelled samples", "samples"),
    Arm("edited", "d. + edited negatives", "edited"),
    Arm("edited-jitter", "e. d with flips and jitter", "edited", jitter=True),
    Arm("oracle", "oracle: + renders", "renders"),
)
ABLATIONS = (
    Arm("checked", "d, attribute checked", "edited", checked=True),
    Arm("own-masks", "d, own masks outside", "edited", own_masks=True),
    Arm("scale-1", "d, every scale 1", "edited", making=Making("scale-1", scales="1")),
    Arm("ungated", "d, no gates", "edited", making=Making("ungated", gated=False)),
    Arm(
        "whole",
        "d, no compositing",
        "edited",
        making=Making("whole", settings={"composite": "none"}),
    ),
    Arm("refine", "d, refined", "edited", making=Making("refine", settings={"mode": "refine"})),
    Arm(
        "inverted",
        "d, 20 steps of inversion",
        "edited",
        making=Making("inverted", settings={"embed": "steps:20"}),
    ),
)
COMPARISONS = (
    Comparison("arms", {arm.name: arm.title for arm in ARMS}, "rare"),
    Comparison(
        "ablations",
        {
            arm.name: arm.title
            for arm in (*ARMS, *ABLATIONS)
            if arm.name == "edited" or arm in ABLATIONS
        },
        "edited",
    ),
)


class Size(NamedTuple):
    """How much is made, and how long is trained."""

    images: int
    held_out: int
    schedule: Schedule


FULL = Size(320, 600, Schedule(400, 320))
QUICK = Size(40, 40, Schedule(10, 10))


class Bench:
    """Trains and measures arms; what is in the folder is not done again."""

    def __init__(self, out: Path, size: Size) -> None:
        self._out = out
        self._size = size
        out.mkdir(parents=True, exist_ok=True)
        self._library = Library.open(RegistryConfig.for_home(out / "home"))
        install_shipped(self._library, "avatars")
        classifier = Editor.open(default.BUNDLE_FOLDER).classifier
        assert classifier is not None
        self._classifier: AttributeClassifier = classifier
        self._drawn: dict[str, Examples] = {}

    def measure(self, case: Case, arm: Arm, seed: int) -> None:
        """Train both networks of an arm with one seed, unless that is done."""
        path = result_path(self._out, case, arm, seed)
        settings = json.loads(
            json.dumps({"size": self._size, "case": asdict(case), "arm": asdict(arm)})
        )
        if path.exists() and json.loads(path.read_text())["settings"] == settings:
            return
        begun = time.process_time()
        train = self.training_set(case, arm, seed)
        made_in = time.process_time() - begun
        held_out = self._held_out(case)
        way = Way(jitter=arm.jitter, evenly=arm.evenly, seed=seed)
        steps = self._size.schedule
        scores = classifier_scores(train, held_out, way, steps=steps.classifier_steps)
        scores |= segmenter_scores(
            train, held_out, way, parts=case.parts, steps=steps.segmenter_steps
        )
        found = {
            "settings": settings,
            "images": len(train.pixels),
            "positives": int(train.positive.sum()),
            "scores": scores,
            "cpu_seconds_making": round(made_in, 1),
            "cpu_seconds": round(time.process_time() - begun, 1),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        temporary.write_text(json.dumps(found, indent=2))
        temporary.replace(path)

    def _held_out(self, case: Case) -> Examples:
        """Drawn once."""
        if case.attribute not in self._drawn:
            found = held_out_set(case.attribute, count=self._size.held_out)
            self._drawn[case.attribute] = found
        return self._drawn[case.attribute]

    def training_set(self, case: Case, arm: Arm, seed: int) -> Examples:
        """What an arm trains on."""
        rare = rare_set(case.attribute, seed=seed, count=self._size.images, share=SHARE)
        if arm.added == "nothing":
            return rare
        missing = int((~rare.positive).sum() - rare.positive.sum())
        folder = self._out / "sets" / case.attribute / f"{seed}"
        made = edited(self._library, case, arm.making, rare, folder, count=missing)
        if arm.added == "renders":
            return rare + further_positives(case.attribute, seed=seed, count=len(made.pixels))
        if arm.added == "samples":
            return rare + sampled(
                self._library,
                self._classifier,
                case.attribute,
                folder,
                seed=seed,
                count=len(made.pixels),
            )
        if arm.own_masks:
            made = own_masks_outside(made, rare, folder / arm.making.name)
        if arm.checked:
            made = made.where(sees(self._classifier, case.attribute, made.pixels))
        return rare + made

    def shown(self, case: Case, arm: Arm, seed: int) -> Examples:
        """The training set of an arm, as one pass over it shows it to the networks."""
        train = self.training_set(case, arm, seed)
        if not arm.jitter:
            return train
        generator = torch.Generator().manual_seed(seed)
        masks = torch.from_numpy(train.mask)
        images, masks = jittered(as_images(train.pixels), masks, generator)
        return train._replace(pixels=np.asarray(to_pixels(images)), mask=masks.numpy())


def result_path(out: Path, case: Case, arm: Arm, seed: int) -> Path:
    """Where the result of an arm with a seed is kept."""
    return out / "results" / case.attribute / arm.name / f"{seed}.json"


def results(out: Path, arms: Iterable[Arm]) -> dict[str, dict[str, dict[int, Any]]]:
    """What is in the folder: by attribute, arm and seed."""
    found: dict[str, dict[str, dict[int, Any]]] = {}
    for case in CASES:
        for arm in arms:
            for path in sorted((out / "results" / case.attribute / arm.name).glob("*.json")):
                of_arm = found.setdefault(case.attribute, {}).setdefault(arm.name, {})
                of_arm[int(path.stem)] = json.loads(path.read_text())
    return found


@click.command()
@click.argument("out", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", type=click.Choice([case.attribute for case in CASES]), help="One case.")
@click.option("--arm", "names", multiple=True, help="Some arms; may be given several times.")
@click.option("--ablations", is_flag=True, help="Other ways of making the edited images.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--quick", is_flag=True, help="Small sets and few steps, to see that it works.")
def main(
    out: Path, *, only: str | None, names: tuple[str, ...], ablations: bool, seeds: int, quick: bool
) -> None:
    """Measure what additions to a training set are worth, and write tables into the folder OUT."""
    torch.set_num_threads(1)
    known = {arm.name: arm for arm in (*ARMS, *ABLATIONS)}
    if unknown := set(names) - set(known):
        raise click.UsageError(f"--arm: expected some of {', '.join(known)}, got {unknown.pop()}")
    arms = [known[name] for name in names] or [*(ABLATIONS if ablations else ARMS)]
    cases = [case for case in CASES if only in (None, case.attribute)]
    bench = Bench(out, QUICK if quick else FULL)
    for seed in range(seeds):
        for case in cases:
            for arm in arms:
                click.echo(f"seed {seed}, {case.attribute}: {arm.name}", err=True)
                bench.measure(case, arm, seed)
    for case in cases:
        shown = {arm.title: bench.shown(case, arm, 0) for arm in arms}
        kind = "-ablations" if arms[0] in ABLATIONS else ""
        write_grid(out / f"training-{case.attribute}{kind}.png", shown)
    write_report(out, results(out, known.values()), COMPARISONS)
    click.echo((out / "results.md").read_text())


if __name__ == "__main__":
    main()
