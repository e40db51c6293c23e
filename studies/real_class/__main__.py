"""A class of real photographs in one command: trained, measured, used, with every step timed.

    python -m studies.real_class DATA OUT [--quick]

DATA is a folder, or a tar of one, with

    photos/             photographs of one kind of thing, cropped alike
    labelled/images/    annotated images
    labelled/masks/     their part masks
    scheme.json         or .yaml: the label scheme of the masks

Every step is a command of `editvec`: generator, encoder and segmentation are trained, one vector is
learned for each `--vector`, and a run edits photographs that no training has seen. OUT gets the
library, results.json, and results.md with tables and curves. Nothing is written elsewhere. The same
command goes on after a kill, and does no finished step again.

`--quick` begins with the generator of the shipped class and trains everything for seconds, to see
on a CPU that it works: what it makes is of no use.
"""

import json
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import yaml
from PIL import Image

from editvec.avatars.default import BUNDLE_FOLDER, CLASS_NAME
from editvec.batch.workbench import default_device
from editvec.registry.errors import RegistryError
from editvec.registry.labels.files import read_scheme
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.masks.operation_text import parse_edits
from studies.real_class.report import write_report

VECTORS = (
    "lights=back_left_light,back_right_light: scale 1.5",
    "bumper=back_bumper: scale 1x1.4",
    "rear-window=back_glass: scale 1x0.7",
)
PAIRS = 16
HELD_OUT = 64
WITH_FAILURES = 3  # a run ended, and some images could not be read
QUICK_PHOTOGRAPHS, QUICK_HELD_OUT = 48, 4

Words = list[str | Path]


class Method(NamedTuple):
    """The words of each command beside those that say what it works on."""

    generator: str
    encoder: str
    segmentation: str
    compare: str
    learn: str
    batch: str


FULL = Method(
    generator="--resolution 64 --mirror --kimg 3000 --snapshot-kimg 100 --fid",
    encoder="--compared 32 --compared-steps 100",
    segmentation="--embed steps:300",
    compare="--count 64 --embed-steps 200",
    learn="--embed steps:300",
    batch="--embed steps:100",
)
QUICK = Method(
    generator=f"--from {CLASS_NAME} --mirror --batch-size 4 --kimg 0.012 --snapshot-kimg 0.008 "
    "--measured 16 --path-length 0 --augment none --fid",
    encoder="--width 4 --steps 40 --photo-steps 4 --batch-size 4 --validate-steps 10 --held-out 4 "
    "--compared 2 --compared-steps 2 --keep-unlike",
    segmentation="--embed steps:10 --steps 150 --members 2 --folds 2 --keep-unlike",
    compare="--count 4 --embed-steps 3",
    learn="--embed steps:10 --steps 20",
    batch="--embed encoder",
)


@dataclass(frozen=True)
class Data:
    """What the user brought, and how it was divided.

    Attributes:
        photographs: Folder to train on.
        unseen: Folder of photographs that are held out.
        pairs: Folder of annotated images to train on.
        unseen_pairs: Folder of those that are held out.
        scheme: File of the label scheme.
        counts: Of each, by name.
    """

    photographs: Path
    unseen: Path
    pairs: Path
    unseen_pairs: Path
    scheme: Path
    counts: dict[str, int]


