"""Power cuts: whatever SQL names was on the disk before SQL said so."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

import editvec.batch.sinks.files
import editvec.batch.sinks.shards
from editvec.batch.recipes.settings import Output
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.files import files_below, sync_filesystem
from editvec.registry.library.library import Library
from editvec.whole_files import sync_folder
from tests.support.folder_runs import do, request

MakePictures = Callable[..., Path]
_NAMES = "SELECT file_name, mask_file_name FROM run_items WHERE state = 'done'"


class Witness:
    """Sees what is synced, and what SQL names in each commit."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.synced_files: set[str] = set()
        self.synced_entries: set[str] = set()
        self.unsynced: set[str] = set()
        self.commits = 0

    def filesystem(self, folder: Path) -> None:
        there = set(files_below(self.out))
        sync_filesystem(folder)
        self.synced_files |= there

    def folder(self, folder: Path) -> None:
        there = {path.relative_to(self.out).as_posix() for path in folder.iterdir()}
        sync_folder(folder)
        self.synced_entries |= there

    def commit(self, connection: Connection) -> None:
        named = {
            name for row in connection.exec_driver_sql(_NAMES) for name in row if name is not None
        }
        self.commits += bool(named)
        self.unsynced |= {name for name in named if not self._is_safe(name)}

    def _is_safe(self, name: str) -> bool:
        shard, is_packed, _ = name.partition(".tar/")
        if not is_packed:
            return name in self.synced_files
        stem = Path(shard).name
        was_written = any(file.endswith(f"-{stem}.tar") for file in self.synced_files)
        record = any(file.endswith(f"/shards/{stem}.json") for file in self.synced_entries)
        return was_written and record and f"{shard}.tar" in self.synced_entries


@pytest.fixture
def witness(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    seen = Witness(tmp_path / "out")
    monkeypatch.setattr(editvec.batch.sinks.files, "sync_filesystem", seen.filesystem)
    monkeypatch.setattr(editvec.batch.sinks.shards, "sync_folder", seen.folder)
    event.listen(library.engine, "commit", seen.commit)
    yield seen
    event.remove(library.engine, "commit", seen.commit)


@pytest.mark.parametrize("output", Output)
def test_files_are_on_the_disk_before_sql_names_them(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    witness: Witness,
    output: Output,
) -> None:
    wanted = request(make_pictures(4), tmp_path / "out", "smile=0:1:2", output=output, chunk_size=2)

    run = do(library, wanted)

    assert witness.commits >= 2  # a chunk each
    assert witness.unsynced == set()
    own = {"imagefolder": [], "coco": ["annotations.json"], "webdataset": ["shards.jsonl"]}
    names = ("metadata.jsonl", "rejected.jsonl", "failed.jsonl", "run.json", "README.md")
    assert {*names, *own[output]} <= witness.synced_files
    assert audit(library, run).problems == []


def test_what_no_chunk_packed_is_on_the_disk_before_sql_names_its_shard(
    library: Library, make_pictures: MakePictures, tmp_path: Path, witness: Witness
) -> None:
    out, runs = tmp_path / "out", Runs(library.engine)
    wanted = request(make_pictures(12), out, "smile=1", output="webdataset", chunk_size=8)
    opened = open_run(library, wanted)

    run = do(
        library, wanted, mini_batch=2, on_progress=lambda _: runs.request_cancel(opened.run.id)
    )

    assert run.state == "cancelled"
    assert [path.name for path in (out / "shards").iterdir()] == ["leftover.tar"]
    assert witness.unsynced == set()
