"""Commands of the CUDA operations: compile them ahead, and tell what would run."""

import json as json_module
from pathlib import Path

import click

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def kernels() -> None:
    """Compile the CUDA kernels, or show which of them run here."""


@kernels.command()
@click.option(
    "--arch",
    "architectures",
    multiple=True,
    metavar="NUMBER",
    help="Compute capability to compile for, such as 90; repeatable. [default: the devices here]",
)
@click.option(
    "--cache",
    "cache_folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the library is kept. [default: editvec/cuda_ext in $XDG_CACHE_HOME or ~/.cache]",
)
@_JSON
def build(*, architectures: tuple[str, ...], cache_folder: Path | None, as_json: bool) -> None:
    """Compile the kernels now, and not at the first call.

    With --arch it needs nvcc but no device, as where an image for other machines is made. A library
    for several capabilities serves every machine that has some of them.
    """
    from editvec.cuda_ext.loader import build_library, device_architectures

    wanted = list(dict.fromkeys(architectures)) or device_architectures()
    library = build_library(architectures=sorted(wanted, key=_number), cache_folder=cache_folder)
    click.echo(json_module.dumps({"library": str(library)}, indent=2) if as_json else library)


@kernels.command()
@_JSON
def show(*, as_json: bool) -> None:
    """Show which operations run as kernels here, which as PyTorch operations, and why."""
    from editvec.cuda_ext.status import kernel_status

    status = kernel_status()
    paths = {"compiler": status.compiler, "library": status.library, "cache": status.cache_folder}
    if as_json:
        document = {
            "operations": [operation._asdict() for operation in status.operations],
            "architectures": status.architectures,
            **{name: None if path is None else str(path) for name, path in paths.items()},
        }
        click.echo(json_module.dumps(document, indent=2))
        return
    for operation in status.operations:
        default = "default" if operation.is_default else "not default"
        click.echo(f"{operation.name:16}{default:13}{operation.runs:11}{operation.reason}")
    click.echo(f"{'devices':16}{', '.join(f'sm_{a}' for a in status.architectures) or 'none'}")
    for name, path in paths.items():
        click.echo(f"{name:16}{path or 'none'}")


def _number(architecture: str) -> tuple[int, str]:
    """Order of capabilities: 90 before 100; what is no capability is refused elsewhere."""
    digits = architecture.rstrip("af")
    return (int(digits) if digits.isdecimal() else 0, architecture)


COMMANDS: list[click.Command] = [kernels]
