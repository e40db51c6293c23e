"""The smile benchmark: one vector from one mask pair against other ways to make a face smile.

    OMP_NUM_THREADS=1 python -m studies.smile OUT [--count 400] [--few 48] [--quick]

The protocol is that of MaskGAN (Lee et al. 2020), as EditGAN (Ling et al. 2021) took it over, on
the shipped class `avatars`: faces with a neutral expression are embedded and made to smile; told
are the share that the class's attribute classifier then sees smile, FID and KID to held-out faces,
and how like themselves they are to the identity network. All methods edit the same faces by the
same generator, are judged by the same networks, and go through the code of `editvec evaluate`.

Every value is kept in OUT/points as soon as it is known: after a kill, the same command measures
only what is missing, and `--only` measures a part. The tables, the figures and the pictures are
made of what is there. One seed gives the same numbers again; seconds are of this machine, now.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch

from editvec.avatars.default import CLASS_NAME
from editvec.batch.classes.adding import install_shipped
from editvec.batch.discovery.discover import discover
from editvec.batch.discovery.request import DiscoverRequest, Method
from editvec.batch.runs.plan import canonical_json
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.files import write_atomically
from editvec.registry.library.library import Library
from studies.smile.faces import write_faces
from studies.smile.points import ATTRIBUTE, Bench, Place, place_of
from studies.smile.report import OURS, write_report

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0)
LEVEL = 0.9
"""An accuracy that no method has saturated at: where identities are compared too."""

_SEARCHED = (0.0, 0.5, 1.0, 2.0)
_FURTHER = (3.0, 4.0, 6.0, 8.0)
_BETWEEN, _FINE = 3, 0.13
_ROI = ("mouth", "teeth")


class Rival(NamedTuple):
    """Another way to a direction, learned on the same generator.

    Attributes:
        name: Of the vector.
        request: What finds it.
        labels: What a person has to bring.
    """

    name: str
    request: DiscoverRequest
    labels: str


def all_rivals(seed: int, samples: int, searched: int) -> list[Rival]:
    """The published directions; each is told the mouth as its ROI, so that all leak alike.

    Args:
        seed: Of the samples.
        samples: That are labelled, by the class's classifier.
        searched: Samples whose principal components are taken.
    """

    def rival(name: str, method: Method, labels: str, **settings: Any) -> Rival:
        request = DiscoverRequest(
            CLASS_NAME, name, method, attribute=ATTRIBUTE, seed=seed, roi=_ROI, **settings
        )
        return Rival(name, request, labels)

    labelled = f"{samples} labelled samples"
    chosen = "none; 10 directions to choose from"
    return [
        rival("interfacegan", Method.INTERFACEGAN, labelled, samples=samples),
        rival(
            "interfacegan-conditional", Method.INTERFACEGAN, f"{labelled}, of 3 attributes",
            samples=samples, conditional=("mouth_open", "brows_raised"),
        ),
        rival("mean", Method.MEAN, labelled, samples=samples),
        rival("sefa", Method.SEFA, chosen, samples=searched),
        rival("ganspace", Method.GANSPACE, chosen, samples=searched),
    ]  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        scales: Of the curves.
        search: Scales between which equal accuracy is looked for.
        refine_steps: Of the ablation.
        optimize_steps: For each image.
        rivals: Other directions.
    """

    scales: Sequence[float]
    search: Sequence[float]
    refine_steps: Sequence[int]
    optimize_steps: int
    rivals: Sequence[Rival]


# --- what is measured ---


def measure_curves(bench: Bench, vectors: dict[str, EditingVector], plan: Plan) -> None:
    """Every direction at every scale."""
    for name, vector in vectors.items():
        for scale in plan.scales:
            bench.whole(name, vector, scale)


def measure_equal(bench: Bench, vectors: dict[str, EditingVector], plan: Plan) -> None:
    """Every direction at the least scale that reaches what ours does at 1, and around `LEVEL`."""
    target = place_of(bench.whole(OURS, vectors[OURS], 1.0)).accuracy
    found = {}
    for name, vector in vectors.items():
        curve: list[Place] = []
        for scale in plan.search:
            curve.append(place_of(bench.whole(name, vector, scale)))
            if curve[-1].accuracy >= target:
                break
        else:
            curve += bench.sweep(name, vector, _FURTHER)
        for level in sorted({LEVEL, target}):
            curve = finer(bench, name, vector, curve, level)
        least = next((one.scale for one in curve if one.accuracy >= target), None)
        if least is not None:
            bench.whole(name, vector, least)
            bench.few(name, vector, least)
        at_level = reaching(curve, LEVEL)
        found[name] = {
            "scale": least,
            "at_level": None if at_level is None else at_level._asdict(),
            "curve": [one._asdict() for one in curve],
        }
        write_atomically(bench.out / "equal.json", json.dumps(found, indent=1).encode())


