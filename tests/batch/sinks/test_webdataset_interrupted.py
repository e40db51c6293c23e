"""WebDataset shards of runs that are interrupted, retried, cancelled or damaged."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from editvec.batch.chunks.images import ChunkProcessor
from editvec.batch.errors import DiskFullError, LeaseLostError
from editvec.batch.execution.local import run_locally
from editvec.batch.reports.audit import audit
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.models import Chunk, Run, RunItem
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.retry import retry
from editvec.batch.runs.store import Runs
from editvec.batch.sinks import webdataset
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library
from editvec.registry.tables.database import transaction
from editvec.whole_files import digest_of_file
from tests.support.folder_runs import do, read_shards, request, rows

MakePictures = Callable[..., Path]
# `webdataset` leaves the shards that it read to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file.*tar:ResourceWarning"),
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in.*\.tar:pytest.PytestUnraisableExceptionWarning"
    ),
]


def test_an_audit_names_damaged_missing_and_foreign_shards(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(3), out, "smile=1", output="webdataset", chunk_size=1))
    shards = out / "shards"
    data = bytearray((shards / "000000.tar").read_bytes())
    data[700] ^= 1
    (shards / "000000.tar").write_bytes(data)
    (shards / "000001.tar").unlink()
    (shards / "000009.tar").write_bytes((shards / "000002.tar").read_bytes())

    problems = audit(library, run).problems

    assert "of another digest than in shards.jsonl: shards/000000.tar" in problems
    assert "only in shards.jsonl: shards/000001.tar" in problems
    assert "not in shards.jsonl: shards/000009.tar" in problems
    gone = [line for line in problems if line.startswith("missing: shards/000001.tar/")]
    extra = [line for line in problems if line.startswith("not recorded: shards/000009.tar/")]
    assert len(gone) == len(extra) == 3


@pytest.mark.parametrize("what", ["gone", "torn"])
def test_an_audit_says_that_the_list_of_shards_cannot_be_read(
    library: Library, make_pictures: MakePictures, tmp_path: Path, what: str
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(1), out, "smile=1", output="webdataset"))
    (out / "shards.jsonl").unlink()
    if what == "torn":
        (out / "shards.jsonl").write_text("{")

    problems = audit(library, run).problems

    assert problems[0].startswith("shards.jsonl cannot be read: ")
    assert problems[1:] == ["not in shards.jsonl: shards/000000.tar"]


def test_an_audit_names_a_foreign_file_among_the_shards(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = do(library, request(make_pictures(1), out, "smile=1", output="webdataset"))
    (out / "shards/notes.txt").write_text("no tar")

    assert audit(library, run).problems == [
        "not recorded: shards/notes.txt",
        "not in shards.jsonl: shards/notes.txt",
    ]


def test_what_no_chunk_packed_lies_in_shards_of_a_limited_size(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(7), out, "smile=1", output="webdataset", chunk_size=7)
    opened, runs = open_run(library, wanted), Runs(library.engine)
    monkeypatch.setattr(webdataset, "_LEFTOVERS_PER_SHARD", 2)

    run = do(
        library, wanted, mini_batch=3, on_progress=lambda _: runs.request_cancel(opened.run.id)
    )

    done = runs.counts(run.id).done
    assert 3 <= done < 7
    sizes = [2] * (done // 2) + [1] * (done % 2)
    names = ["leftover", *(f"leftover-{number}" for number in range(2, 9))][: len(sizes)]
    listed = sorted(rows(out, "shards.jsonl"), key=lambda row: len(row["shard"]))
    assert run.state == "cancelled"
    assert [(row["shard"], row["samples"]) for row in listed] == [
        (f"shards/{name}.tar", size) for name, size in zip(names, sizes, strict=True)
    ]
    assert len(read_shards(out)) == done
    assert audit(library, run).problems == []


class Stopped(BaseException):
    """Stands for the end of the process at that moment."""


def processor_of(library: Library, run_id: str, **options: Any) -> ChunkProcessor:
    run = Runs(library.engine).get(run_id)
    model = library.get_class("tiny")
    return ChunkProcessor(library, Editor.open(library.materialise_bundle(model)), run, **options)


def test_a_holder_whose_lease_was_lost_publishes_nothing(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    opened = open_run(library, request(make_pictures(2), out, "smile=1", output="webdataset"))
    leases = Leases(library.engine)
    with processor_of(library, opened.run.id) as processor:
        first = leases.claim(opened.run.id, Owner.current())
        assert first is not None
        leases.give_back(first)
        second = leases.claim(opened.run.id, Owner.current())
        assert second is not None
        processor.process(second)
        published = (out / "shards/000000.tar").stat()

        with pytest.raises(LeaseLostError):
            processor.process(first)

    left = (out / "shards/000000.tar").stat()
    assert (left.st_ino, left.st_mtime_ns) == (published.st_ino, published.st_mtime_ns)


def stop_at(patch: pytest.MonkeyPatch, moment: str) -> None:
    """Ends the process, so to speak, at a moment of the packing of a chunk."""
    import editvec.batch.runs.leases
    import editvec.batch.runs.placements
    import editvec.batch.sinks.shards

    def stop(*arguments: object, **options: object) -> None:
        raise Stopped

    def publish_and_stop(
        session: Any, run_id: str, placement: editvec.batch.runs.placements.Placement
    ) -> None:
        placement.publish()
        raise Stopped

    if moment == "before the shard is written":
        patch.setattr(editvec.batch.sinks.shards, "tar_parts", stop)
    elif moment == "before it is published":
        patch.setattr(editvec.batch.runs.leases, "record_placement", stop)
    elif moment == "before SQL knows":
        patch.setattr(editvec.batch.runs.leases, "record_placement", publish_and_stop)
    else:
        patch.setattr(editvec.batch.sinks.shards.ShardPacker, "_clear", stop)
    # an orderly end would give the lease back
    patch.setattr(ChunkProcessor, "_give_back", lambda *arguments: None)


@pytest.mark.parametrize(
    "moment",
    [
        "before the shard is written",
        "before it is published",
        "before SQL knows",
        "before staged files are removed",
    ],
)
def test_a_process_that_ends_while_it_packs_leaves_what_the_next_one_repeats(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(4), out, "smile=0:1:2", output="webdataset", chunk_size=2)
    opened = open_run(library, wanted)
    monkeypatch.setattr(Owner, "is_gone", lambda self: True)
    with monkeypatch.context() as patch, processor_of(library, opened.run.id) as processor:
        stop_at(patch, moment)
        lease = Leases(library.engine).claim(opened.run.id, Owner.current())
        assert lease is not None
        with pytest.raises(Stopped):
            processor.process(lease)

    for path in (out / "shards").glob("*"):
        (record,) = (out / ".editvec").glob(f"*/shards/{path.stem}.json")
        assert json.loads(record.read_bytes())["sha256"] == digest_of_file(path)
    run = do(library, wanted)

    assert run.state == "completed"
    assert len(read_shards(out)) == 8
    assert audit(library, run).problems == []
    assert not list(out.glob(".editvec/*/staged"))


def test_items_of_a_cancelled_run_are_packed_at_its_end(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(12), out, "smile=1", output="webdataset", chunk_size=8)
    opened = open_run(library, wanted)
    runs = Runs(library.engine)

    run = do(
        library, wanted, mini_batch=2, on_progress=lambda _: runs.request_cancel(opened.run.id)
    )

    done = runs.counts(run.id).done
    assert run.state == "cancelled"
    assert 1 <= done < 8
    assert len(read_shards(out)) == done
    assert [shard["shard"] for shard in rows(out, "shards.jsonl")] == ["shards/leftover.tar"]
    assert audit(library, run).problems == []


def test_items_that_were_done_before_their_chunk_was_split_are_packed_once(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(6), out, "smile=0:1:2", output="webdataset", chunk_size=6)
    opened = open_run(library, wanted)
    runs, leases = Runs(library.engine), Leases(library.engine)

    decided = Counter[str]()

    def stop(count: int) -> None:
        decided["items"] += count
        if decided["items"] > 4:  # every recipe of the first mini-batch
            raise Stopped

    with processor_of(library, opened.run.id, mini_batch=2, on_items=stop) as processor:
        lease = leases.claim(opened.run.id, Owner.current())
        assert lease is not None
        with pytest.raises(Stopped):
            processor.process(lease)
    assert 0 < runs.counts(opened.run.id).done < 12
    with monkeypatch.context() as patch:
        patch.setattr(Owner, "is_gone", lambda self: True)
        for _ in range(3):
            assert leases.claim(opened.run.id, Owner.current()) is not None
            leases.reap(opened.run.id)
    assert runs.chunk_states(opened.run.id)["split"] == 1

    run = do(library, wanted)

    assert run.state == "completed"
    assert len(read_shards(out)) == 12
    assert (out / "shards/leftover.tar").exists()
    assert audit(library, run).problems == []


def test_a_shard_of_a_chunk_that_was_split_before_sql_knew_is_removed(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes publish it and end; the chunks of single inputs make shards of their own."""
    out = tmp_path / "out"
    wanted = request(make_pictures(3), out, "smile=0:1:2", output="webdataset", chunk_size=3)
    opened = open_run(library, wanted)
    runs, leases = Runs(library.engine), Leases(library.engine)
    with monkeypatch.context() as patch:
        patch.setattr(Owner, "is_gone", lambda self: True)
        stop_at(patch, "before SQL knows")
        for _ in range(3):
            lease = leases.claim(opened.run.id, Owner.current())
            assert lease is not None
            with processor_of(library, opened.run.id) as processor, pytest.raises(Stopped):
                processor.process(lease)
            assert (out / "shards/000000.tar").exists()
            leases.reap(opened.run.id)
    assert runs.chunk_states(opened.run.id) == {"split": 1, "pending": 3}

    run = do(library, wanted)

    assert run.state == "completed"
    assert len(read_shards(out)) == 6  # none twice
    assert "000000.tar" not in {path.name for path in (out / "shards").iterdir()}
    assert not list(out.glob(".editvec/*/shards/000000.json"))
    assert audit(library, run).problems == []


