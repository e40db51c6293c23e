"""The commands `registry verify` and `registry gc`, through the root command."""

import json
import os
from pathlib import Path

import pytest

import editvec.cli
from tests.support.registry_fixtures import Failure, Run


def _blobs(tmp_path: Path) -> Path:
    return tmp_path / "home" / "blobs"


def _delta(filled: Run, tmp_path: Path, name: str) -> Path:
    digest = json.loads(filled("registry", "show", name, "--json"))["delta_digest"]
    return _blobs(tmp_path) / digest[:2] / digest


def _orphan(tmp_path: Path, *, hours: float) -> Path:
    """A blob that nothing names, of its own digest."""
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    path = _blobs(tmp_path) / "2c" / digest
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"foo")
    old = path.stat().st_mtime - hours * 3600
    os.utime(path, (old, old))
    return path


def test_verify_of_a_sound_library_is_one_line(filled: Run) -> None:
    line = filled("registry", "verify")

    report = json.loads(filled("registry", "verify", "--json"))
    assert report["faults"] == []
    assert line.startswith(f"{report['blob_count']} blobs (")
    assert line.endswith("and 2 vectors verified: all is well")


def test_flipped_byte_is_named_by_verify_and_orphans_by_a_dry_run_of_gc(
    filled: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _delta(filled, tmp_path, "smile")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    orphan = _orphan(tmp_path, hours=25)

    status = editvec.cli.main(["--home", str(tmp_path / "home"), "registry", "verify"])

    output = capsys.readouterr()
    assert status == 1
    header, fault, counts = output.out.splitlines()
    assert header.split() == ["FAULT", "OF", "WHAT"]
    assert fault.startswith("altered  vector avatars/smile@1: delta  ")
    assert str(path) in fault
    assert "1 blobs (3 B) that nothing names" in counts
    assert output.err == "editvec: error: library: 1 fault found\n"
    listed = filled("registry", "gc", "--dry-run")
    assert orphan.name in listed
    assert "would delete 1 blobs (3 B)" in listed
    assert orphan.exists()


def test_faults_are_json_too(
    filled: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _delta(filled, tmp_path, "look").unlink()

    status = editvec.cli.main(["--home", str(tmp_path / "home"), "registry", "verify", "--json"])

    assert status == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault["kind"] == "missing"
    assert fault["users"] == ["vector avatars/look@1: delta"]


def test_blob_that_was_lost_comes_back_by_adding_it_again(
    filled: Run, tmp_path: Path, vector_file: Path
) -> None:
    _delta(filled, tmp_path, "smile").unlink()
    with pytest.raises(Failure):
        filled("registry", "verify")

    filled("registry", "add", vector_file, "--roi", "mouth,teeth")

    assert "all is well" in filled("registry", "verify")


def test_gc_keeps_what_is_young(filled: Run, tmp_path: Path) -> None:
    orphan = _orphan(tmp_path, hours=2)

    assert filled("registry", "gc") == "deleted 0 blobs (0 B); kept 1 young ones (3 B)"
    assert orphan.exists()
    assert filled("registry", "gc", "--grace", "1h") == "deleted 1 blobs (3 B)"
    assert not orphan.exists()
    assert "all is well" in filled("registry", "verify")


def test_gc_is_json_too(filled: Run, tmp_path: Path) -> None:
    orphan = _orphan(tmp_path, hours=2)

    report = json.loads(filled("registry", "gc", "--grace", "0", "--embeddings", "0", "--json"))

    assert [one["name"] for one in report["blobs"]] == [orphan.name]
    assert report["evicted"] == {"count": 0, "bytes": 0}


@pytest.mark.parametrize(
    ("option", "value"), [("--grace", "1 fortnight"), ("--embeddings", "much"), ("--grace", "-1h")]
)
def test_value_that_is_none_is_an_error_of_usage(
    filled: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    status = editvec.cli.main(["--home", str(tmp_path / "home"), "registry", "gc", option, value])

    assert status == 2
    assert f"got '{value}'" in capsys.readouterr().err


def test_vanished_store_is_one_line_for_every_command(
    filled: Run, tmp_path: Path, vector_file: Path
) -> None:
    _blobs(tmp_path).rename(tmp_path / "unmounted")

    for words in (
        ("registry", "verify"),
        ("registry", "gc"),
        ("registry", "export", tmp_path / "a.zip", "smile"),
        ("registry", "add", vector_file, "--roi", "eye"),
    ):
        with pytest.raises(Failure) as caught:
            filled(*words)
        line = f"blob store {_blobs(tmp_path)}: not found; is its disk mounted?"
        assert str(caught.value) == f"1: editvec: error: {line}\n"

    assert not _blobs(tmp_path).exists()
    assert "avatars/smile@1" in filled("registry", "list")


def test_upgrade_makes_a_lost_store_anew_and_says_so(
    filled: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _blobs(tmp_path).rename(tmp_path / "lost")

    status = editvec.cli.main(["--home", str(tmp_path / "home"), "db", "upgrade"])

    output = capsys.readouterr()
    assert status == 0
    assert "up to date" in output.out
    assert "not found, made anew; `editvec registry verify` names what is missing" in output.err
    with pytest.raises(Failure, match=r"\d faults found"):
        filled("registry", "verify")