def finer(
    bench: Bench, name: str, vector: EditingVector, curve: Sequence[Place], level: float
) -> list[Place]:
    """A curve with more scales where it first reaches an accuracy, in the order of the scales."""
    ordered = sorted(curve)
    for low, high in itertools.pairwise(ordered):
        if low.accuracy < level <= high.accuracy:
            if high.scale - low.scale <= _FINE:
                break
            inner = np.linspace(low.scale, high.scale, _BETWEEN + 2)[1:-1]
            more = bench.sweep(name, vector, [round(float(one), 4) for one in inner])
            return sorted([*ordered, *more])
    return ordered


def reaching(curve: Sequence[Place], level: float) -> Place | None:
    """Where a curve first reaches an accuracy, on the line between its neighbours.

    Example:
        >>> reaching([Place(0.0, 0.0, 1.0), Place(1.0, 0.8, 0.9)], 0.4)
        Place(scale=0.5, accuracy=0.4, identity=0.95)
    """
    for low, high in itertools.pairwise(sorted(curve)):
        if low.accuracy < level <= high.accuracy:
            share = (level - low.accuracy) / (high.accuracy - low.accuracy)
            scale = low.scale + share * (high.scale - low.scale)
            return Place(scale, level, low.identity + share * (high.identity - low.identity))
    return None


def measure_refined(bench: Bench, vectors: dict[str, EditingVector], plan: Plan) -> None:
    """Our vector, refined for some steps."""
    for scale in (0.0, 1.0):
        bench.few(OURS, vectors[OURS], scale)
    for steps in plan.refine_steps:
        bench.few(OURS, vectors[OURS], 1.0, f"refine:{steps}")


def measure_optimized(bench: Bench, vectors: dict[str, EditingVector], plan: Plan) -> None:
    """Each face by itself towards the renderer's mask: our vector at scale 0 lends its ROI."""
    bench.few(OURS, vectors[OURS], 0.0, f"optimize:{plan.optimize_steps}")


PARTS: dict[str, Callable[[Bench, dict[str, EditingVector], Plan], None]] = {
    "equal": measure_equal,
    "curves": measure_curves,
    "refine": measure_refined,
    "optimize": measure_optimized,
}


def find_vectors(
    library: Library, rivals: Sequence[Rival], editor: Editor
) -> dict[str, EditingVector]:
    """Our vector, and those of the other methods, found now or by an earlier call."""
    vectors = {OURS: library.get_vector(f"{CLASS_NAME}/smile")}
    held = {one.name for one in library.iterate_vectors(VectorQuery(class_name=CLASS_NAME))}
    for rival in rivals:
        asked = hashlib.sha256(canonical_json([str(rival.request)])).hexdigest()[:8]
        name = f"{rival.name}-{asked}"
        if name not in held:
            click.echo(f"--- finding {rival.name}", err=True)
            discover(library, replace(rival.request, name=name), editor=editor)
        vectors[rival.name] = library.get_vector(f"{CLASS_NAME}/{name}")
    return vectors


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--count", type=click.IntRange(8), default=400, show_default=True)
@click.option(
    "--few",
    type=click.IntRange(8),
    default=48,
    show_default=True,
    help="Faces for leakage, refinement and optimisation, which take long.",
)
@click.option("--reference", type=click.IntRange(16), default=1000, show_default=True)
@click.option("--samples", type=click.IntRange(64), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(0, 99), default=0, show_default=True)
@click.option(
    "--quick", is_flag=True, help="Fewer scales, steps and samples, to see that it works."
)
@click.option(
    "--only", type=click.Choice(list(PARTS)), multiple=True, help="Measure these parts only."
)
def command(
    out: Path,
    count: int,
    few: int,
    reference: int,
    samples: int,
    seed: int,
    quick: bool,
    only: tuple[str, ...],
) -> None:
    """Measure, and write results.json, results.md, figures and pictures into OUT."""
    torch.set_num_threads(1)  # other numbers of threads round differently
    if quick:
        reference, samples = 64, 64
        mean = next(one for one in all_rivals(seed, samples, samples) if one.name == "mean")
        plan = Plan((0.0, 1.0), (0.0, 1.0), (2,), 2, [mean])
    else:
        plan = Plan(SCALES, _SEARCHED, (10, 30, 60), 100, all_rivals(seed, samples, 10_000))
    with Library.open(RegistryConfig.for_home(out / "home")) as library:
        model = install_shipped(library, CLASS_NAME)
        faces = write_faces(
            out / "faces", count=count, few_count=min(few, count), reference_count=reference,
            seed=seed, resolution=model.resolution,
        )  # fmt: skip
        bench = Bench(out, library, faces, seed)
        chosen = only or PARTS
        asked = plan.rivals if {"curves", "equal"} & set(chosen) else ()
        vectors = find_vectors(library, asked, bench.editor)
        for part in chosen:
            PARTS[part](bench, vectors, plan)
    labels = {OURS: "1 mask pair"} | {one.name: one.labels for one in plan.rivals}
    click.echo(write_report(out, faces, labels))


if __name__ == "__main__":
    command()
