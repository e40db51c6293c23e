"""Commands of the engine: files in, files out; no library of vectors."""

import json
from pathlib import Path
from typing import Any

import click

from editvec.outputs import OutputFile, output_place, overwrite_option

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
DEVICE = click.option(
    "--device", metavar="DEVICE", default="cpu", show_default=True, help="cpu, cuda or cuda:N."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def engine() -> None:
    """Work on single files with a bundle, without a registry."""


@engine.command()
@click.argument("bundle", type=FOLDER)
@JSON
def verify(*, bundle: Path, as_json: bool) -> None:
    """Check every file of BUNDLE against its digests."""
    from editvec.engine.bundle.bundle import load_bundle

    checked = load_bundle(bundle).bundle
    if as_json:
        _print_json(
            {
                "class": checked.class_name,
                "files": sorted(checked.files),
                "bundle_digest": checked.bundle_digest,
                "generator_digest": checked.generator_digest,
            }
        )
        return
    click.echo(f"{checked.class_name}: {len(checked.files)} files are as bundle.json says")
    click.echo(f"bundle     {checked.bundle_digest}")
    click.echo(f"generator  {checked.generator_digest}")


@engine.command()
@click.argument("bundle", type=FOLDER)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False), callback=output_place)
@click.option("--count", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--truncation-psi",
    type=float,
    default=1.0,
    show_default=True,
    help="1: all of the class's variety; towards 0: closer to its average.",
)
@overwrite_option
@DEVICE
@JSON
def sample(
    *,
    bundle: Path,
    out: OutputFile,
    count: int,
    seed: int,
    truncation_psi: float,
    device: str,
    as_json: bool,
) -> None:
    """Write sampled images and their masks to the folder OUT."""
    from editvec.engine.editor import Editor
    from editvec.engine.files import write_samples

    editor = Editor.open(bundle, device)
    paths = write_samples(editor, out, count=count, seed=seed, truncation_psi=truncation_psi)
    if as_json:
        _print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        click.echo(path)


@engine.command()
@click.argument("bundle", type=FOLDER)
@click.argument("delta", type=FILE)
@click.argument("source", type=FILE)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False), callback=output_place)
@click.option("--scale", type=float, default=1.0, show_default=True, help="1 is as learned.")
@click.option(
    "--embed-steps",
    "steps",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Inversion after the encoder.",
)
@overwrite_option
@DEVICE
@JSON
def apply(
    *,
    bundle: Path,
    delta: Path,
    source: Path,
    target: OutputFile,
    scale: float,
    steps: int,
    device: str,
    as_json: bool,
) -> None:
    """Embed the picture SOURCE, add the vector file DELTA, write the picture TARGET."""
    from editvec.engine.editing.inversion import EmbedSettings
    from editvec.engine.editor import Editor
    from editvec.engine.files import checked_target, edit_file, read_delta

    checked_target(source, target)
    editor = Editor.open(bundle, device)
    vector = read_delta(delta, num_ws=editor.bundle.num_ws, w_dim=editor.bundle.w_dim)
    psnr = edit_file(
        editor,
        source,
        target,
        delta=vector,
        scale=scale,
        settings=EmbedSettings(num_steps=steps),
    )
    if as_json:
        _print_json({"file": str(target), "psnr": psnr})
    else:
        click.echo(f"{target} (embedded with {psnr:.1f} dB)")


def _print_json(values: dict[str, Any]) -> None:
    click.echo(json.dumps(values, indent=2))


COMMANDS: list[click.Command] = [engine]