def test_an_item_that_is_made_again_replaces_the_one_in_its_own_shard(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    """The shard holds as many samples as the chunk has items, before and after."""
    source, out = make_pictures(2), tmp_path / "out"
    run = do(library, request(source, out, "smile=1", output="webdataset", chunk_size=2))
    before = {place: sample["png"] for place, sample in read_shards(out).items()}
    with transaction(library.engine) as session:
        # as if it had failed
        session.execute(delete(RunItem).where(RunItem.position == 1))
        session.execute(update(Chunk).values(state="pending"))
        session.execute(update(Run).values(state="running"))

    run = run_locally(library, Runs(library.engine).get(run.id))

    after = {place: sample["png"] for place, sample in read_shards(out).items()}
    assert run.state == "completed"
    assert len(after) == 2
    assert after == before
    # packed with its chunk, not among what no chunk packed
    assert [shard["shard"] for shard in rows(out, "shards.jsonl")] == ["shards/000000-2.tar"]
    assert [path.name for path in (out / "shards").iterdir()] == ["000000-2.tar"]
    assert audit(library, run).problems == []


def test_a_retry_packs_a_chunk_anew_and_leaves_no_sample_twice(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(4), tmp_path / "out"
    good = (source / "0.png").read_bytes()
    (source / "0.png").write_bytes(b"no picture")
    wanted = request(source, out, "smile=0:1:2", output="webdataset", chunk_size=2)
    run = do(library, wanted)
    before = {place: sample["png"] for place, sample in read_shards(out).items()}
    (source / "0.png").write_bytes(good)
    retry(library.engine, run)

    run = run_locally(library, Runs(library.engine).get(run.id))

    after = read_shards(out)
    assert run.state == "completed"
    assert len(before) == 6
    assert len(after) == 8
    assert {place: after[place]["png"] for place in before} == before
    assert [shard["shard"] for shard in rows(out, "shards.jsonl")] == [
        "shards/000000-2.tar",
        "shards/000001.tar",
    ]
    assert audit(library, run).problems == []


def test_a_retry_that_fails_again_leaves_its_shard_alone(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    (source / "0.png").write_bytes(b"no picture")
    run = do(library, request(source, out, "smile=1", output="webdataset"))
    before = (out / "shards/000000.tar").stat().st_ino
    retry(library.engine, run)

    run = run_locally(library, Runs(library.engine).get(run.id))

    assert (out / "shards/000000.tar").stat().st_ino == before
    assert audit(library, run).problems == []


def test_an_item_of_another_chunk_s_shard_that_is_made_again_is_there_once(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(4), tmp_path / "out"
    wanted = request(source, out, "smile=0:1:2", output="webdataset", chunk_size=2)
    run = do(library, wanted)
    with transaction(library.engine) as session:
        # as if it had failed and its file had been replaced since
        session.execute(delete(RunItem).where(RunItem.position == 1))
        session.execute(
            update(Chunk).where(Chunk.position == 0).values(first_input=0, input_count=1)
        )
        session.add(
            Chunk(
                run_id=run.id, position=9, first_input=1, input_count=1, state="pending", attempts=0
            )
        )
        session.execute(update(Run).values(state="running"))

    run = run_locally(library, Runs(library.engine).get(run.id))

    assert len(read_shards(out)) == 8
    assert [shard["shard"] for shard in rows(out, "shards.jsonl")] == [
        "shards/000000-2.tar",
        "shards/000001.tar",
        "shards/000009.tar",
    ]
    assert audit(library, run).problems == []


def test_a_full_disk_while_a_chunk_is_packed_pauses_the_run(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(4), out, "smile=1", output="webdataset", chunk_size=2)
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        # the name of a first member is what a shard begins with, and no other file
        if bytes(data[:512]).rstrip(b"\0").startswith(b"0-smile"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(DiskFullError, match="no space left"):
            do(library, wanted)
    assert Runs(library.engine).latest()[0].state == "paused"
    assert not list((out / "shards").glob("*"))

    run = do(library, wanted)

    assert run.state == "completed"
    assert len(read_shards(out)) == 4
    assert audit(library, run).problems == []


def test_a_full_disk_while_a_shard_is_published_pauses_the_run(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(4), out, "smile=1", output="webdataset", chunk_size=2)
    real_replace = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == out / "shards/000001.tar":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(DiskFullError, match=r"no space left for .*shards/000001\.tar"):
            do(library, wanted)
    runs = Runs(library.engine)
    (paused,) = runs.latest()
    assert (paused.state, runs.counts(paused.id).done) == ("paused", 2)
    assert [path.name for path in (out / "shards").iterdir()] == ["000000.tar"]

    run = do(library, wanted)

    assert run.state == "completed"
    assert len(read_shards(out)) == 4
    assert audit(library, run).problems == []


def test_a_staged_file_that_was_removed_is_missing_and_the_rest_is_packed(
    library: Library, make_pictures: MakePictures, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    wanted = request(make_pictures(2), out, "smile=1", output="webdataset")
    opened = open_run(library, wanted)

    def lose_a_file(count: int) -> None:
        for path in out.glob(".editvec/*/staged/0-smile*.mask.png"):
            path.unlink()

    with processor_of(library, opened.run.id, on_items=lose_a_file) as processor:
        lease = Leases(library.engine).claim(opened.run.id, Owner.current())
        assert lease is not None
        processor.process(lease)
    run = do(library, wanted)

    assert len(read_shards(out)) == 1
    assert "is missing and cannot be packed" in caplog.text
    problems = audit(library, run).problems
    assert len(problems) == 2
    assert all(line.startswith("missing: .editvec/") for line in problems)
