"""The root command: composes the packages' click groups; the one place where errors become text.

Exit status: 0 done, 1 known error (or a bug), 2 usage, 3 finished with failed or quarantined
items, 130 interrupted.
"""

import contextlib
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import click

import editvec.batch.cli.commands
import editvec.cuda_ext.cli
import editvec.engine.cli
import editvec.registry.cli.commands
from editvec.batch.errors import BatchError
from editvec.cuda_ext.errors import CudaExtError
from editvec.engine.errors import EngineError
from editvec.lazy_commands import LazyCommands
from editvec.masking import masked
from editvec.outputs import KEPT, OutputError
from editvec.printing import printable_streams
from editvec.registry.errors import RegistryError

KNOWN_ERRORS = (RegistryError, EngineError, BatchError, CudaExtError, OutputError)

MOST_FILES = 3
_OF_DISKS = (errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ESTALE, errno.EMFILE)
EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


class RootGroup(click.Group):
    """The root group: lists its commands in the order of a user's day, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order in which they were attached."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; names of files and texts of archives cannot steer the terminal."""
        with printable_streams():
            return super().main(*args, **kwargs)


LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on stderr until the command is over; an error is told after it."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,  # noqa: PTH123
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def _logging(level: str) -> Iterator[None]:
    """Records of a level and above on stderr, ours and those of the libraries, for one command."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def _talk(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Says less or more from now on, until the whole command line is done."""
    if not value or ctx.resilient_parsing:
        return
    root = ctx.find_root()
    if parameter.name == "quiet":
        root.with_resource(_quiet())
    else:
        root.with_resource(_logging("INFO" if parameter.name == "verbose" else value))


def _talking(*, hidden: bool) -> list[click.Option]:
    """The options that say how much is told; every command takes them, the root shows them."""
    about: dict[str, Any] = {"hidden": hidden, "expose_value": False, "callback": _talk}
    return [
        click.Option(["-q", "--quiet"], is_flag=True, help="No notes and no progress.", **about),
        click.Option(["-v", "--verbose"], is_flag=True, help="What is being done, too.", **about),
        click.Option(
            ["--log-level"], type=click.Choice(LEVELS, case_sensitive=False),
            help="Log records of a level and above, those of the libraries too.", **about,
        ),
    ]  # fmt: skip


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the library: database, blobs, bundles. [default: $EDITVEC_HOME or ~/.editvec]",
)
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.version_option(package_name="editvec", message="%(prog)s %(version)s")
@click.pass_obj
def cli(obj: dict[str, Any], *, home: Path | None, traceback: bool) -> None:
    """Learned editing vectors for GAN latent spaces: learn, store, compose, and apply to folders.

    Start with `editvec demo`.
    """
    obj["home"] = home
    obj["traceback"] = traceback
    obj[KEPT] = lambda: _kept_folders(home)


def _kept_folders(home: Path | None) -> list[Path]:
    """Where the library is: no command writes its results there."""
    from editvec.registry.blobs.opening import library_folders
    from editvec.registry.config import RegistryConfig

    return list(library_folders(RegistryConfig.from_environment(home)).values())


@cli.result_callback()
def _ignore_result(result: object, **options: object) -> None:
    """Only ctx.exit() sets the exit status: what a command's function returns does not."""


def _let_talk(command: click.Command, *, is_root: bool = False) -> None:
    """Gives a command and those below it the options that say how much is told."""
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params += [one for one in _talking(hidden=not is_root) if taken.isdisjoint(one.opts)]
    if isinstance(command, click.Group):
        known = command.commands
        for below in known.there if isinstance(known, LazyCommands) else known.values():
            _let_talk(below)


def _gather() -> None:
    """Puts the commands of all packages below the root; those of `batch` are imported late."""
    attached = editvec.batch.cli.commands.ATTACHED
    packages = (editvec.registry.cli.commands, editvec.engine.cli, editvec.cuda_ext.cli)
    others = {str(one.name): one for package in packages for one in package.COMMANDS}
    for name, places in attached.items():
        group = cast(click.Group, others[name])
        group.commands = LazyCommands(group.commands, places, on_loaded=_let_talk)
    cli.commands = LazyCommands(others, editvec.batch.cli.commands.COMMANDS, on_loaded=_let_talk)
    _let_talk(cli, is_root=True)


