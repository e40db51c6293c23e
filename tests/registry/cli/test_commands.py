"""The commands `registry`, `model` and `db`, through the root command."""

import json
from pathlib import Path
from typing import Any

import pytest

import editvec.cli
from editvec.registry.bundles.manifest import read_manifest
from tests.support.registry_fixtures import NUM_WS, W_DIM, Failure, Run, mask_pair


def test_first_steps(run: Run, bundle: Path, vector_file: Path) -> None:
    assert run("model", "add", bundle) == "avatars@1"
    assert run("model", "add", bundle) == "avatars@1"
    assert "avatars@1" in run("model", "list")
    assert "mouth" in run("model", "show")

    add = ("registry", "add", vector_file, "--class", "avatars", "--roi", "mouth, teeth")
    assert run(*add) == "avatars/smile@1"
    assert run(*add) == "avatars/smile@1 (the library held it already)"
    assert run(*add, "--name", "grin") == "avatars/grin@1"
    assert run(*add, "--version", "4", "--roi", "mouth") == "avatars/smile@4"


def test_list_is_a_table_and_json(filled: Run) -> None:
    table = filled("registry", "list").splitlines()
    assert table[0].split() == ["VECTOR", "KIND", "ROI", "TAGS", "CREATED", "DESCRIPTION"]
    assert table[1].split()[:4] == ["avatars/look@1", "imported", "eye", "gaze"]
    assert table[2].endswith("a smile")

    def names(*arguments: str) -> list[str]:
        found = json.loads(filled("registry", "list", "--json", *arguments))
        return [vector["address"] for vector in found]

    assert names() == ["avatars/look@1", "avatars/smile@1"]
    assert names("s*") == ["avatars/smile@1"]
    assert names("--roi", "eye") == ["avatars/look@1"]
    assert names("--kind", "learned") == []
    assert names("--tag", "gaze", "--class", "avatars") == ["avatars/look@1"]
    assert names("--limit", "1") == ["avatars/look@1"]
    assert filled("registry", "list", "nothing") == ""


def test_show_tells_everything(filled: Run) -> None:
    shown = filled("registry", "show", "smile")
    assert "avatars/smile@1" in shown
    assert "mouth, teeth" in shown

    record = json.loads(filled("registry", "show", "avatars/smile@1", "--json"))
    assert record["roi_labels"] == ["mouth", "teeth"]
    assert record["kind"] == "imported"
    assert record["num_ws"] == NUM_WS
    assert record["w_dim"] == W_DIM


def test_mask_pair_is_stored_with_the_vector(
    run: Run, bundle: Path, vector_file: Path, tmp_path: Path
) -> None:
    run("model", "add", bundle)
    pair = mask_pair(read_manifest(bundle).labels)
    paths = [tmp_path / name for name in ("image.png", "before.png", "after.png")]
    for path, data in zip(
        paths, (pair.image_png, pair.mask_before_png, pair.mask_after_png), strict=True
    ):
        path.write_bytes(data)

    run("registry", "add", vector_file, "--roi", "mouth", "--mask-pair", *paths)

    record = json.loads(run("registry", "show", "smile", "--json"))
    assert len(record["pairs"]) == 1
    with pytest.raises(
        Failure, match=r"image\.png: colour #c89664 at row 0, column 0 is that of no part"
    ):
        run("registry", "add", vector_file, "--roi", "eye", "--mask-pair", *paths[::-1])


