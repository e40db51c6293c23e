"""Compares what SQL says about a run with what lies on the disk, in constant memory."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from editvec.batch.errors import DiskFullError
from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.card import check_card
from editvec.batch.sinks.ledger import IMAGES, Audit, Entry, Ledger
from editvec.batch.sinks.manifests import METADATA, RESULTS
from editvec.batch.sinks.opening import open_sink
from editvec.batch.sinks.sink import Sink
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import BlobError, CodecError, VectorNotFoundError
from editvec.registry.library.library import Library

__all__ = ["Audit", "audit"]

_EXPECTED, _PRESENT = "files in SQL", "files"


def audit(library: Library, run: RunRecord) -> Audit:
    """Checks that counts add up, that every done item has its files, and that there are no others.

    Args:
        library: where the run is.
        run: any run; of one that goes on, manifests are not compared.

    Raises:
        DiskFullError: the folder for temporary files cannot take the names.
    """
    if not run.writes_images:
        return audit_work(library, run)
    runs = Runs(library.engine)
    found = _counted(runs, run)
    sink = open_sink(run, (), writer_name="audit")
    with Ledger() as ledger:
        ledger.add(_recorded(runs, run, sink))
        ledger.add(Entry(_PRESENT, name) for name in sink.files())
        found.add("missing", ledger.only_in(_EXPECTED, _PRESENT))
        if run.is_finished:
            found.add("not recorded", ledger.only_in(_PRESENT, _EXPECTED))
            _compare_manifest(found, run.plan.output_folder / METADATA, ledger)
            check_card(found, run)
        sink.check(found, ledger, is_finished=run.is_finished)
    return found


def _recorded(runs: Runs, run: RunRecord, sink: Sink) -> Iterator[Entry]:
    """The files of the done items, and their images with their content keys."""
    for item in runs.items(run.id, states=["done"]):
        assert item.file_name is not None
        yield Entry(IMAGES, item.file_name, item.content_key)
        for name in sink.names_of(item):
            yield Entry(_EXPECTED, name)


def _compare_manifest(found: Audit, path: Path, ledger: Ledger) -> None:
    try:
        twice = ledger.add(_listed(path))
    except DiskFullError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as exc:
        found.problems.append(f"{path.name} cannot be read: {exc}")
        return
    if twice:
        found.problems.append(f"{path.name} lists {twice} images twice")
    found.compare(path.name, ledger)


def _listed(path: Path) -> Iterator[Entry]:
    """The images of a manifest, each with its content key."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            row = json.loads(line)
            yield Entry(path.name, row["file_name"], row["content_key"])


def _counted(runs: Runs, run: RunRecord) -> Audit:
    """An audit that knows of counts only."""
    counts = runs.counts(run.id)
    found = Audit(items=counts.finished)
    if run.is_finished and counts.finished != counts.total:
        found.problems.append(f"{counts.finished} items are decided, planned were {counts.total}")
    return found


# --- runs that make no images: what SQL says beside what the library holds ---

_RECORDED = "results in SQL"
_AT_A_TIME = 256


def audit_work(library: Library, run: RunRecord) -> Audit:
    """Checks that counts add up, and that the library holds what every done item names.

    Raises:
        DiskFullError: the folder for temporary files cannot take the names.
    """
    runs = Runs(library.engine)
    found = _counted(runs, run)
    done = runs.items(run.id, states=["done"])
    if run.kind in ("learn", "evaluate"):
        found.add("not in the library", _vectors(library, done))
    else:
        found.add("not in the library", _embeddings(library, run, done))
    if run.is_finished:
        _compare_results(found, runs, run)
    return found


def _vectors(library: Library, items: Iterable[ItemRow]) -> Iterator[str]:
    """The vectors that are not there, or not what they were."""
    for item in items:
        result = item.result or {}
        address = str(result.get("vector"))
        try:
            vector = library.get_vector(address)
            library.delta(vector)
        except VectorNotFoundError:
            yield address
        except (BlobError, CodecError) as exc:
            yield f"{address} ({exc})"
        else:
            if vector.delta_digest != result.get("delta_digest"):
                yield f"{address} (it has another delta)"
            elif lost := _lost_metrics(vector, item):
                yield f"{address} (without {', '.join(lost)})"


def _lost_metrics(vector: EditingVector, item: ItemRow) -> list[str]:
    """The metrics that the item names and the vector does not have."""
    held = {(one.name, one.value) for one in vector.metrics}
    return [name for name, value in (item.metrics or {}).items() if (name, value) not in held]


def _embeddings(library: Library, run: RunRecord, items: Iterable[ItemRow]) -> Iterator[str]:
    """The images whose embeddings were lost, or evicted."""
    iterator = iter(items)
    while some := list(islice(iterator, _AT_A_TIME)):
        wanted: dict[str, list[ItemRow]] = defaultdict(list)
        for item in some:
            wanted[str((item.result or {}).get("settings_key"))].append(item)
        for settings_key, of_key in wanted.items():
            digests = {str((item.result or {}).get("image_digest")) for item in of_key}
            held = library.get_embeddings(
                sorted(digests),
                generator_digest=run.plan.generator_digest,
                settings_key=settings_key,
            )
            for item in of_key:
                if (item.result or {}).get("image_digest") not in held:
                    yield item.input.source


def _compare_results(found: Audit, runs: Runs, run: RunRecord) -> None:
    path = run.plan.output_folder / RESULTS
    with Ledger() as ledger:
        ledger.add(
            Entry(_RECORDED, item.input.output_name, item.content_key)
            for item in runs.items(run.id, states=["done"])
        )
        try:
            ledger.add(_named(path))
        except DiskFullError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as exc:
            found.problems.append(f"{path.name} cannot be read: {exc}")
            return
        found.add(f"not in {RESULTS}", ledger.only_in(_RECORDED, RESULTS))
        found.add(f"only in {RESULTS}", ledger.only_in(RESULTS, _RECORDED))
        differing = ledger.differing(_RECORDED, RESULTS)
        found.add(f"of another content key in {RESULTS}", differing)


def _named(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8", newline="\n") as written:
        for line in written:
            row = json.loads(line)
            yield Entry(RESULTS, row["name"], row["content_key"])
