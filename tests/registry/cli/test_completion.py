"""What a shell may complete, asked of both databases and in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import editvec.cli
from editvec.registry.cli.completion import FishComplete
from editvec.registry.cli.suggestions import MAX_SUGGESTIONS, Subject, suggest
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import VectorParcel
from editvec.registry.library.library import Library
from tests.support.places import ROOT
from tests.support.registry_fixtures import new_vector, random_delta, write_small_bundle

PROGRAM = Path(sys.executable).with_name("editvec")
SECONDS = 20.0


@pytest.fixture
def filled(library: Library) -> Library:
    """Versions 1 to 3 of `smile` with aliases and a retired one, `smirk`, and `look` retired."""
    for seed in range(3):
        library.add_vector(
            new_vector(description=f"Smile {seed + 1}.", tags=("face", "lips")),
            random_delta(seed),
            metrics=[NewMetric(name="leakage", value=0.1 * seed), NewMetric(name="iou", value=1)],
        )
    library.add_vector(new_vector("smirk", tags=("fun",)), random_delta(7))
    library.add_vector(new_vector("look"), random_delta(8))
    library.set_alias("smile@1", "stable")
    library.set_alias("smile@3", "beta")
    library.retire_vectors(["smile@2", "look@1"], reason="not needed")
    return library


def _texts(
    library: Library, subject: Subject, typed: str, *, class_name: str | None = None
) -> list[str]:
    return [one.text for one in suggest(subject, library.config, typed, class_name=class_name)]


# --- what is suggested ---


def test_names_that_begin_so_are_suggested_with_what_they_mean(filled: Library) -> None:
    found = suggest("address", filled.config, "smi")

    assert [one.text for one in found] == ["smile", "smirk"]
    assert found[0].meaning == "Smile 3.", "of the newest version"
    assert _texts(filled, "address", "avatars/smir") == ["avatars/smirk"]
    assert _texts(filled, "address", "x") == []
    assert _texts(filled, "address", "other/s") == []


def test_aliases_and_versions_are_suggested_after_the_at_sign(filled: Library) -> None:
    found = suggest("address", filled.config, "smile@")

    assert [one.text for one in found] == [
        "smile@beta",
        "smile@stable",
        "smile@latest",
        "smile@3",
        "smile@1",
    ]
    assert found[1].meaning == "version 1"
    assert found[2].meaning == "version 3"
    assert _texts(filled, "address", "avatars/smile@s") == ["avatars/smile@stable"]


def test_retired_vectors_are_suggested_only_where_they_are_wanted(filled: Library) -> None:
    assert _texts(filled, "address", "look") == []
    assert _texts(filled, "address", "look@") == []
    assert _texts(filled, "retired", "") == ["look", "smile"]
    assert _texts(filled, "retired", "smile@") == ["smile@2"]


def test_several_classes_are_named_before_their_vectors(
    filled: Library, make_bundle: Callable[..., Path]
) -> None:
    filled.add_bundle(make_bundle("second", name="cars", weights=b"w2"))
    filled.add_vector(new_vector("smooth", class_name="cars"), random_delta(9))

    assert _texts(filled, "class", "c") == ["cars"]
    assert _texts(filled, "class", "") == ["avatars", "cars"]
    assert _texts(filled, "address", "") == ["avatars/smile", "avatars/smirk", "cars/smooth"]
    assert _texts(filled, "address", "sm", class_name="cars") == ["smooth"]
    assert _texts(filled, "address", "sm", class_name="avatars@1") == ["smile", "smirk"]
    assert _texts(filled, "address", "ca") == ["cars/smooth"]


def test_parts_are_suggested_after_the_last_comma(filled: Library) -> None:
    assert _texts(filled, "part", "") == ["background", "skin", "mouth", "teeth", "eye"]
    assert _texts(filled, "part", "mouth,") == [
        "mouth,background",
        "mouth,skin",
        "mouth,teeth",
        "mouth,eye",
    ]
    assert _texts(filled, "part", "mouth,te", class_name="avatars") == ["mouth,teeth"]
    assert _texts(filled, "part", "te", class_name="other") == []


def test_tags_and_metrics_are_suggested(filled: Library) -> None:
    assert _texts(filled, "tag", "") == ["face", "fun", "lips"]
    assert _texts(filled, "tag", "fa") == ["face"]
    assert _texts(filled, "metric", "l") == ["leakage"]
    assert _texts(filled, "metric", "") == ["iou", "leakage"]


def test_nothing_typed_is_taken_for_a_pattern_or_a_statement(filled: Library) -> None:
    subjects: list[Subject] = ["class", "address", "retired", "part", "tag", "metric"]

    for typed in ("%", "_", "'", '"; DROP TABLE vectors', "smile@%", "?", "é"):
        for subject in subjects:
            assert _texts(filled, subject, typed) == []


def test_number_of_suggestions_is_limited(sqlite_library: Library) -> None:
    sqlite_library.add_vectors(
        [
            VectorParcel(new=new_vector(f"v{number:04d}"), delta=random_delta(number))
            for number in range(MAX_SUGGESTIONS + 5)
        ]
    )

    assert len(_texts(sqlite_library, "address", "v")) == MAX_SUGGESTIONS


# --- the protocol of the program ---


def _ask(line: str, *, shell: str = "fish", word: str = "", **environment: str) -> str:
    """What the program answers to a shell, and it must not say anything else."""
    result = subprocess.run(
        [PROGRAM],
        env={
            **os.environ,
            "_EDITVEC_COMPLETE": f"{shell}_complete",
            "_EDITVEC_LINE": line,
            "_EDITVEC_WORD": word,
            **environment,
        },
        capture_output=True,
        check=True,
        text=True,
    )
    assert result.stderr == ""
    return result.stdout


def _values(answer: str) -> list[str]:
    """The values of an answer to fish."""
    return [line.partition("\t")[0].partition(",")[2] for line in answer.splitlines() if line]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A home folder with class `avatars` and the vectors `smile` and `smirk`; read only."""
    folder = tmp_path_factory.mktemp("completed")
    with Library.open(RegistryConfig.for_home(folder / "home")) as library:
        library.add_bundle(write_small_bundle(folder / "bundle"))
        for number, name in enumerate(("smile", "smirk")):
            new = new_vector(name, description="Turns: it,\tup\n", tags=("face",))
            library.add_vector(new, random_delta(number))
    return str(folder / "home")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("registry sho", ["show"]),
        ("registry show smi", ["smile", "smirk"]),
        ("registry show smile@l", ["smile@latest"]),
        ("registry show --class a", ["avatars"]),
        ("registry show --class=a", ["--class=avatars"]),
        ("registry list --roi te", ["teeth"]),
        ("registry list --roi=mouth,te", ["--roi=mouth,teeth"]),
        ("registry list --tag f", ["face"]),
        ("registry export a.zip smile smi", ["smile", "smirk"]),
        ("registry compose both --term smil", ["smile="]),
        ("registry compose both --term smile=", []),
        ("registry compose both --term smile[", []),
        ("registry compose both --term smile@1=0.5 --term smir", ["smirk="]),
        ("registry compose both --without smir", ["smirk"]),
        ("registry compose both --roi mo", ["mouth"]),
        ("registry add a.npy --roi mo", ["mouth"]),
        ("registry alias smil", ["smile"]),
        ("registry retire smir", ["smirk"]),
        ("registry tag smil", ["smile"]),
        ("registry history smil", ["smile"]),
        ("registry preview smil", ["smile"]),
        ("model show av", ["avatars"]),
        ("batch run in out --edit smil", ["smile="]),
        ("batch run in out --class av", ["avatars"]),
        ("batch run in out --roi te", ["teeth"]),
        ("batch generate out --edit smile@l", ["smile@latest="]),
        ("worker --class av", ["avatars"]),
        ("completion f", ["fish"]),
    ],
)
def test_every_parameter_is_completed(
    words: str, values: list[str], home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_EDITVEC_LINE", f"editvec --home {home} {words}")

    completion = FishComplete(editvec.cli.cli, {}, "editvec", "_EDITVEC_COMPLETE")

    assert _values(completion.complete()) == values


def test_answers_have_the_form_that_each_shell_reads(home: str) -> None:
    line = f"editvec --home {home} registry show smil"

    assert _ask(line, shell="bash", word="smil") == "plain,smile\n"
    assert _ask(line, shell="zsh") == "plain\nsmile\nTurns: it, up\n"
    assert _ask(line, shell="fish") == "plain,smile\tTurns: it, up\n"
    assert _ask(f"{line}e@la", shell="bash", word="la") == "plain,latest\n"
    assert _ask(f"{line}e@", shell="bash", word="").split() == ["plain,latest", "plain,1"]
    term = f"editvec --home {home} registry compose both --term smil"
    assert _ask(term, shell="bash", word="smil") == "open,smile=\n"


def test_home_of_the_environment_is_asked_too(home: str) -> None:
    assert _values(_ask("editvec registry show smil", EDITVEC_HOME=home)) == ["smile"]


def test_named_databases_are_asked(filled: Library) -> None:
    environment = {"EDITVEC_DATABASE_URL": filled.config.database_url}

    assert _values(_ask("editvec registry show smir", **environment)) == ["smirk"]


@pytest.mark.parametrize(
    "environment",
    [
        {"EDITVEC_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/nothing"},
        {"EDITVEC_DATABASE_URL": "mysql://somewhere/nothing"},
        {"EDITVEC_DATABASE_URL": "no URL"},
        {"EDITVEC_DATABASE_URL": "sqlite:////no/such/folder/a.db"},
    ],
)
def test_database_that_cannot_be_asked_has_nothing_to_complete(
    environment: dict[str, str],
) -> None:
    assert _values(_ask("editvec registry show smi", **environment)) == []


def test_database_that_is_none_has_nothing_to_complete(tmp_path: Path) -> None:
    (tmp_path / "editvec.db").write_bytes(b"no database" * 100)

    assert _values(_ask("editvec registry show smi", EDITVEC_HOME=str(tmp_path))) == []


def test_completing_creates_nothing(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.mkdir()

    for home in (absent, empty):
        assert _values(_ask("editvec registry show smi", EDITVEC_HOME=str(home))) == []
        assert _values(_ask(f"editvec --home {home} batch run in out --edit smi")) == []

    assert not absent.exists()
    assert list(empty.iterdir()) == []


def test_completing_leaves_no_file_behind(home: str) -> None:
    before = sorted(path.name for path in Path(home).iterdir())

    assert _values(_ask(f"editvec --home {home} registry show smil")) == ["smile"]

    assert sorted(path.name for path in Path(home).iterdir()) == before


def test_library_that_is_being_written_to_is_asked_without_waiting(
    sqlite_library: Library,
) -> None:
    sqlite_library.add_vector(new_vector(), random_delta())
    with sqlite_library.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE vectors SET description = 'changed'")

        found = suggest("address", sqlite_library.config, "smil")

    assert [one.text for one in found] == ["smile"]


def test_completing_loads_no_library_that_takes_long() -> None:
    program = (
        "import sys, editvec.cli\n"
        "try: editvec.cli.main([])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    environment = {
        **os.environ,
        "_EDITVEC_COMPLETE": "fish_complete",
        "_EDITVEC_LINE": "editvec registry show ",
    }

    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )

    names = result.stderr.split()
    loaded = {name.partition(".")[0] for name in names}
    assert "editvec.registry" in names
    assert loaded.isdisjoint({"sqlalchemy", "numpy", "PIL", "torch", "alembic", "fsspec"})


def test_answer_takes_less_than_300_ms(home: str) -> None:
    def processor_seconds() -> float:
        process = subprocess.Popen(
            [PROGRAM],
            env={
                **os.environ,
                "_EDITVEC_COMPLETE": "bash_complete",
                "_EDITVEC_LINE": f"editvec --home {home} registry show smi",
            },
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    # Processor time: what else a busy machine does is not ours to measure.
    assert min(processor_seconds() for _ in range(3)) < 0.3


# --- the command ---


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert editvec.cli.main(["completion", shell]) == 0

    script = capsys.readouterr().out
    assert f"_EDITVEC_COMPLETE={shell}_complete" in script
    assert "%(" not in script


def test_unknown_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert editvec.cli.main(["completion", "tcsh"]) == 2

    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


# --- the shells themselves ---

_STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(editvec completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'eval "$(editvec completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "editvec completion fish | source"),
}


class _Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.execvpe(command[0], list(command), environment)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> None:
        """Reads until a text is shown."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} is not in {self.shown!r}"
            if not select.select([self._terminal], [], [], left)[0]:
                continue
            read = os.read(self._terminal, 1 << 16)
            # fish asks what terminal this is, and where the cursor stands
            if b"\x1b[c" in read or b"\x1b[0c" in read:
                os.write(self._terminal, b"\x1b[?1;2c")
            if b"\x1b[6n" in read:
                os.write(self._terminal, b"\x1b[1;1R")
            self.shown += read.decode(errors="replace").replace("\x07", "")

    def close(self) -> None:
        with suppress(OSError):
            os.kill(self._process, 9)
        os.close(self._terminal)
        os.waitpid(self._process, 0)


_TYPED = {
    "show smir\t": "show smirk ",
    "show smile@la\t": "show smile@latest ",
    "show --class=av\t": "show --class=avatars ",
    "compose both --term smir\t1": "--term smirk=1",
    "list --roi mouth,te\t": "--roi mouth,teeth ",
    "show 'smir\t": "show 'smirk' ",
}
_CLEAR_LINE = "\x05\x15"


@pytest.mark.parametrize("shell", list(_STARTS))
def test_shell_completes(shell: str, home: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command, source = _STARTS[shell]
    environment = {
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "EDITVEC_HOME": home,
        "PS1": "> ",
    }
    terminal = _Terminal(command, environment)
    try:
        terminal.type(f"{source}; echo re''ady\n")
        terminal.wait_for("ready\r\n")
        for typed, completed in _TYPED.items():
            terminal.shown = ""
            terminal.type(f"{_CLEAR_LINE}editvec registry {typed}")
            terminal.wait_for(completed)
    finally:
        terminal.close()


def test_config_of_a_url_with_a_driver_is_understood(sqlite_library: Library) -> None:
    sqlite_library.add_vector(new_vector(), random_delta())
    url = sqlite_library.config.database_url.replace("sqlite:", "sqlite+pysqlite:")
    config: RegistryConfig = replace(sqlite_library.config, database_url=url)

    assert [one.text for one in suggest("address", config, "smi")] == ["smile"]
