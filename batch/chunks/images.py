"""One chunk: decode -> embed -> edit -> refine -> composite -> gate -> encode.

The same function for a run in this process and for a worker of a queue. Decoding and encoding run
in threads beside the computation: the next mini-batch is decoded, and the last one encoded, while
this one is computed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from editvec.batch.chunks.collected import Collected
from editvec.batch.chunks.isolation import isolated
from editvec.batch.chunks.processor import ChunkWork, Processor, require_generator
from editvec.batch.editing.content_key import content_key
from editvec.batch.editing.deltas import load_brushes, load_deltas
from editvec.batch.editing.embeddings import EmbeddingCache, networks_digest
from editvec.batch.editing.gate import rejection
from editvec.batch.editing.mini_batches import Prepared, Variant
from editvec.batch.editing.original_size import Picture, Pictures, source_facts
from editvec.batch.editing.pixel_budget import PixelBudget
from editvec.batch.editing.reading import Decoded, decode
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.errors import (
    DeviceLostError,
    DiskFullError,
    MaskPairingError,
    PlanError,
    WorkerError,
)
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.leases import ItemResult, Lease
from editvec.batch.runs.placements import Placement
from editvec.batch.runs.plan import PlannedInput
from editvec.batch.runs.requirements import what_needs_masks
from editvec.batch.sinks.opening import open_sink
from editvec.batch.sinks.sink import NewOutput, Sink
from editvec.engine.editor import Editor
from editvec.engine.errors import ImageError
from editvec.registry.entities.vectors import Embedding
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library


class ChunkProcessor(Processor):
    """What a process holds to work on one run: the loaded class, the vectors, its threads."""

    def __init__(
        self,
        library: Library,
        editor: Editor,
        run: RunRecord,
        **options: Any,
    ) -> None:
        """Loads the vectors of the run and starts the threads.

        Args:
            library: where the vectors, embeddings and runs are.
            editor: the class of the run, loaded.
            run: the run.
            options: those of `Processor`, the resolution apart.

        Raises:
            WorkerError: the loaded class is not the run's, or cannot make masks.
        """
        require_generator(editor, run)
        if editor.segmentation is None and (needing := what_needs_masks(run.plan)):
            raise WorkerError(
                f"class: {run.plan.class_address} has no segmentation branch, which {needing} needs"
            )
        self.resolution = editor.bundle.resolution
        super().__init__(library, run, resolution=self.resolution, **options)
        model = library.get_class(run.plan.class_address)
        deltas, brushes = load_deltas(library, run.plan), load_brushes(library, run.plan, model)
        self.maker = VariantMaker(editor, run.plan, deltas, brushes)
        self.cache = EmbeddingCache(
            library, run.plan.generator_digest, run.plan.settings, networks_digest(editor)
        )
        self.scheme = scheme_of_class(library, model)
        self.budget = PixelBudget()
        self.pictures = Pictures(
            run.plan, self.scheme, resolution=self.resolution, budget=self.budget
        )
        threads = max(2, min(8, os.cpu_count() or 1))
        self.readers = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self.writers = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    def __exit__(self, *error: object) -> None:
        self.readers.shutdown(cancel_futures=True)
        self.writers.shutdown(cancel_futures=True)

    def open_chunk(self, lease: Lease) -> ChunkWork:
        """See `Processor.open_chunk`."""
        sink = open_sink(self.run, self.scheme.labels, writer_name=lease.token)
        return _ImageChunk(self, lease, sink)


class _ImageChunk(ChunkWork):
    """One chunk on its way through the pipeline."""

    reads_ahead = True

    def __init__(self, processor: ChunkProcessor, lease: Lease, sink: Sink) -> None:
        super().__init__(lease, Collected(sink.sync))
        self.processor = processor
        self.plan = processor.run.plan
        self.sink = sink
        self._done: list[ItemResult] = []
        self._inputs: dict[int, PlannedInput] = {}
        self._decided: set[tuple[int, int]] = set()
        self._waiting: deque[Future[ItemResult]] = deque()
        self._placement: Placement | None = None

    def open(
        self, inputs: Iterable[PlannedInput], decided: set[tuple[int, int]]
    ) -> list[PlannedInput]:
        """See `ChunkWork.open`."""
        self._inputs = {one.position: one for one in inputs}
        self._decided = decided
        return [one for one in self._inputs.values() if self._open_recipes(one)]

    def read(self, batch: Sequence[PlannedInput]) -> Callable[[], list[Decoded]]:
        """Has a mini-batch decoded, in threads."""
        decoding = partial(
            decode,
            self.plan,
            resolution=self.processor.resolution,
            scheme=self.processor.scheme,
            budget=self.processor.budget,
        )
        reading = [self.processor.readers.submit(decoding, one) for one in batch]
        return lambda: [future.result() for future in reading]

    def settle(self) -> None:
        """See `ChunkWork.settle`."""
        self._collect(keep=0)

    def pack(self) -> None:
        """Has the sink do what a decided chunk needs, over items recorded before and new ones."""
        lease = self.lease
        recorded = self.processor.runs.items(
            lease.run_id, states=["done"], first=lease.first_input, count=lease.input_count
        )
        rows = {(row.input.position, row.recipe_position): row for row in recorded}
        rows |= {(item.position, item.recipe_position): self._row(item) for item in self._done}
        ordered = [rows[key] for key in sorted(rows)]
        self._placement = self.sink.finish_chunk(lease.chunk_position, ordered)

    def finish(self) -> None:
        """Closes the lease; what was packed becomes visible with it."""
        assert self._placement is not None
        self.processor.leases.finish(
            self.lease, self.collected.take(), self.digests, placement=self._placement
        )
        self._placement.clear()

    def take_finished(self, error: BaseException) -> list[ItemResult]:
        """See `ChunkWork.take_finished`."""
        # what is computed is worth its file, unless somebody waits for the end of this
        self._end_writing(drop=not isinstance(error, DeviceLostError))
        # nothing can be said of files that a full disk may not have taken
        return [] if isinstance(error, DiskFullError) else self.collected.take()

    def _end_writing(self, *, drop: bool) -> None:
        """Waits for what is being written; what has not begun to be is written too, or dropped."""
        for future in self._waiting:
            if drop:
                future.cancel()
        written = []
        for future in self._waiting:
            with suppress(CancelledError, DiskFullError):
                written.append(future.result())
        self._waiting.clear()
        self.collected.add(written)

    # --- the steps of a mini-batch ---

    def work_on(self, ready: Sequence[Decoded]) -> None:
        """Makes and writes every variant of a mini-batch."""
        good = []
        for one in ready:
            if one.digest is not None:
                self.digests[one.input.position] = one.digest
            if one.reason is None:
                good.append(one)
            else:
                self._fail([one], self.plan.recipes, one.reason)
        if not good:
            return
        known = self.processor.cache.find(good)
        prepare = partial(self._prepare, known=known)
        did_not_fit = self.processor.pace.did_not_fit
        for outcome in isolated(good, prepare, on_out_of_memory=did_not_fit):
            if outcome.result is None:
                self._fail(outcome.inputs, self.plan.recipes, outcome.reason)
                continue
            self._remember(outcome.inputs, outcome.result, known)
            for number in range(len(self.plan.recipes)):
                self._make(outcome.inputs, outcome.result, number)

    def _prepare(self, inputs: Sequence[Decoded], *, known: Mapping[int, Embedding]) -> Prepared:
        maker = self.processor.maker
        if self.plan.kind == "generate":
            return maker.prepare(inputs, None, maker.sample(inputs))
        images = maker.images_of(inputs)
        return maker.prepare(inputs, images, maker.latents_of(inputs, images, known))

    def _remember(
        self, inputs: Sequence[Decoded], prepared: Prepared, known: Mapping[int, Embedding]
    ) -> None:
        """Gives new embeddings to the cache."""
        new = [row for row, one in enumerate(inputs) if one.input.position not in known]
        if new and self.processor.cache.is_used:
            self.processor.cache.store(
                [inputs[row] for row in new],
                prepared.ws[new].float().cpu().numpy(),
                [prepared.reconstruction[row] for row in new],
            )

    def _make(self, inputs: Sequence[Decoded], prepared: Prepared, number: int) -> None:
        """Makes one recipe of a mini-batch and hands its files to the writers."""
        rows = [
            row
            for row, one in enumerate(inputs)
            if (one.input.position, number) not in self._decided
        ]
        if not rows:
            return
        maker, recipe = self.processor.maker, self.plan.recipes[number]

        def make(some: Sequence[int]) -> Variant:
            return maker.make(prepared.select(some), number)

        did_not_fit = self.processor.pace.did_not_fit
        for outcome in isolated(rows, make, on_out_of_memory=did_not_fit):
            chosen = [inputs[row] for row in outcome.inputs]
            if outcome.result is None:
                self._fail(chosen, [recipe], outcome.reason)
            else:
                self._write(chosen, outcome.result, number)
        self._collect(keep=self.processor.pictures.most_waiting)

    def _write(self, inputs: Sequence[Decoded], variant: Variant, number: int) -> None:
        """Hands what passes the gate to the writers, and records what does not."""
        rejected = []
        reasons = rejection(variant.images, variant.metrics, self.plan.settings)
        for row, (one, reason) in enumerate(zip(inputs, reasons, strict=True)):
            item = ItemResult(
                position=one.input.position,
                recipe_position=number,
                state="done" if reason is None else "rejected",
                reason=reason,
                content_key=content_key(self.plan, number, one),
                metrics=variant.metrics[row] | source_facts(self.plan, one),
            )
            if reason is None:
                write = self.processor.writers.submit
                picture = self.processor.pictures.of(one, variant, row)
                self._waiting.append(write(self._encode, item, picture, one.profile))
            else:
                rejected.append(item)
        self._decide(rejected)

    def _encode(self, item: ItemResult, picture: Picture, profile: bytes | None) -> ItemResult:
        """Encodes and writes one item; in a thread."""
        assert item.content_key is not None
        try:
            with picture as (pixels, mask):
                output = NewOutput(
                    input=self._inputs[item.position],
                    recipe_position=item.recipe_position,
                    pixels=pixels,
                    mask=mask,
                    source_digest=self.digests[item.position],
                    content_key=item.content_key,
                    profile=profile,
                )
                names = self.sink.write_item(output)
        except DiskFullError:
            raise
        except (ImageError, PlanError, MaskPairingError) as exc:
            return replace(item, state="failed", reason=str(exc))
        except OSError as exc:
            return replace(item, state="failed", reason=f"cannot be written: {exc.strerror or exc}")
        return replace(item, file_name=names.image, mask_file_name=names.mask)

    def _collect(self, *, keep: int) -> None:
        """Takes the results of the writers until at most `keep` are outstanding."""
        written = []
        while len(self._waiting) > keep or (self._waiting and self._waiting[0].done()):
            written.append(self._waiting.popleft().result())
        self._decide(written)

    def _fail(self, inputs: Sequence[Decoded], recipes: Sequence[Recipe], reason: str) -> None:
        numbers = [self.plan.recipes.index(recipe) for recipe in recipes]
        self._decide(
            [
                ItemResult(
                    position=one.input.position,
                    recipe_position=number,
                    state="failed",
                    reason=reason,
                )
                for one in inputs
                for number in numbers
                if (one.input.position, number) not in self._decided
            ]
        )

    def _decide(self, items: Sequence[ItemResult]) -> None:
        if items:
            self.collected.add(items)
            self._done += [item for item in items if item.state == "done"]
            self.processor.on_items(len(items))

    def _open_recipes(self, one: PlannedInput) -> bool:
        """True if a recipe of this input is not decided yet."""
        numbers = range(len(self.plan.recipes))
        return any((one.position, number) not in self._decided for number in numbers)

    def _row(self, item: ItemResult) -> ItemRow:
        return ItemRow(
            input=self._inputs[item.position],
            recipe_position=item.recipe_position,
            state=item.state,
            reason=item.reason,
            content_key=item.content_key,
            file_name=item.file_name,
            mask_file_name=item.mask_file_name,
            metrics=item.metrics,
        )
