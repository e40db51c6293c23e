"""One chunk: decode -> embed -> edit -> refine -> composite -> gate -> encode.

The same function for a run in this process and for a worker of a queue. Decoding and encoding run
in threads beside the computation: the next mini-batch is decoded, and the last one encoded, while
this one is computed.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from batch.collecting import Collected
from batch.content_key import content_key
from batch.embeddings import EmbeddingCache
from batch.entities import ItemRow, RunRecord
from batch.errors import (
    BatchError,
    DiskFullError,
    LeaseLostError,
    RunCancelledError,
    WorkerError,
)
from batch.gate import rejection
from batch.heartbeat import Heartbeat
from batch.isolation import isolated
from batch.leases import ItemResult, Lease, Leases
from batch.plan import PlannedInput, RunPlan
from batch.reading import Decoded, decode
from batch.recipe import Recipe
from batch.runs import Runs
from batch.settings import HEARTBEAT_SECONDS, MINI_BATCH
from batch.sinks.imagefolder import ImageFolderSink, Mask, Pixels, image_name, mask_name
from batch.variants import Prepared, Variant, VariantMaker
from engine.editor import Editor
from registry.entities import Embedding
from registry.errors import RegistryError
from registry.store import Library

_LOG = logging.getLogger(__name__)
_WAITING_WRITES = 64


class ChunkProcessor:
    """What a process holds to work on one run: the loaded class, the vectors, its threads."""

    def __init__(
        self,
        library: Library,
        editor: Editor,
        run: RunRecord,
        *,
        mini_batch: int = MINI_BATCH,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        on_items: Callable[[int], None] | None = None,
    ) -> None:
        """Loads the vectors of the run and starts the threads.

        Args:
            library: where the vectors, embeddings and runs are.
            editor: the class of the run, loaded.
            run: the run.
            mini_batch: inputs that are computed at a time.
            heartbeat_seconds: between two beats of a lease.
            on_items: called with the number of items that were just decided.

        Raises:
            WorkerError: the loaded class is not the run's, or cannot make masks.
        """
        if editor.bundle.generator_digest != run.plan.generator_digest:
            raise WorkerError(
                f"class: run {run.id[:8]} needs {run.plan.class_address} "
                f"({run.plan.generator_digest[:12]}), loaded is another generator"
            )
        if editor.segmentation is None:
            raise WorkerError(
                f"class: {run.plan.class_address} has no segmentation branch for masks"
            )
        self.run = run
        self.runs = Runs(library.engine)
        self.leases = Leases(library.engine)
        self.maker = VariantMaker(editor, run.plan, load_deltas(library, run.plan))
        self.cache = EmbeddingCache(library, run.plan)
        self.labels = library.get_class(run.plan.class_address).labels
        self.resolution = editor.bundle.resolution
        self.mini_batch = mini_batch
        self.on_items = on_items or (lambda count: None)
        self._heartbeat_seconds = heartbeat_seconds
        threads = max(2, min(8, os.cpu_count() or 1))
        self.readers = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self.writers = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.readers.shutdown(cancel_futures=True)
        self.writers.shutdown(cancel_futures=True)

    def process(self, lease: Lease) -> None:
        """Works through a chunk and closes its lease.

        Whatever ends it early, the items that are finished are kept and the lease is given back.

        Raises:
            RunCancelledError: the run was cancelled; the lease was given back.
            DiskFullError: the run was paused; the lease was given back.
            LeaseLostError: somebody else holds the chunk now; nothing was recorded.
            DeviceLostError: the process must end; the lease was given back.
        """
        sink = ImageFolderSink(self.run, self.labels, writer_name=lease.token)
        work = _ChunkWork(self, lease, sink)
        try:
            with Heartbeat(
                self.leases,
                lease,
                take_finished=work.collected.take,
                put_back=work.collected.put_back,
                interval=self._heartbeat_seconds,
            ) as heartbeat:
                work.compute(heartbeat)
            work.finish()
        except LeaseLostError:
            raise
        except BaseException as exc:
            self._give_back(lease, work, exc)
            raise

    def _give_back(self, lease: Lease, work: _ChunkWork, error: BaseException) -> None:
        """Ends the lease in order; a full disk pauses the run."""
        try:
            work.drop_waiting()
            items = [] if isinstance(error, DiskFullError) else work.collected.take()
            self.leases.give_back(lease, items)
            if isinstance(error, DiskFullError):
                self.runs.pause(lease.run_id, str(error))
        except (RegistryError, BatchError, OSError) as exc:
            # the first error is the one to tell; the lease ends by itself
            _LOG.warning("chunk %s: the lease was not given back: %s", lease.chunk_position, exc)


class _ChunkWork:
    """One chunk on its way through the pipeline."""

    def __init__(self, processor: ChunkProcessor, lease: Lease, sink: ImageFolderSink) -> None:
        self.processor = processor
        self.plan = processor.run.plan
        self.lease = lease
        self.sink = sink
        self.collected = Collected(sink.writer.sync)
        self._digests: dict[int, str] = {}
        self._inputs: dict[int, PlannedInput] = {}
        self._decided: set[tuple[int, int]] = set()
        self._waiting: deque[Future[ItemResult]] = deque()

    def compute(self, heartbeat: Heartbeat) -> None:
        """Decides every item of the chunk that is not recorded yet."""
        runs, lease = self.processor.runs, self.lease
        span = (lease.run_id, lease.first_input, lease.input_count)
        self._inputs = {one.position: one for one in runs.inputs(*span)}
        self._decided = runs.decided_items(*span)
        todo = [one for one in self._inputs.values() if self._open_recipes(one)]
        size = self.processor.mini_batch
        batches = [todo[start : start + size] for start in range(0, len(todo), size)]
        reading = [self._read(batch) for batch in batches[:1]]
        for number in range(len(batches)):
            if heartbeat.is_lost:
                raise LeaseLostError(f"chunk {lease.chunk_position}: the lease was lost")
            if runs.is_cancel_requested(lease.run_id):
                raise RunCancelledError(f"run {lease.run_id[:8]} was cancelled")
            decoded = [future.result() for future in reading.pop()]
            reading = [self._read(batch) for batch in batches[number + 1 : number + 2]]
            self._edit(decoded)
        self._collect(keep=0)

    def finish(self) -> None:
        """Writes the manifest part and closes the lease."""
        lease = self.lease
        items = self.collected.take()
        recorded = self.processor.runs.items(
            lease.run_id, states=["done"], first=lease.first_input, count=lease.input_count
        )
        rows = [*recorded, *(self._row(item) for item in items if item.state == "done")]
        self.sink.write_part(lease.chunk_position, rows)
        self.processor.leases.finish(lease, items, self._digests)

    def drop_waiting(self) -> None:
        """Cancels what has not begun to be written, and waits for what has."""
        for future in self._waiting:
            future.cancel()
        written = []
        for future in self._waiting:
            with suppress(CancelledError, DiskFullError):
                written.append(future.result())
        self._waiting.clear()
        self.collected.add(written)

    # --- the steps of a mini-batch ---

    def _read(self, batch: Sequence[PlannedInput]) -> list[Future[Decoded]]:
        submit = self.processor.readers.submit
        size, labels = self.processor.resolution, self.processor.labels
        return [submit(decode, self.plan, one, resolution=size, labels=labels) for one in batch]

    def _edit(self, decoded: Sequence[Decoded]) -> None:
        """Makes and writes every variant of a mini-batch."""
        good = []
        for one in decoded:
            if one.digest is not None:
                self._digests[one.input.position] = one.digest
            if one.reason is None:
                good.append(one)
            else:
                self._fail([one], self.plan.recipes, one.reason)
        if not good:
            return
        known = self.processor.cache.find(good)
        prepare = partial(self._prepare, known=known)
        for outcome in isolated(good, prepare):
            if outcome.result is None:
                self._fail(outcome.inputs, self.plan.recipes, outcome.reason)
                continue
            self._remember(outcome.inputs, outcome.result, known)
            for number, recipe in enumerate(self.plan.recipes):
                self._make(outcome.inputs, outcome.result, number, recipe)

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

    def _make(
        self, inputs: Sequence[Decoded], prepared: Prepared, number: int, recipe: Recipe
    ) -> None:
        """Makes one recipe of a mini-batch and hands its files to the writers."""
        rows = [
            row
            for row, one in enumerate(inputs)
            if (one.input.position, number) not in self._decided
        ]
        if not rows:
            return
        maker = self.processor.maker
        for outcome in isolated(rows, lambda some: maker.make(prepared.select(some), recipe)):
            chosen = [inputs[row] for row in outcome.inputs]
            if outcome.result is None:
                self._fail(chosen, [recipe], outcome.reason)
            else:
                self._write(chosen, outcome.result, number)
        self._collect(keep=_WAITING_WRITES)

    def _write(self, inputs: Sequence[Decoded], variant: Variant, number: int) -> None:
        """Hands what passes the gate to the writers, and records what does not."""
        rejected = []
        for row, (one, reason) in enumerate(zip(inputs, rejection(variant.images), strict=True)):
            item = ItemResult(
                position=one.input.position,
                recipe_position=number,
                state="done" if reason is None else "rejected",
                reason=reason,
                content_key=content_key(self.plan, self.plan.recipes[number], one),
                metrics=variant.metrics[row],
            )
            if reason is None:
                write = self.processor.writers.submit
                self._waiting.append(
                    write(self._encode, item, variant.pixels[row], variant.masks[row])
                )
            else:
                rejected.append(item)
        self._decide(rejected)

    def _encode(self, item: ItemResult, pixels: Pixels, mask: Mask) -> ItemResult:
        """Encodes and writes one item; in a thread."""
        name = self._inputs[item.position].output_name
        image = image_name(self.plan, item.recipe_position, name)
        mask_file = mask_name(self.plan, item.recipe_position, name)
        try:
            self.sink.write_item(image, mask_file, pixels, mask)
        except DiskFullError:
            raise
        except OSError as exc:
            return replace(item, state="failed", reason=f"cannot be written: {exc.strerror or exc}")
        return replace(item, file_name=image, mask_file_name=mask_file)

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


def load_deltas(library: Library, plan: RunPlan) -> dict[str, npt.NDArray[np.float32]]:
    """The deltas of all vectors of a plan, by address.

    Raises:
        WorkerError: a vector is not the one that was planned with.
    """
    deltas = {}
    for edit in (edit for recipe in plan.recipes for edit in recipe.edits):
        address = edit.vector.address
        if address in deltas:
            continue
        vector = library.get_vector(address)
        if vector.delta_digest != edit.vector.delta_digest:
            raise WorkerError(f"edit: {address} is not the vector that the run was planned with")
        deltas[address] = library.delta(vector)
    return deltas
