"""Commands of the engine: files in, files out; no library of vectors."""

from pathlib import Path

import click

from editvec.outputs import OutputFile, output_place, overwrite_option

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
DEVICE = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")


@click.group()
def engine() -> None:
    """Work on single files with a bundle, without a registry."""


@engine.command()
@click.argument("bundle", type=FOLDER)
def verify(bundle: Path) -> None:
    """Check every file of BUNDLE against its digests."""
    from editvec.engine.bundle.bundle import load_bundle

    checked = load_bundle(bundle).bundle
    click.echo(f"{checked.class_name}: {len(checked.files)} files are as bundle.json says")
    click.echo(f"bundle     {checked.bundle_digest}")
    click.echo(f"generator  {checked.generator_digest}")


@engine.command()
@click.argument("bundle", type=FOLDER)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False), callback=output_place)
@click.option("--count", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--psi", type=float, default=1.0, show_default=True, help="Truncation; 1 is none.")
@overwrite_option
@DEVICE
def sample(
    *, bundle: Path, out: OutputFile, count: int, seed: int, psi: float, device: str
) -> None:
    """Write sampled images and their masks to the folder OUT."""
    from editvec.engine.editor import Editor
    from editvec.engine.files import write_samples

    editor = Editor.open(bundle, device)
    for path in write_samples(editor, out, count=count, seed=seed, truncation_psi=psi):
        click.echo(path)


@engine.command()
@click.argument("bundle", type=FOLDER)
@click.argument("delta", type=FILE)
@click.argument("source", type=FILE)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False), callback=output_place)
@click.option("--scale", type=float, default=1.0, show_default=True, help="1 is as learned.")
@click.option(
    "--steps",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Inversion after the encoder.",
)
@overwrite_option
@DEVICE
def apply(
    *,
    bundle: Path,
    delta: Path,
    source: Path,
    target: OutputFile,
    scale: float,
    steps: int,
    device: str,
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
    click.echo(f"{target} (embedded with {psnr:.1f} dB)")


COMMANDS: list[click.Command] = [engine]
