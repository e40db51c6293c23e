"""Runs of kind `embed`: images become latents in the library, before any run needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from editvec.batch.chunks.isolation import isolated
from editvec.batch.chunks.library import Worked
from editvec.batch.chunks.processor import require_generator
from editvec.batch.editing.embeddings import EmbeddingCache, networks_digest, pixel_digest
from editvec.batch.editing.mini_batches import Latents
from editvec.batch.editing.reading import Decoded, decode
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.recipes.recipe import EditPlan
from editvec.batch.recipes.settings import MINI_BATCH
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import ItemResult
from editvec.batch.runs.plan import PlannedInput
from editvec.engine.editor import Editor
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library


class EmbedWork:
    """Embeds images and keeps the embeddings; those that are known are not computed."""

    most_at_a_time = MINI_BATCH

    def __init__(self, library: Library, editor: Editor, run: RunRecord) -> None:
        """Makes the work of a run.

        Raises:
            WorkerError: the loaded class is not the run's.
        """
        require_generator(editor, run)
        self._plan = run.plan
        self._maker = VariantMaker(editor, EditPlan(recipes=(), settings=run.plan.settings), {}, {})
        self._cache = EmbeddingCache(
            library, run.plan.generator_digest, run.plan.settings, networks_digest(editor)
        )
        self._scheme = scheme_of_class(library, library.get_class(run.plan.class_address))
        self._resolution = editor.bundle.resolution

    def do(self, inputs: Sequence[PlannedInput], require_lease: Callable[[], None]) -> Worked:
        """Embeds some images. An embedding is the same whoever adds it: no lease is asked for."""
        worked = Worked()
        good = []
        for planned in inputs:
            one = decode(self._plan, planned, resolution=self._resolution, scheme=self._scheme)
            if one.digest is not None:
                worked.digests[planned.position] = one.digest
            if one.reason is None:
                good.append(one)
            else:
                worked.items.append(_failed(one, one.reason))
        known = self._cache.find(good)

        def embed(some: Sequence[Decoded]) -> Latents:
            return self._maker.latents_of(some, self._maker.images_of(some), known)

        for outcome in isolated(good, embed) if good else ():
            if outcome.result is None:
                worked.items += [_failed(one, outcome.reason) for one in outcome.inputs]
                continue
            rows = [
                row for row, one in enumerate(outcome.inputs) if one.input.position not in known
            ]
            self._keep(outcome.inputs, outcome.result, rows)
            measured = outcome.result.reconstruction
            worked.items += [
                self._item(one, row) for one, row in zip(outcome.inputs, measured, strict=True)
            ]
        return worked

    def _keep(self, inputs: Sequence[Decoded], latents: Latents, rows: Sequence[int]) -> None:
        if rows:
            self._cache.store(
                [inputs[row] for row in rows],
                latents.ws[list(rows)].float().cpu().numpy(),
                [latents.reconstruction[row] for row in rows],
            )

    def _item(self, one: Decoded, measured: dict[str, float | None]) -> ItemResult:
        image_digest = pixel_digest(one)
        return ItemResult(
            position=one.input.position,
            recipe_position=0,
            state="done",
            content_key=self._cache.key_of(image_digest),
            metrics={"reconstruction": measured},
            result={"image_digest": image_digest, "settings_key": self._cache.settings_key},
        )


def _failed(one: Decoded, reason: str) -> ItemResult:
    return ItemResult(position=one.input.position, recipe_position=0, state="failed", reason=reason)
