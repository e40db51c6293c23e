"""How much of the house one command walks through: files entered, and the rooms they lie in.

    python -m benchmarks.rooms [--json]

A file is entered when a function of it runs; what is only imported does not count, but is told as
well. Each command works on one picture, in a process of its own: `batch run` edits a folder of it,
`learn` makes a vector of it and an edited mask, `registry compose` adds two vectors.
"""

import contextlib
import inspect
import io
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import click

import editvec
import editvec.cli
from editvec.avatars import default, starter

PACKAGE = Path(editvec.__file__).parent
COMMANDS = ("batch run", "learn", "registry compose")


class Walk(NamedTuple):
    """What a command walked through.

    Attributes:
        command: which.
        files: of which a function ran, relative to the package.
        imported: number of files that were loaded.
    """

    command: str
    files: list[str]
    imported: int

    @property
    def rooms(self) -> set[str]:
        """The folders of the files."""
        return {str(Path(file).parent) for file in self.files}


def walk(command: str, folder: Path) -> Walk:
    """Run a command in this process and watch which files it enters.

    Args:
        command: One of `COMMANDS`.
        folder: New or empty; the library and what the command writes go there.

    Raises:
        SystemExit: The command failed.
    """
    words = _prepare(command, folder)
    entered: set[str] = set()

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        # the body of a module or of a class runs when it is imported
        if event == "call" and frame.f_code.co_flags & inspect.CO_NEWLOCALS:
            entered.add(frame.f_code.co_filename)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        _run(folder, *words)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = sorted(str(Path(one).relative_to(PACKAGE)) for one in entered if _is_ours(one))
    loaded = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    return Walk(command, files, sum(map(_is_ours, loaded)))


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE)


def _prepare(command: str, folder: Path) -> list[str]:
    """A library with the shipped class and what the command needs; the words of the command."""
    _run(folder, "model", "add", str(default.BUNDLE_FOLDER))
    _run(folder, "registry", "import", str(default.STARTER_ARCHIVE))
    name = starter.SURPRISE.name
    starter.write_pair(starter.SURPRISE, folder / "pair")
    picture, after = (folder / "pair" / f"{name}.{part}.png" for part in ("image", "after"))
    photos = folder / "photos"
    photos.mkdir()
    shutil.copy(picture, photos)
    words = {
        "batch run": ["batch", "run", str(photos), str(folder / "out"), "--edit", "smile=1"],
        "learn": [
            "learn", "avatars/surprised", "--image", str(picture),
            "--mask-after", str(after), "--roi", "mouth", "--roi", "teeth",
        ],
        "registry compose": [
            "registry", "compose", "cheeky", "--term", "smile=1", "--term", "look-left=0.5",
        ],
    }  # fmt: skip
    return words[command]


def _run(folder: Path, *words: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = editvec.cli.main(["--home", str(folder / "home"), *words])
    if status != 0:
        raise SystemExit(f"editvec {' '.join(words)} ended with {status}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="With the names of the files.")
@click.option("--one", type=click.Choice(COMMANDS), hidden=True)
def main(as_json: bool, one: str | None) -> None:
    """Count the files and rooms that three commands enter."""
    if one is not None:
        with tempfile.TemporaryDirectory() as folder:
            click.echo(json.dumps(walk(one, Path(folder))._asdict()))
        return
    found: list[Walk] = []
    for command in COMMANDS:
        program = [sys.executable, "-m", "benchmarks.rooms", "--one", command]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        values: dict[str, Any] = json.loads(done.stdout)
        found.append(Walk(**values))
    if as_json:
        click.echo(json.dumps([one._asdict() for one in found], indent=2))
        return
    click.echo(f"{'':18}{'files':>8}{'rooms':>8}{'imported':>10}")
    for one_walk in found:
        counts = f"{len(one_walk.files):>8}{len(one_walk.rooms):>8}{one_walk.imported:>10}"
        click.echo(f"{one_walk.command:18}{counts}")


if __name__ == "__main__":
    main()