class Steps:
    """Runs commands of `editvec`; what is finished is kept in a file for each and not run again."""

    def __init__(self, out: Path, device: str | None) -> None:
        self._folder = out / "steps"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._home = out / "home"
        self._device = [] if device is None else ["--device", device]
        self.done: dict[str, dict[str, Any]] = {}

    def knows(self, name: str) -> bool:
        """Whether a step was finished, now or by an earlier call."""
        return self._path(name).exists()

    def run(self, name: str, words: Sequence[str | Path], *, computes: bool = True) -> Any:
        """Run a command, or find what it said before; raises `ClickException` if it fails.

        Args:
            name: Of the step.
            words: After `editvec`.
            computes: Whether it takes a device and prints JSON.
        """
        typed = [str(word) for word in words]
        path = self._path(name)
        kept = json.loads(path.read_text()) if path.exists() else None
        if kept is None or kept["words"] != typed:
            click.echo(f"--- {name}: editvec {shlex.join(typed)}", err=True)
            begun = time.monotonic()
            output = self._output([*typed, *self._device, "--json"] if computes else typed, name)
            kept = {
                "words": typed,
                "seconds": round(time.monotonic() - begun, 1),
                "result": json.loads(output) if computes else output,
            }
            temporary = path.with_suffix(".partial")
            temporary.write_text(json.dumps(kept, indent=2))
            temporary.replace(path)
        self.done[name] = kept
        return kept["result"]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _output(self, words: list[str], name: str) -> str:
        command = [sys.executable, "-m", "editvec", "--home", str(self._home), *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in (0, WITH_FAILURES):
            raise click.ClickException(f"{name}: editvec ended with status {done.returncode}")
        return done.stdout


@click.command()
@click.argument("source", metavar="DATA", type=click.Path(exists=True, path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--class", "class_name", default="car", show_default=True)
@click.option(
    "--vector",
    "vectors",
    multiple=True,
    default=VECTORS,
    metavar="NAME=OPERATION",
    help="A vector and the edit of masks that it is learned from. [default: three of cars]",
)
@click.option("--pairs", default=PAIRS, show_default=True, type=click.IntRange(4))
@click.option("--held-out", type=click.IntRange(1), help=f"Photographs. [default: {HELD_OUT}]")
@click.option("--generator", default="", help="Further words of `train generator`.")
@click.option("--encoder", default="", help="Further words of `train encoder`.")
@click.option("--segmentation", default="", help="Further words of `train segmentation`.")
@click.option("--seed", default=0, show_default=True, help="Of what is held out.")
@click.option("--device", help="cpu, cuda, cuda:1...")
@click.option("--quick", is_flag=True, help="Seconds of training, to see that it works.")
def main(
    source: Path,
    out: Path,
    *,
    class_name: str,
    vectors: tuple[str, ...],
    pairs: int,
    held_out: int | None,
    generator: str,
    encoder: str,
    segmentation: str,
    seed: int,
    device: str | None,
    quick: bool,
) -> None:
    """Make a class of DATA, and write what it is worth into the folder OUT."""
    lessons = dict(_lesson(text) for text in vectors)
    method = QUICK if quick else FULL
    method = method._replace(
        generator=f"{method.generator} {generator}",
        encoder=f"{method.encoder} {encoder}",
        segmentation=f"{method.segmentation} {segmentation}",
    )
    steps = Steps(out, device)
    if quick:
        steps.run("start", ["model", "add", BUNDLE_FOLDER], computes=False)
    data = divide(
        find_data(source, out),
        out,
        steps,
        pairs=pairs,
        held_out=held_out or (QUICK_HELD_OUT if quick else HELD_OUT),
        most=QUICK_PHOTOGRAPHS if quick else None,
        seed=seed,
    )
    train(steps, data, class_name, method, out)
    failed = learn(steps, data, class_name, method, lessons, out)
    learned = [name for name in lessons if name not in failed]
    edited = out / "-".join(["edited", *(learned if failed else [])])
    if learned:
        edit(steps, data, class_name, method, learned, edited)
    write_report(
        out,
        steps.done,
        counts=data.counts,
        class_name=class_name,
        lessons=lessons,
        device=device or default_device(),
        edited=edited,
    )
    click.echo(out / "results.md")
    if failed:
        raise click.ClickException(f"not learned: {', '.join(failed)}")


def train(steps: Steps, data: Data, class_name: str, method: Method, out: Path) -> None:
    """Train the three networks, and measure them on what was held out."""
    chosen = ["--class", class_name]
    for what, folder, settings in (
        ("generator", data.photographs, method.generator),
        ("encoder", data.photographs, method.encoder),
        ("segmentation", data.pairs, method.segmentation),
    ):
        words: Words = ["train", what, folder, *chosen, "--work", out / "training" / what]
        if what == "segmentation":
            words += ["--scheme", data.scheme]
        steps.run(what, [*words, *shlex.split(settings)])
    words = ["model", "compare", class_name, "--photos", data.unseen, "--pairs", data.unseen_pairs]
    words += ["--picture", out / "held-out.png"]
    steps.run("compare", [*words, *shlex.split(method.compare)])


def learn(
    steps: Steps,
    data: Data,
    class_name: str,
    method: Method,
    lessons: dict[str, str],
    out: Path,
) -> list[str]:
    """Learn each vector from the annotated image that shows most of its parts.

    Returns:
        Names of those that could not be learned: one failure costs nothing but its vector.
    """
    scheme = read_scheme(data.scheme)
    failed = []
    for name, operation in lessons.items():
        mask = best_mask(data.pairs / "masks", scheme, operation)
        words: Words = ["learn", f"{class_name}/{name}"]
        words += ["--image", _image_of(mask, data.pairs / "images"), "--mask-before", mask]
        words += ["--operation", operation, "--picture", out / f"asked-{name}.png"]
        try:
            steps.run(f"learn {name}", [*words, *shlex.split(method.learn)])
        except click.ClickException as exc:
            click.echo(exc.message, err=True)
            failed.append(name)
    return failed


def edit(
    steps: Steps,
    data: Data,
    class_name: str,
    method: Method,
    vectors: Sequence[str],
    target: Path,
) -> None:
    """Edit the held-out photographs by each vector, into `target`."""
    recipes = target.with_suffix(".yaml")
    listed = [{"name": name, "edits": {name: 1}} for name in vectors]
    recipes.write_text(yaml.safe_dump({"recipes": listed}))
    words: Words = ["batch", "run", data.unseen, target]
    words += ["--class", class_name, "--recipes", recipes]
    steps.run("batch", [*words, *shlex.split(method.batch)])


# --- data ---


def find_data(source: Path, out: Path) -> Path:
    """The folder with `photos` and `labelled`; a tar is unpacked first."""
    folder = source
    if source.is_file():
        folder = out / "data"
        if not folder.exists():
            partial = out / "data.partial"
            shutil.rmtree(partial, ignore_errors=True)
            try:
                with tarfile.open(source) as archive:
                    archive.extractall(partial, filter="data")
            except (tarfile.TarError, OSError) as exc:
                raise click.ClickException(f"{source}: {exc}") from exc
            partial.rename(folder)
    wanted = ("photos", "labelled/images", "labelled/masks")
    for one in (folder, *sorted(folder.iterdir())):
        if all((one / name).is_dir() for name in wanted):
            return one
    raise click.ClickException(f"{source}: expected {', '.join(wanted)} and a scheme")


def divide(
    found: Path,
    out: Path,
    steps: Steps,
    *,
    pairs: int,
    held_out: int,
    most: int | None,
    seed: int,
) -> Data:
    """Copy photographs and pairs into folders to train on and folders that are held out."""
    schemes = [one for one in found.glob("scheme.*") if one.suffix in (".json", ".yaml", ".yml")]
    if len(schemes) != 1:
        raise click.ClickException(f"{found}: expected one scheme.json or scheme.yaml")
    photographs = _shuffled(_files(found / "photos")[:most], seed)
    images = _shuffled(_files(found / "labelled/images"), seed)
    if len(photographs) <= held_out or len(images) <= pairs:
        raise click.ClickException(
            f"{found}: expected more than {held_out} photographs and {pairs} annotated images, "
            f"got {len(photographs)} and {len(images)}"
        )
    masks, partial = out / "masks", out / "masks.partial"
    if not masks.exists() and not steps.knows("masks"):
        shutil.rmtree(partial, ignore_errors=True)
    words: Words = ["mask", "convert", found / "labelled/masks", partial, "--scheme", schemes[0]]
    steps.run("masks", words, computes=False)
    if not masks.exists():
        partial.rename(masks)
    folders = {
        "photos/train": photographs[held_out:],
        "photos/held-out": photographs[:held_out],
        "pairs/train/images": images[:pairs],
        "pairs/held-out/images": images[pairs:],
        "pairs/train/masks": [masks / f"{one.stem}.png" for one in images[:pairs]],
        "pairs/held-out/masks": [masks / f"{one.stem}.png" for one in images[pairs:]],
    }
    for name, files in folders.items():
        _copy(files, out / name)
    counts = {name: len(files) for name, files in folders.items() if "masks" not in name}
    return Data(
        photographs=out / "photos/train",
        unseen=out / "photos/held-out",
        pairs=out / "pairs/train",
        unseen_pairs=out / "pairs/held-out",
        scheme=schemes[0],
        counts={name.removesuffix("/images"): count for name, count in counts.items()},
    )


def best_mask(folder: Path, scheme: LabelScheme, operation: str) -> Path:
    """The mask that shows most of the parts of an operation: of the smallest one, then of all."""
    try:
        parts = scheme.indices({part for edit in parse_edits(operation) for part in edit.parts})
    except RegistryError as exc:
        raise click.ClickException(str(exc)) from exc

    def shown(path: Path) -> tuple[int, int]:
        mask = np.asarray(Image.open(path))
        pixels = [int(np.count_nonzero(mask == part)) for part in parts]
        return min(pixels), sum(pixels)

    best = max(sorted(folder.iterdir()), key=shown)
    if shown(best)[1] == 0:
        raise click.ClickException(f"{operation}: none of the pairs to train on shows the part")
    return best


def _lesson(text: str) -> tuple[str, str]:
    name, equals, operation = text.partition("=")
    if not equals:
        raise click.UsageError(f"--vector: expected NAME=OPERATION, got {text}")
    return name.strip(), operation.strip()


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_file() and one.name[0] != ".")


def _shuffled(files: Sequence[Path], seed: int) -> list[Path]:
    return [files[place] for place in np.random.default_rng(seed).permutation(len(files))]


def _image_of(mask: Path, images: Path) -> Path:
    return next(one for one in _files(images) if one.stem == mask.stem)


def _copy(files: Iterable[Path], folder: Path) -> None:
    """Copies of files; a folder that is there holds them."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for one in files:
        if not one.exists():
            raise click.ClickException(f"{one.name}: the annotated image has no mask")
        shutil.copyfile(one, partial / one.name)
    partial.rename(folder)


if __name__ == "__main__":
    main()
