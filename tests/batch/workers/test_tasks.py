"""What the tasks make of trouble that is not theirs."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from celery.exceptions import Reject

from editvec.batch.chunks.images import ChunkProcessor
from editvec.batch.errors import BrokerError
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult, Lease, Leases
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.runs.store import Runs
from editvec.batch.workers.app import create_app
from editvec.batch.workers.tasks import WorkerState, publish_waiting
from editvec.engine.editor import Editor
from editvec.engine.errors import EngineSettingsError
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import DatabaseError
from editvec.registry.library.library import Library
from editvec.registry.tables.database import is_away, open_engine, reading

AWAY = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def run(library: Library, make_pictures: Callable[..., Path], tmp_path: Path) -> RunRecord:
    request = RunRequest(
        class_name="tiny",
        input_folder=make_pictures(2),
        output_folder=tmp_path / "out",
        edits=[parse_edit("smile=1")],
        settings=RunSettings(),
    )
    return open_run(library, request).run


def database_error(url: str) -> DatabaseError:
    """What a database says that is not there."""
    engine = open_engine(url)
    with pytest.raises(DatabaseError) as caught, reading(engine) as session:
        session.connection()
    engine.dispose()
    return caught.value


def test_a_chunk_in_work_when_the_database_went_away_is_given_back_once_it_answers(
    home: Path, library: Library, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, error = Leases(library.engine), database_error(AWAY)
    (chunk,) = leases.pending_chunks(run.id)
    state = WorkerState(RegistryConfig.for_home(home), device="cpu")
    answers = iter([error, None])

    def process(_self: object, lease: Lease) -> None:
        assert Runs(library.engine).chunk_states(run.id) == {"leased": 1}
        monkeypatch.setattr(Leases, "give_back", give_back)
        raise error

    def give_back(leases: Leases, lease: Lease, items: Sequence[ItemResult] = ()) -> None:
        if (away := next(answers)) is not None:
            raise away
        whole(leases, lease, items)

    whole = Leases.give_back
    monkeypatch.setattr(ChunkProcessor, "process", process)
    with pytest.raises(DatabaseError) as raised:
        state.process_chunk(run.id, chunk)
    state.wait_for_database(raised.value)

    assert Runs(library.engine).chunk_states(run.id) == {"pending": 1}
    assert Runs(library.engine).get(run.id).state == "running"


def test_a_chunk_claimed_while_told_to_stop_twice_is_given_back(
    home: Path, library: Library, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chunk,) = Leases(library.engine).pending_chunks(run.id)
    state = WorkerState(RegistryConfig.for_home(home), device="cpu")
    whole = Leases.claim

    def claim(leases: Leases, *arguments: Any, **options: Any) -> Lease | None:
        lease = whole(leases, *arguments, **options)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGALRM)
        return lease

    monkeypatch.setattr(Leases, "claim", claim)
    monkeypatch.setattr(state, "_processor_for", lambda run: None)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    try:
        state.stop.listen()
        with pytest.raises(SystemExit):
            state.process_chunk(run.id, chunk)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])

    assert Runs(library.engine).chunk_states(run.id) == {"pending": 1}


def test_only_a_server_can_be_away(tmp_path: Path) -> None:
    assert is_away(database_error(AWAY))
    assert not is_away(database_error(f"sqlite:///{tmp_path}/none/editvec.db"))
    assert not is_away(ValueError("no database"))


def test_what_the_next_message_would_meet_again_pauses_the_run_with_its_reason(
    home: Path, library: Library, run: RunRecord, tmp_path: Path
) -> None:
    error = database_error(f"sqlite:///{tmp_path}/none/editvec.db")

    WorkerState(RegistryConfig.for_home(home), device="cpu").pause(run.id, error)

    paused = Runs(library.engine).get(run.id)
    assert paused.state == "paused"
    assert "DatabaseError: " in str(paused.reason)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.30 GiB"),
        EngineSettingsError("device: cannot use 'cuda:1': no such device"),
    ],
)
def test_a_device_that_fails_while_networks_load_ends_its_worker_and_not_the_run(
    home: Path,
    library: Library,
    run: RunRecord,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    (chunk,) = Leases(library.engine).pending_chunks(run.id)
    state, ended = WorkerState(RegistryConfig.for_home(home), device="cpu"), []
    state.end_worker = lambda: ended.append(True)

    def fail(*_arguments: object, **_options: object) -> Editor:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Editor, "open", fail)
        with pytest.raises(Reject) as rejected:
            state.process_chunk(run.id, chunk)
    with pytest.raises(Reject):
        state.process_chunk(run.id, chunk)  # the next message, before the worker ended

    assert rejected.value.requeue
    assert ended == [True]
    (told,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert told.getMessage().startswith("device: ")
    assert "\n" not in told.getMessage()
    assert Runs(library.engine).get(run.id).state == "planned"
    assert Runs(library.engine).chunk_states(run.id) == {"pending": 1}
    assert sum(Leases(library.engine).attempts(run.id).values()) == 0


def test_a_class_that_cannot_be_loaded_is_no_fault_of_the_device(
    home: Path, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> Editor:
        raise RuntimeError("the weights are damaged")

    monkeypatch.setattr(Editor, "open", fail)
    with pytest.raises(RuntimeError, match="damaged"):
        WorkerState(RegistryConfig.for_home(home), device="cpu").process_chunk(run.id, 1)


def test_publishing_to_a_broker_that_went_away_says_so(library: Library, run: RunRecord) -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1/0 does not answer"):
        publish_waiting(create_app("redis://127.0.0.1:1/0"), library, run)