def test_compose_reports_and_stores(filled: Run) -> None:
    terms = ("--term", "smile=1", "--term", "look[1:3]=-0.5")

    dry = filled("registry", "compose", "mix", *terms, "--dry-run")
    assert "COS 1" in dry
    assert dry.endswith("nothing stored (dry run)")
    with pytest.raises(Failure, match="no vector 'mix'"):
        filled("registry", "show", "mix")

    stored = filled("registry", "compose", "mix", *terms, "--description", "both")
    assert stored.endswith("avatars/mix@1")
    record = json.loads(filled("registry", "show", "mix", "--json"))
    assert record["kind"] == "composed"
    assert [term["address"] for term in record["terms"]] == ["avatars/smile@1", "avatars/look@1"]
    assert record["terms"][1]["row_mask"] == [False, True, True, False, False, False]
    assert record["roi_labels"] == ["mouth", "teeth", "eye"]
    narrow = filled("registry", "compose", "mix", *terms, "--roi", "mouth", "--json")
    assert json.loads(narrow)["address"] == "avatars/mix@2"


def test_export_and_import_carry_vectors_to_another_home(
    filled: Run, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled("registry", "compose", "mix", "--term", "smile=1", "--term", "look=1")
    filled("registry", "export", tmp_path / "mix.zip", "mix")

    home = ["--home", str(tmp_path / "second home")]
    assert editvec.cli.main([*home, "model", "add", str(bundle)]) == 0
    assert editvec.cli.main([*home, "registry", "import", str(tmp_path / "mix.zip")]) == 0
    assert "avatars/mix@1" in capsys.readouterr().out
    assert editvec.cli.main([*home, "registry", "import", str(tmp_path / "mix.zip"), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["is_new"] for entry in entries] == [False] * 3


def test_database_is_upgraded_where_it_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_DATABASE_URL", f"sqlite:///{tmp_path}/team.db")

    with pytest.raises(Failure, match=r"1: editvec: error: .*`editvec db upgrade`"):
        run("registry", "list")
    assert "revision none" in run("db", "current")

    assert "none -> " in run("db", "upgrade")
    assert "up to date" in run("db", "upgrade")
    assert json.loads(run("db", "current", "--json"))["revision"] is not None
    assert run("registry", "list", "--json") == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("registry", "show", "smlie"), "did you mean smile"),
        (("registry", "show", "cat/smile"), "no class 'cat'"),
        (("registry", "show", "smile@9"), "no version 9"),
        (("registry", "show", "../smile"), "expected a letter"),
        (("registry", "add", "nowhere.npy", "--roi", "mouth"), "nowhere.npy: No such file"),
        (("registry", "add", "{vector}", "--roi", "mouht"), "no part 'mouht'; its parts are"),
        (("registry", "add", "{vector}", "--roi", "eye", "--class", "cat"), "no class 'cat'"),
        (("registry", "add", "{vector}", "--roi", "eye", "--name", "smile", "--version", "1"),
         "version holds other content"),
        (("registry", "compose", "x", "--term", "smile=much"), "expected a number"),
        (("registry", "compose", "x", "--term", "smile=1", "--term", "smile=-1"), "cancel to zero"),
        (("registry", "compose", "x/y", "--term", "smile=1"), "no class 'x'"),
        (("registry", "import", "nowhere.zip"), "No such file"),
        (("registry", "export", "x.zip", "nothing"), "no vector 'nothing'"),
        (("model", "add", "nowhere"), "expected a folder"),
        (("model", "show", "cat"), "no class 'cat'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_one(
    filled: Run, vector_file: Path, arguments: tuple[str, ...], message: str
) -> None:
    given: list[Any] = [str(vector_file) if one == "{vector}" else one for one in arguments]

    with pytest.raises(Failure, match=message) as caught:
        filled(*given)

    text = str(caught.value)
    assert text.startswith("1: editvec: error: ")
    assert text.strip().count("\n") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("registry", "compose", "x"),
        ("registry", "list", "--kind", "stolen"),
        ("registry", "list", "--limit", "0"),
    ],
)
def test_wrong_usage_is_status_two(run: Run, arguments: tuple[str, ...]) -> None:
    with pytest.raises(Failure, match="2: "):
        run(*arguments)


def test_empty_library_says_what_to_do(run: Run) -> None:
    assert run("model", "list") == ""
    with pytest.raises(Failure, match="editvec model add FOLDER"):
        run("registry", "show", "smile")
