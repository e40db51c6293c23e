"""The doctor finds what is broken, says so in a line each, and changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import editvec.cli
from editvec.avatars import default
from editvec.batch.doctor import Finding, State, examine
from editvec.engine.bundle.bundle import read_networks, write_bundle
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import Kind, NewTerm, NewVector, VectorParcel
from editvec.registry.library import inserts
from editvec.registry.library.library import Library
from editvec.registry.library.parcels import check_parcel, contents_of
from editvec.registry.library.references import storing


def _by_part(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.part: finding for finding in findings}


@pytest.fixture
def shipped(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that ships a tiny class."""
    archive = tmp_path / "starter.editvec.zip"
    archive.write_bytes(b"archive")
    monkeypatch.setattr(default, "BUNDLE_FOLDER", tiny_bundle)
    monkeypatch.setattr(default, "STARTER_ARCHIVE", archive)


@pytest.mark.usefixtures("shipped")
def test_a_home_that_does_not_exist_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")

    findings = examine(config)

    assert [finding for finding in findings if finding.state is State.PROBLEM] == []
    assert not config.home.exists()


@pytest.mark.usefixtures("shipped")
def test_every_part_is_named_with_its_version(tmp_path: Path) -> None:
    findings = _by_part(examine(RegistryConfig.for_home(tmp_path / "home")))

    assert findings["torch"].text[0].isdigit()
    assert findings["python"].text.startswith("3.")
    assert "cpu" in findings["device"].text or "cuda" in findings["device"].text
    assert "6 parts" in findings["class avatars"].text


@pytest.mark.usefixtures("shipped")
def test_a_composition_that_is_not_the_sum_of_its_terms_is_named(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    with Library.open(config) as library:
        library.add_bundle(tiny_bundle)
        delta = np.ones((8, 8), np.float32)
        smile = NewVector(class_name="tiny", name="smile", roi_labels=("mouth",))
        library.add_vector(smile, delta)
        library.compose("good", [NewTerm(address="smile", scale=0.5)])
        assert _by_part(examine(config))["library"].text == "1 classes, 2 vectors"
        new = replace(smile, name="cut", kind=Kind.COMPOSED, row_mask=(True,) * 4 + (False,) * 4)
        terms = (NewTerm(address="smile", scale=1.0),)
        cut = delta * np.repeat([1, 0], 4)[:, None]
        checked = check_parcel(VectorParcel(new=new, delta=cut, terms=terms), library.get_class())
        # as older releases stored it
        with storing(library.engine, library.blobs, contents_of(checked)) as (session, digests):
            inserts.add_vectors(session, [checked], digests, reason="")

    finding = _by_part(examine(config))["library"]

    assert finding.state is State.PROBLEM
    assert finding.text.startswith("tiny/cut@1: its delta is not the sum of its terms; compose it")


@pytest.mark.usefixtures("shipped")
def test_a_library_is_counted(tmp_path: Path, tiny_bundle: Path) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    with Library.open(config) as library:
        library.add_bundle(tiny_bundle)

    findings = _by_part(examine(config))

    assert findings["library"].text == "1 classes, 0 vectors"
    assert "revision" in findings["database"].text


@pytest.mark.usefixtures("shipped")
def test_a_missing_blob_is_a_problem(tmp_path: Path, tiny_bundle: Path) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    with Library.open(config) as library:
        library.add_bundle(tiny_bundle)
    for blob in Path(config.blob_url).rglob("*"):
        if blob.is_file():
            blob.unlink()

    finding = _by_part(examine(config))["library"]

    assert finding.state is State.PROBLEM
    assert "missing from the blob store" in finding.text


@pytest.mark.usefixtures("shipped")
def test_a_vanished_blob_store_is_one_problem(tmp_path: Path, tiny_bundle: Path) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    with Library.open(config) as library:
        library.add_bundle(tiny_bundle)
    Path(config.blob_url).rename(tmp_path / "unmounted")

    finding = _by_part(examine(config))["library"]

    assert finding.state is State.PROBLEM
    assert finding.text.endswith("blobs: not found; is its disk mounted?")


@pytest.mark.usefixtures("shipped")
def test_an_unmigrated_named_database_is_a_problem_with_its_cure(tmp_path: Path) -> None:
    config = RegistryConfig(
        home=tmp_path / "home",
        database_url=f"sqlite:///{tmp_path / 'other.db'}",
        blob_url=str(tmp_path / "blobs"),
    )

    finding = _by_part(examine(config))["database"]

    assert finding.state is State.PROBLEM
    assert "editvec db upgrade" in finding.text
    assert not (tmp_path / "other.db").exists()


@pytest.mark.usefixtures("shipped")
def test_a_broker_that_does_not_answer_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_BROKER_URL", "redis://:secret@127.0.0.1:1/0")

    finding = _by_part(examine(RegistryConfig.for_home(tmp_path / "home")))["broker"]

    assert finding.state is State.PROBLEM
    assert "127.0.0.1:1/0 does not answer" in finding.text
    assert "secret" not in finding.text


@pytest.mark.usefixtures("shipped")
@pytest.mark.services
def test_a_broker_that_answers_is_fine_and_its_password_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rabbitmq_url: str
) -> None:
    monkeypatch.setenv("EDITVEC_BROKER_URL", rabbitmq_url)

    finding = _by_part(examine(RegistryConfig.for_home(tmp_path / "home")))["broker"]

    assert finding.state is State.OK
    assert finding.text == rabbitmq_url.replace("guest:guest", "***:***")


