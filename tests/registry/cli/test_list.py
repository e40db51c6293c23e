"""`editvec registry list`: the table, CSV and JSON, and what it says on stderr."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from editvec.cli import cli
from editvec.registry.cli.list import TABLE_ROWS
from editvec.registry.cli.list_text import CSV_COLUMNS, csv_rows
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.errors import InvalidNameError, MetricNotFoundError, RecordError
from editvec.registry.library.library import Library
from editvec.registry.library.records import told_json
from tests.support.registry_fixtures import new_vector, random_delta

DESCRIPTION = 'a "wide" smile,\nwith teeth; ümläut'


@pytest.fixture
def run(sqlite_library: Library) -> Callable[..., Result]:
    """Lists a library of three vectors: `run("--json")`."""
    for place, (name, leakage) in enumerate([("smile", 0.0312), ("frown", 0.5), ("blink", None)]):
        metrics = () if leakage is None else (NewMetric(name="leakage", value=leakage),)
        sqlite_library.add_vector(
            new_vector(name, tags=("mood",), description=DESCRIPTION if name == "smile" else ""),
            random_delta(place),
            metrics=metrics,
        )
    sqlite_library.add_vector(new_vector("old"), random_delta(9))
    sqlite_library.retire("old@1", reason="it leaks")
    sqlite_library.set_alias("smile@1", "stable")
    sqlite_library.set_alias("smile@1", "golden")

    def invoke(*words: str) -> Result:
        home = ["--home", str(sqlite_library.config.home)]
        return CliRunner().invoke(cli, [*home, "registry", "list", *words], obj={})

    return invoke


def _column(result: Result, place: int = 0) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.split()[place] for line in result.stdout.splitlines()[1:]]


def test_table_shows_aliases_with_the_address(run: Callable[..., Result]) -> None:
    result = run()

    assert _column(result) == ["avatars/blink@1", "avatars/frown@1", "avatars/smile@1"]
    assert "avatars/smile@1 golden stable  learned" in result.stdout
    assert result.stderr == ""


def test_table_shows_how_good_vectors_are_once_they_were_measured(
    run: Callable[..., Result], sqlite_library: Library
) -> None:
    def add(name: str, *metrics: NewMetric) -> None:
        sqlite_library.add_metrics(name, metrics)

    learned = NewMetric(name="success_iou", value=0.9)
    add("blink", learned)
    before = run()
    add(
        "smile",
        NewMetric(
            name="success_attribute", value=0.85, sample_count=45, settings={"against": "smiling"}
        ),
        NewMetric(name="success_iou", value=0.5, sample_count=64),
        NewMetric(name="success_attribute", value=0.0, sample_count=1),
        NewMetric(name="leakage_psnr", value=38.26, sample_count=64),
    )
    add("frown", NewMetric(name="success_iou", value=0.61, sample_count=8))
    sqlite_library.set_scale_range("frown", -1, 1.5)

    after = run()

    # one picture, the one that it was learned from, says nothing of others
    assert before.stdout.splitlines()[0].split()[:3] == ["VECTOR", "KIND", "ROI"]
    head, blink, frown, smile = after.stdout.splitlines()
    assert head.split("  ")[0] == "VECTOR"
    assert " ".join(head.split()).startswith("VECTOR KIND SUCCESS (N) LEAKAGE USABLE ROI")
    assert "learned  85 % smiling (45)  38.3 dB" in smile
    assert " ".join(frown.split()).startswith(
        "avatars/frown@1 learned 0.61 IoU (8) -1 to 1.5 mouth,teeth"
    )
    assert " ".join(blink.split()).startswith("avatars/blink@1 learned mouth,teeth")


def test_class_may_stand_before_the_name(run: Callable[..., Result]) -> None:
    assert _column(run("avatars/s*")) == ["avatars/smile@1"]
    assert "no class 'cars'" in str(run("cars/s*").exception)


def test_options_narrow_the_list(run: Callable[..., Result]) -> None:
    smile, frown = "avatars/smile@1", "avatars/frown@1"

    assert _column(run("--where", "leakage < 0.1")) == [smile]
    assert _column(run("--where", "leakage<1", "--where", "leakage>0.1")) == [frown]
    assert _column(run("--alias", "stable")) == [smile]
    assert _column(run("--roi", "mouth,teeth", "--tag", "mood", "s*")) == [smile]
    assert _column(run("--roi", "mouth", "--roi", "teeth", "--latest", "f*")) == [frown]
    assert _column(run("--retired")) == ["avatars/old@1"]
    assert "avatars/old@1 (retired)" in run("--all").stdout
    assert len(_column(run("--all"))) == 4


def test_metric_that_decides_has_a_column(run: Callable[..., Result]) -> None:
    sorted_by = run("--sort", "leakage", "--desc")

    assert sorted_by.stdout.splitlines()[0].split()[:3] == ["VECTOR", "KIND", "LEAKAGE"]
    assert _column(sorted_by) == ["avatars/frown@1", "avatars/smile@1"]
    assert "0.0312" in sorted_by.stdout
    assert "LEAKAGE" in run("--where", "leakage<1").stdout
    assert "LEAKAGE" not in run().stdout


def test_page_says_how_to_go_on(run: Callable[..., Result]) -> None:
    first = run("--limit", "2")

    assert _column(first) == ["avatars/blink@1", "avatars/frown@1"]
    assert first.stderr == "there are more: add --after avatars/frown@1\n"

    second = run("--limit", "2", "--after", "avatars/frown@1")

    assert _column(second) == ["avatars/smile@1"]
    assert second.stderr == ""


def test_table_is_one_page_while_programs_get_everything(
    run: Callable[..., Result], sqlite_library: Library
) -> None:
    for place in range(TABLE_ROWS):
        sqlite_library.add_vector(new_vector("many"), random_delta(100 + place))

    table = run()

    assert len(_column(table)) == TABLE_ROWS
    assert "there are more" in table.stderr
    for words in (("--json",), ("--csv",)):
        everything = run(*words)
        assert everything.stdout.count("avatars/many@") == TABLE_ROWS
        assert everything.stderr == ""
    assert len(json.loads(run("--json", "--limit", "3").stdout)) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("z*",), "no vectors pass these filters\n"),
        (("--after", "smile@1"), "no more vectors\n"),
        (("--retired", "s*"), "no vectors pass these filters\n"),
    ],
)
def test_nothing_found_is_said_on_stderr(
    run: Callable[..., Result], words: tuple[str, ...], said: str
) -> None:
    result = run(*words)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", said)
    assert json.loads(run(*words, "--json").stdout) == []
    assert run(*words, "--csv").stdout == ",".join(CSV_COLUMNS) + "\n"


def test_empty_library_says_that_it_has_no_vectors(sqlite_library: Library) -> None:
    home = ["--home", str(sqlite_library.config.home)]

    result = CliRunner().invoke(cli, [*home, "registry", "list"], obj={})

    assert result.stdout == ""
    assert result.stderr == (
        "no vectors; `editvec learn` makes one, `editvec model add avatars` adds some\n"
    )


def test_csv_keeps_commas_quotes_and_line_breaks(run: Callable[..., Result]) -> None:
    result = run("--csv", "--where", "leakage<0.1")

    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert tuple(rows[0]) == (*CSV_COLUMNS, "leakage")
    assert len(rows) == 1
    row = rows[0]
    assert row["address"] == "avatars/smile@1"
    assert row["description"] == DESCRIPTION
    assert row["aliases"] == "golden stable"
    assert row["roi"] == "mouth teeth"
    assert row["metrics"] == "leakage=0.0312"
    assert row["leakage"] == "0.0312"
    assert row["retired_at"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_holds_no_formula_and_numbers_stay_numbers(
    sqlite_library: Library, run: Callable[..., Result], text: str
) -> None:
    vector = replace(sqlite_library.get_vector("smile@1"), description=text, default_scale=-1.5)

    (row,) = csv.DictReader(io.StringIO("".join(csv_rows([vector])), newline=""))

    assert row["description"] == f"'{text}"
    assert row["default_scale"] == "-1.5"
    assert row["name"] == "smile"


def test_json_holds_whole_vectors(run: Callable[..., Result]) -> None:
    found = json.loads(run("--json", "smile").stdout)

    assert [one["address"] for one in found] == ["avatars/smile@1"]
    assert found[0]["aliases"] == ["golden", "stable"]
    assert found[0]["metrics"][0]["value"] == 0.0312


def test_json_and_csv_exclude_each_other(run: Callable[..., Result]) -> None:
    result = run("--json", "--csv")

    assert result.exit_code == 2
    assert "--json and --csv exclude each other" in result.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--where", "leakage"), RecordError),
        (("--where", "leakage<nan"), RecordError),
        (("--where", "lekage<1"), MetricNotFoundError),
        (("--sort", "lekage"), MetricNotFoundError),
        (("--tag", "a b"), InvalidNameError),
        (("s[mn]ile",), InvalidNameError),
    ],
)
def test_mistakes_are_errors_of_the_library(
    run: Callable[..., Result], words: tuple[str, ...], error: type[Exception]
) -> None:
    assert isinstance(run(*words).exception, error)


def test_programs_get_vectors_one_by_one_in_the_form_of_all_at_once(
    run: Callable[..., Result], sqlite_library: Library
) -> None:
    whole = told_json(sqlite_library.find_vectors())

    assert run("--json").stdout == json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    found = sqlite_library.iterate_vectors()
    assert next(found).name == "blink"
    found.close()  # type: ignore[attr-defined]
    assert len(list(sqlite_library.iterate_vectors())) == 3
