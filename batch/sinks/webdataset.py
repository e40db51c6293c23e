"""WebDataset: tar shards of samples, one for each chunk, renamed when they are whole.

Items are staged as files in the run's work folder. When their chunk is decided they are packed into
a tar, which becomes visible in the transaction that records where they are now; then the staged
files go. SQL names the place of each item at every moment, so a process may end anywhere: what SQL
does not name is made again or removed.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from editvec.batch.naming import MASK_SUFFIX
from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.placements import OutputNames, Placement, place
from editvec.batch.runs.store import Runs
from editvec.batch.sinks import manifests
from editvec.batch.sinks.files import FileWriter
from editvec.batch.sinks.imagefolder import encode
from editvec.batch.sinks.ledger import Audit, Ledger
from editvec.batch.sinks.shards import (
    SHARDS,
    ShardPacker,
    base_of,
    member_names,
    next_version,
    record_name,
    sample_key,
    shard_of,
    shard_path,
)
from editvec.batch.sinks.sink import NewOutput
from editvec.registry.labels.label import Label
from editvec.whole_files import digest_of_file

SHARD_MANIFEST = "shards.jsonl"
_LEFTOVER = "leftover"
_LEFTOVERS_PER_SHARD = 1000


class WebDatasetSink:
    """Writes samples of an image, a mask and a JSON record, adjacent in tar files."""

    def __init__(self, run: RunRecord, labels: Sequence[Label], *, writer_name: str) -> None:
        """Makes the sink.

        Args:
            run: the run.
            labels: the label scheme, for the colours of the masks.
            writer_name: different for all who write at the same time.
        """
        self.run = run
        self.labels = labels
        self.folder = run.plan.output_folder
        self.writer = FileWriter(run.work_folder / "tmp", prefix=writer_name)
        self._packer = ShardPacker(run, self.writer, describe=self._describe)
        self._staged = run.work_folder / "staged"

    def write_item(self, output: NewOutput) -> OutputNames:
        """Writes the image of one item, and its mask if any, to where they wait for their chunk.

        Raises:
            DiskFullError: no space is left.
            OSError: a file cannot be written.
        """
        recipe = self.run.plan.recipes[output.recipe_position].name
        key = sample_key(recipe, output.input.output_name)
        staged = self._staged.relative_to(self.folder).as_posix()
        names = OutputNames(
            f"{staged}/{self._image_name(key)}", f"{staged}/{key}.mask{MASK_SUFFIX}"
        )
        image, mask = encode(self.run.plan, self.labels, output)
        if mask is None or names.mask is None:
            names = names._replace(mask=None)
        else:
            self.writer.write(self.folder / names.mask, mask)
        self.writer.write(self.folder / names.image, image)
        return names

    def sync(self) -> None:
        """Returns when everything written so far is on the disk."""
        self.writer.sync()

    def finish_chunk(self, chunk_position: int, rows: Sequence[ItemRow]) -> Placement:
        """Packs a chunk; one that is done again, after a retry, into a shard that replaces its own.

        Items that lie in the shard of another chunk stay there.
        """
        base = f"{chunk_position:06d}"
        mine = [row for row in rows if base_of(shard_of(row) or base) == base]
        known = {shard for row in mine if (shard := shard_of(row))}
        is_staged = any(shard_of(row) is None for row in mine)
        if not is_staged and [self._packer.record(s).get("samples") for s in known] == [len(mine)]:
            return Placement()
        return self._packer.pack(next_version(base, known), mine)

    def row(self, item: ItemRow) -> dict[str, Any]:
        """The line of an item in metadata.jsonl: where the sample lies, and what its JSON says."""
        shard = shard_of(item)
        return {
            "shard": None if shard is None else shard_path(shard),
            "file_name": item.file_name,
            **manifests.mask_of(item),
            **self._describe(item),
        }

    def write_manifests(self, runs: Runs, summary: dict[str, Any]) -> None:
        """Packs what no chunk packed; then writes shards.jsonl and the other manifests.

        Raises:
            DiskFullError: no space is left.
        """
        self._settle(runs)
        manifests.write_manifests(
            self.writer,
            self.run,
            runs,
            row=self.row,
            summary=summary,
            patterns=[f"{SHARDS}/*.tar"],
            others={SHARD_MANIFEST: manifests.lines(self._packer.records().values())},
        )

    def clean(self) -> None:
        """Removes temporary files, and those that were staged."""
        shutil.rmtree(self._staged, ignore_errors=True)
        self.writer.clean()

    def names_of(self, item: ItemRow) -> Sequence[str]:
        """The members of a sample; of a staged one, its two files."""
        assert item.file_name is not None
        names = [name for name in (item.file_name, item.mask_file_name) if name is not None]
        return names if shard_of(item) is None else [*names, record_name(item.file_name)]

    def files(self) -> Iterator[str]:
        """Every member of every shard, and every staged file."""
        for path in (self.folder / SHARDS).glob("*"):
            try:
                yield from (f"{SHARDS}/{path.name}/{name}" for name in member_names(path))
            except OSError:
                yield f"{SHARDS}/{path.name}"
        for path in self._staged.glob("*"):
            yield path.relative_to(self.folder).as_posix()

    def check(self, found: Audit, ledger: Ledger, *, is_finished: bool) -> None:
        """Compares every shard with the digest that was taken when it was packed."""
        if is_finished:
            of, records = SHARD_MANIFEST, self._listed(found)
        else:
            of, records = "the records of shards", list(self._packer.records().values())
        listed = {record["shard"]: record["sha256"] for record in records}
        visible = {f"{SHARDS}/{path.name}" for path in (self.folder / SHARDS).glob("*")}
        found.add(f"not in {of}", sorted(visible - listed.keys()))
        if is_finished:
            found.add(f"only in {of}", sorted(listed.keys() - visible))
        differing = [
            name
            for name in visible & listed.keys()
            if digest_of_file(self.folder / name) != listed[name]
        ]
        found.add(f"of another digest than in {of}", sorted(differing))

    def _listed(self, found: Audit) -> list[dict[str, Any]]:
        try:
            lines = (self.folder / SHARD_MANIFEST).read_bytes().splitlines()
            return [json.loads(line) for line in lines]
        except (OSError, ValueError) as exc:
            found.problems.append(f"{SHARD_MANIFEST} cannot be read: {exc}")
            return []

    # --- at the end of the run ---

    def _settle(self, runs: Runs) -> None:
        """Makes the shards be what SQL says, once every chunk is decided.

        Items are still staged where their chunk was split or cancelled. A shard holds a sample too
        many where another chunk made that item again. A shard that SQL does not name was published
        by somebody who was stopped before SQL knew.
        """
        samples = self._samples(runs)
        if samples.pop(None, 0):
            self._pack_staged(runs)
            samples = self._samples(runs)
        changed = {
            shard: list[ItemRow]()
            for shard, count in samples.items()
            if shard and self._packer.record(shard).get("samples") != count
        }
        if changed:
            for item in runs.items(self.run.id, states=["done"]):
                if (shard := shard_of(item)) in changed:
                    changed[shard].append(item)
            for shard, items in changed.items():
                self._place(runs, next_version(base_of(shard), self._packer.records()), items)
            samples = self._samples(runs)
        for shard in self._packer.records().keys() - samples.keys():
            self._packer.remove(shard)

    def _pack_staged(self, runs: Runs) -> None:
        """Packs the items that no chunk packed into shards of their own."""
        waiting: list[ItemRow] = []
        for item in runs.items(self.run.id, states=["done"]):
            if shard_of(item) is None:
                waiting.append(item)
            if len(waiting) == _LEFTOVERS_PER_SHARD:
                self._place_leftovers(runs, waiting)
                waiting = []
        if waiting:
            self._place_leftovers(runs, waiting)

    def _place_leftovers(self, runs: Runs, rows: Sequence[ItemRow]) -> None:
        self._place(runs, next_version(_LEFTOVER, self._packer.records()), rows)

    def _place(self, runs: Runs, shard: str, rows: Sequence[ItemRow]) -> None:
        place(runs.engine, self.run.id, self._packer.pack(shard, rows))

    def _samples(self, runs: Runs) -> Counter[str | None]:
        """How many done items each shard holds, as SQL has it; None stands for staged ones."""
        return Counter(map(shard_of, runs.items(self.run.id, states=["done"])))

    # --- what is said of a sample ---

    def _describe(self, item: ItemRow) -> dict[str, Any]:
        """What a sample's own JSON says: everything except where the sample lies."""
        recipe, name = self.run.plan.recipes[item.recipe_position].name, item.input.output_name
        source = item.input.source
        if self.run.plan.has_sources:
            # the unedited sample, which is in the same shard
            source = self._image_name(sample_key(SOURCE_RECIPE, name))
        row = manifests.manifest_row(self.run.plan, item, source=source)
        manifests.add_rare_keys(self.run.plan, item, row)
        for name_of in ("file_name", "mask_file_name"):
            row.pop(name_of, None)
        return {"key": sample_key(recipe, name), "name": name, **row}

    def _image_name(self, key: str) -> str:
        return f"{key}{self.run.plan.settings.parsed_format.suffix}"
