"""The root command: what it says, how it ends, and how little it imports to help."""

import errno
import json
import logging
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

import editvec.cli
from editvec.batch.errors import BatchError
from editvec.cuda_ext.errors import CudaExtError
from editvec.engine.errors import EngineError
from editvec.printing import Control
from editvec.registry.errors import RegistryError
from tests.support.places import ROOT

Attach = Callable[[Callable[[click.Context], object]], None]


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Attach a function to the root group as the command `probe` for the length of one test."""

    def attach_probe(body: Callable[[click.Context], object]) -> None:
        editvec.cli.cli.add_command(click.Command("probe", callback=click.pass_context(body)))

    yield attach_probe
    editvec.cli.cli.commands.pop("probe", None)


def _raising(error: BaseException) -> Callable[[click.Context], object]:
    def body(ctx: click.Context) -> None:
        raise error

    return body


def _raised_by(body: Callable[[], object]) -> Exception:
    """The error of Python itself."""
    try:
        body()
    except Exception as error:  # noqa: BLE001 (whatever this Python raises)
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("base", [RegistryError, EngineError, BatchError, CudaExtError])
def test_known_error_is_one_line_on_stderr_and_status_1(
    base: type[Exception], attach: Attach, capsys: pytest.CaptureFixture[str]
) -> None:
    class MadeUpError(base, ValueError):  # type: ignore[misc, valid-type]
        pass

    attach(_raising(MadeUpError("scale must be a number,\ngot 'big'")))

    assert editvec.cli.main(["probe"]) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "editvec: error: scale must be a number, got 'big'\n"


def test_traceback_option_shows_where_a_known_error_came_from(
    attach: Attach, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(_raising(RegistryError("no such vector")))

    assert editvec.cli.main(["--traceback", "probe"]) == 1

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "editvec: error: no such vector"


def test_unforeseen_error_is_called_a_bug_and_hides_its_traceback(
    attach: Attach, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(_raising(KeyError("w_avg")))

    assert editvec.cli.main(["probe"]) == 1

    error = capsys.readouterr().err
    assert error.startswith("editvec: error: this is a bug: KeyError: 'w_avg'")
    assert "editvec --traceback" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/out/a.png"),
            "no space left on the device: /out/a.png",
        ),
        (OSError(errno.ENOSPC, "x"), "no space left on the device: make room and run it again"),
        (PermissionError(errno.EACCES, "Permission denied", "/o"), "Permission denied: /o"),
        (click.ClickException("no terminal here"), "no terminal here"),
        (RegistryError(), "RegistryError"),
        (BatchError("file \x1b[31mred\x07.png"), r"file \x1b[31mred\x07.png"),
        (
            _raised_by(lambda: int("9" * 9000)),
            f"expected a number of at most {sys.get_int_max_str_digits()} digits, got a longer one",
        ),
        (
            _raised_by(lambda: Path("a\0b").stat()),
            "expected a name or a path without NUL, got one with it",
        ),
        (
            _raised_by(lambda: urllib.parse.urlsplit("http://[::1/x")),
            "expected a URL, got one that is none (Invalid IPv6 URL)",
        ),
        (
            _raised_by(lambda: float(10**400)),
            "expected a smaller number: int too large to convert to float",
        ),
    ],
)
def test_errors_of_the_machine_are_one_readable_line(
    error: Exception, line: str, attach: Attach, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(_raising(error))

    assert editvec.cli.main(["probe"]) == 1

    assert capsys.readouterr().err == f"editvec: error: {line}\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OverflowError("int too large"), "expected a smaller number: int too large"),
        (MemoryError(), "out of memory"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.ENOSPC, "x"), "no space left on the device: make room and run it again"),
        (
            _raised_by(lambda: Path("a\0b").stat()),
            "expected a name or a path without NUL, got one with it",
        ),
    ],
)
def test_errors_that_name_no_file_say_which_were_given(
    error: Exception,
    line: str,
    attach: Attach,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attach(_raising(error))
    editvec.cli.cli.commands["probe"].params += [
        click.Argument(["files"], nargs=-1, expose_value=False),
        click.Option(["--output"], expose_value=False),
    ]
    jobs = [tmp_path / f"{name}.yaml" for name in "abcd"]
    for path in jobs:
        path.touch()
    home = ["--home", str(tmp_path)]

    assert editvec.cli.main([*home, "probe", str(jobs[0]), "smile=1", f"--output={jobs[1]}"]) == 1
    assert capsys.readouterr().err == f"editvec: error: {line} (given: {jobs[0]}, {jobs[1]})\n"
    assert editvec.cli.main(["probe", *map(str, jobs)]) == 1
    assert capsys.readouterr().err.endswith(f"{jobs[2]} and 1 more)\n")
    assert editvec.cli.main([*home, "probe", "smile"]) == 1
    assert capsys.readouterr().err == f"editvec: error: {line}\n"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_interrupt_ends_with_130(
    interrupt: BaseException, attach: Attach, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(_raising(interrupt))

    assert editvec.cli.main(["probe"]) == 130

    assert capsys.readouterr().err.strip() == "editvec: error: interrupted"


def test_exit_of_a_command_keeps_its_status(attach: Attach) -> None:
    attach(lambda ctx: ctx.exit(3))

    assert editvec.cli.main(["probe"]) == 3


def test_return_value_of_a_command_is_no_exit_status(attach: Attach) -> None:
    attach(lambda ctx: 7)

    assert editvec.cli.main(["probe"]) == 0


def test_home_reaches_the_command(attach: Attach, tmp_path: Path) -> None:
    seen: list[object] = []
    attach(lambda ctx: seen.append(ctx.obj["home"]))

    editvec.cli.main(["--home", str(tmp_path), "probe"])
    editvec.cli.main(["probe"])

    assert seen == [tmp_path, None]


@pytest.mark.parametrize("words", [["no-such-command"], ["--no-such-option"]])
def test_usage_error_is_status_2_and_names_the_way_to_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert editvec.cli.main(words) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert "editvec --help" in output.err
    assert len(output.err.splitlines()) <= 4


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("worker", "--class"),
        ("model add", "FOLDER"),
        ("model import", "FILE"),
        ("model import x", "--class"),
        ("model export avatars", "OUT"),
        ("batch run", "IN"),
        ("batch run a", "OUT"),
        ("batch generate a", "--count"),
        ("embed", "IN"),
        ("train generator p", "--class"),
        ("train encoder", "--class"),
        ("train segmentation p", "--class"),
        ("registry retire", "NAME@VERSION..."),
        ("registry retire smile", "--reason"),
        ("registry tag", "ADDRESS"),
        ("registry alias smile", "ALIAS"),
        ("registry compose x", "--term"),
        ("registry import", "PATH"),
        ("mask edit a.png", "'-o' / '--output"),
        ("mask convert a.png", "TARGET"),
    ],
)
def test_what_a_command_cannot_do_without_is_asked_for_before_anything_is_made(
    words: str, missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert editvec.cli.main(["--home", str(tmp_path / "home"), *words.split()]) == 2

    error = capsys.readouterr().err
    assert f"Missing {'option' if '-o' in missing or '--' in missing else 'argument'} " in error
    assert missing in error
    assert not (tmp_path / "home").exists()


def test_option_without_its_value_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert editvec.cli.main(["--home"]) == 2

    assert "--home" in capsys.readouterr().err


def test_without_arguments_the_help_is_shown_as_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert editvec.cli.main([]) == 2

    assert "Usage: editvec" in capsys.readouterr().err


def test_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert editvec.cli.main(["--version"]) == 0

    assert capsys.readouterr().out.startswith("editvec 0.")


def test_every_command_and_group_answers_help(capsys: pytest.CaptureFixture[str]) -> None:
    def walk(command: click.Command, words: list[str]) -> None:
        assert editvec.cli.main([*words, "--help"]) == 0, words
        assert command.help, f"{' '.join(words)} says nothing about itself"
        assert "\\b" not in command.help, f"{' '.join(words)} shows what click should read"
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                walk(child, [*words, name])

    for name, command in editvec.cli.cli.commands.items():
        walk(command, [name])

    assert {"registry", "model", "db", "engine", "batch", "learn", "worker", "demo", "doctor"} <= (
        editvec.cli.cli.commands.keys()
    )


def test_closed_pipe_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)

    result = subprocess.run(
        [sys.executable, "-m", "editvec", "--help"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(write_end)

    assert result.returncode == 1
    assert result.stderr == b""


@pytest.mark.parametrize(
    ("words", "status"), [("--version >&-", 0), ("--home /dev/null registry list 2>&-", 1)]
)
def test_what_goes_to_a_closed_stream_is_lost_and_no_bug(words: str, status: int) -> None:
    command = ["sh", "-c", f"'{sys.executable}' -m editvec {words}"]

    result = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (status, b"", b"")


def test_help_imports_neither_torch_nor_sqlalchemy_nor_celery() -> None:
    program = (
        "import sys, json, editvec.cli; status = editvec.cli.main(['--help']);"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr); sys.exit(status)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )

    assert "Usage: editvec" in result.stdout
    heavy = {"torch", "sqlalchemy", "celery", "alembic", "numpy", "PIL", "lpips", "safetensors"}
    assert heavy.isdisjoint(json.loads(result.stderr))


def test_help_answers_within_300_ms() -> None:
    def processor_seconds_for_help() -> float:
        command = [sys.executable, "-m", "editvec", "--help"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    # Processor time: on an idle machine that is the time on the clock, and what else a busy one
    # does is not ours to measure.
    assert min(processor_seconds_for_help() for _ in range(5)) < 0.3


@pytest.mark.parametrize("err", [False, True])
def test_foreign_names_cannot_steer_the_terminal(
    err: bool, attach: Attach, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b[2J\x9b2J\x07\u202egnp\r.png"
    attach(
        lambda ctx: click.echo(
            f"{name}\tcaf\u00e9 \u5199\u771f\u3000\u4e00\nnext", err=err, color=True
        )
    )

    assert editvec.cli.main(["probe"]) == 0

    shown = "".join(capfd.readouterr())
    assert shown == (
        r"a\u001b[2J\u009b2J\u0007\u202egnp\u000d.png"
        + "\tcaf\u00e9 \u5199\u771f\u3000\u4e00\nnext\n"
    )


def test_a_usage_error_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert editvec.cli.main(["registry", "list", "a", "b\x1b[2J"]) == 2

    assert "\x1b" not in capfd.readouterr().err


def test_json_stays_the_same_json_when_it_is_escaped(
    attach: Attach, capfd: pytest.CaptureFixture[str]
) -> None:
    value = {"name": "a\x1b\x7f\x9b\u202e\U000e0001\udce9.png"}
    attach(lambda ctx: click.echo(json.dumps(value, ensure_ascii=False)))

    assert editvec.cli.main(["probe"]) == 0

    output = capfd.readouterr().out
    assert output.isascii()
    assert json.loads(output) == value


def test_our_own_control_sequences_reach_the_terminal(
    attach: Attach, capfd: pytest.CaptureFixture[str]
) -> None:
    attach(lambda ctx: click.echo(Control("\x1b[K"), nl=False, color=True))

    assert editvec.cli.main(["probe"]) == 0

    assert capfd.readouterr().out == "\x1b[K"


def test_streams_are_what_they_were_when_the_command_ends(attach: Attach) -> None:
    before = sys.stdout, sys.stderr
    attach(_raising(BatchError("x")))

    editvec.cli.main(["probe"])

    assert (sys.stdout, sys.stderr) == before


# --- how much is told ---


@pytest.mark.parametrize("words", [("-q", "registry", "list"), ("registry", "list", "--quiet")])
def test_a_quiet_command_tells_its_results_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert editvec.cli.main(["--home", str(tmp_path / "home"), *words]) == 0

    assert capsys.readouterr() == ("", "")


def test_a_quiet_command_tells_its_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert editvec.cli.main(["--home", str(tmp_path), "registry", "show", "smile", "-q"]) == 1

    assert capsys.readouterr().err.startswith("editvec: error: the library holds no class")


@pytest.mark.parametrize("words", [("-v",), ("--log-level", "info"), ("--log-level", "DEBUG")])
def test_a_command_that_talks_tells_what_the_libraries_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    before = list(logging.getLogger().handlers), logging.getLogger().level
    home = ["--home", str(tmp_path / "home")]

    assert editvec.cli.main([*home, "db", "upgrade", *words]) == 0

    assert " INFO alembic" in capsys.readouterr().err
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_every_command_can_be_told_to_be_quiet_or_to_talk() -> None:
    def leaves(command: click.Command) -> Iterator[click.Command]:
        yield command
        for below in command.commands.values() if isinstance(command, click.Group) else ():
            yield from leaves(below)

    for command in leaves(editvec.cli.cli):
        known = {name for parameter in command.params for name in parameter.opts}
        assert {"-q", "--quiet", "-v", "--verbose", "--log-level"} <= known, command.name


def test_an_unknown_level_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert editvec.cli.main(["registry", "list", "--log-level", "loud"]) == 2