@pytest.mark.usefixtures("shipped")
def test_a_folder_as_the_broker_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_BROKER_URL", f"filesystem://{tmp_path}/broker")

    finding = _by_part(examine(RegistryConfig.for_home(tmp_path / "home")))["broker"]

    assert finding.state is State.OK
    assert not (tmp_path / "broker").exists()


def test_a_missing_bundle_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "BUNDLE_FOLDER", tmp_path / "none")

    finding = _by_part(examine(RegistryConfig.for_home(tmp_path / "home")))["class avatars"]

    assert finding.state is State.PROBLEM


@pytest.mark.usefixtures("shipped")
def test_a_home_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder", encoding="utf-8")

    findings = _by_part(examine(RegistryConfig.for_home(tmp_path / "home")))

    assert findings["home"].state is State.PROBLEM


@pytest.mark.usefixtures("shipped")
def test_command_prints_one_line_for_each_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = editvec.cli.main(["--home", str(tmp_path / "home"), "doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert len(lines) == len(examine(RegistryConfig.for_home(tmp_path / "home")))
    assert all(line.startswith(("ok ", "lacking ")) for line in lines)


def test_command_ends_with_status_1_when_something_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(default, "BUNDLE_FOLDER", tmp_path / "none")

    status = editvec.cli.main(["--home", str(tmp_path / "home"), "doctor", "--json"])

    findings = json.loads(capsys.readouterr().out)
    assert status == 1
    assert {"part": "class avatars", "state": "problem"}.items() <= next(
        finding for finding in findings if finding["part"] == "class avatars"
    ).items()


def test_this_installation_is_fit(tmp_path: Path) -> None:
    findings = examine(RegistryConfig.for_home(tmp_path / "home"))

    assert [finding for finding in findings if finding.state is State.PROBLEM] == []


@pytest.mark.usefixtures("shipped")
def test_every_page_of_vectors_is_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import editvec.batch.doctor

    monkeypatch.setattr(editvec.batch.doctor, "_VECTORS_AT_A_TIME", 1)
    config = RegistryConfig.for_home(home)
    whole = _by_part(examine(config))["library"]
    with Library.open(config) as library:
        delta = library.get_vector("tiny/smile").delta_digest  # the last by name
    (found,) = home.joinpath("blobs").rglob(delta)
    found.unlink()

    broken = _by_part(examine(config))["library"]

    assert whole.text == "1 classes, 2 vectors"
    assert broken == Finding(
        "library", State.PROBLEM, "tiny/smile@1: its delta is missing from the blob store"
    )


@pytest.mark.usefixtures("shipped")
def test_what_is_missing_for_which_feature_is_told_and_is_no_problem(
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle, networks = read_networks(tiny_bundle)
    write_bundle(
        tmp_path / "bare",
        class_name="bare",
        description="",
        license="",
        labels=bundle.labels,
        networks={"generator": networks["generator"]},
        built={},
    )
    config = RegistryConfig.for_home(tmp_path / "home")
    with Library.open(config) as library:
        library.add_bundle(tiny_bundle)
        library.add_bundle(tmp_path / "bare")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    status = editvec.cli.main(["--home", str(config.home), "doctor"])

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lacking")]
    told = " ".join(lines)
    assert status == 0
    assert "class bare@1" in told
    assert "lpips weights" in told
    assert "class tiny@1" not in told
    assert any("no masks, no learning" in line and "--class bare PAIRS" in line for line in lines)
    assert any("begins at w_avg" in line for line in lines)


@pytest.mark.usefixtures("shipped")
def test_a_package_that_only_one_command_needs_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RegistryConfig.for_home(tmp_path / "home")
    assert "scikit-learn" not in _by_part(examine(config))
    monkeypatch.setattr("editvec.batch.doctor.find_spec", lambda _name: None)

    finding = _by_part(examine(config))["scikit-learn"]

    assert finding.state is State.LACKING
    assert "no `editvec discover interfacegan`" in finding.text