_gather()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and turn every error into text.

    Args:
        arguments: Words after `editvec`; None takes them from `sys.argv`.

    Returns:
        The exit status, as the module's docstring lists it.
    """
    # torch's CPU threads spin while they wait for each other, which takes the cores away from the
    # very threads that they wait for as soon as anything else runs: several times slower on two
    # cores (benchmarks/engine/waiting_threads.py). It has to be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_missing_streams()
    with printable_streams():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    """Run the command line with streams that are safe to write to."""
    obj: dict[str, Any] = {"home": None, "traceback": False}
    try:
        status = _invoke(arguments, obj)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        if arguments is None:
            # who interrupts again while Python ends its threads wants out, and no traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return _report("interrupted", status=EXIT_INTERRUPTED)
    except BrokenPipeError:
        return _leave_quietly()
    except Exception as error:  # noqa: BLE001 (the one door: whatever arrives here becomes one line)
        if obj["traceback"]:
            traceback.print_exc()
        given = sys.argv[1:] if arguments is None else arguments
        return _report(_describe(error, given), status=EXIT_ERROR)
    return status


def _open_missing_streams() -> None:
    """Let what is written to a closed stdout or stderr (`>&-`) go nowhere, as in other tools."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123


def _invoke(arguments: Sequence[str] | None, obj: dict[str, Any]) -> int:
    """Run click without its standalone mode, which would exit with 1 on an interrupt."""
    status = cli.main(arguments, prog_name="editvec", standalone_mode=False, obj=obj)
    return status if isinstance(status, int) else 0


def _describe(error: Exception, arguments: Sequence[str]) -> str:
    """One sentence for one error; what we did not foresee is called a bug."""
    if isinstance(error, KNOWN_ERRORS):
        return str(error) or type(error).__name__
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename is not None:
        reason = "no space left on the device" if error.errno == errno.ENOSPC else error.strerror
        return f"{reason}: {os.fsdecode(error.filename)}"
    told = _told_of_machine(error)
    if told is not None:
        return told + _files_in(arguments)
    return (
        f"this is a bug: {type(error).__name__}: {error} "
        "(run `editvec --traceback ...` to see where, and report it)"
    )


def _told_of_machine(error: Exception) -> str | None:
    """What the machine or Python complains of without saying which file it was about."""
    if _is_out_of_memory(error):
        return f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the device: make room and run it again"
    if isinstance(error, OSError) and error.errno in _OF_DISKS:
        return error.strerror or os.strerror(error.errno)
    if isinstance(error, OverflowError):
        return f"expected a smaller number: {error}"
    return _told_of_value(str(error)) if isinstance(error, ValueError) else None


def _files_in(arguments: Sequence[str]) -> str:
    """The files and folders that a command was given, but its home: it was about one of them."""
    found: list[str] = []
    before = ""
    for word in arguments:
        name, _, value = word.partition("=") if word.startswith("--") else ("", "", word)
        is_home = "--home" in (name, before)
        if value and "\0" not in value and not is_home and os.path.lexists(value):
            found.append(value)
        before = word
    more = f" and {len(found) - MOST_FILES} more" if len(found) > MOST_FILES else ""
    return f" (given: {', '.join(found[:MOST_FILES])}{more})" if found else ""


def _told_of_value(message: str) -> str | None:
    """What a complaint of Python means that depends on what was typed or read, not on us."""
    if "embedded null" in message:
        return "expected a name or a path without NUL, got one with it"
    if "integer string conversion" in message:
        return (
            f"expected a number of at most {sys.get_int_max_str_digits()} digits, got a longer one"
        )
    if message.startswith(("Invalid IPv6 URL", "netloc ")):
        return f"expected a URL, got one that is none ({message})"
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, in Python or (if anything loaded it) in torch."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )


def _report(message: str, *, status: int) -> int:
    """Print one line on stderr, without control characters, and pass the status through."""
    line = " ".join(masked(message).split())
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    with contextlib.suppress(BrokenPipeError):
        print(f"editvec: error: {printable}", file=sys.stderr, flush=True)  # noqa: T201
    return status


def _leave_quietly() -> int:
    """The reader of our output went away (`editvec ... | head`): nobody is left to tell."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_ERROR


if __name__ == "__main__":
    sys.exit(main())
