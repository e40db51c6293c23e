"""The cache of embeddings across runs, kept where embedding costs more than a look-up."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from editvec.batch.editing.reading import Decoded
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.plan import canonical_json
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import Embedding
from editvec.registry.library.library import Library
from editvec.registry.release import engine_version


class EmbeddingCache:
    """Embeddings of one run's settings; the encoder alone is faster than any cache.

    Attributes:
        is_used: False where nothing is kept.
        settings_key: digest of everything but the image that decides an embedding.
    """

    def __init__(
        self, library: Library, generator_digest: str, settings: RunSettings, networks: str
    ) -> None:
        """Makes the cache of a run.

        Args:
            library: where the embeddings are.
            generator_digest: of the class.
            settings: of the run.
            networks: what `networks_digest` says of the loaded class.
        """
        self._library = library
        self._generator_digest = generator_digest
        wanted = settings.embedding
        self.is_used = not settings.count and wanted.num_steps > 0
        self.settings_key = _digest([str(wanted), wanted.space.value, engine_version(), networks])

    def find(self, inputs: Sequence[Decoded]) -> dict[int, Embedding]:
        """The known embeddings of inputs, by their positions in the run."""
        if not self.is_used:
            return {}
        digests = {one.input.position: pixel_digest(one) for one in inputs}
        found = self._held(digests.values())
        return {position: found[d] for position, d in digests.items() if d in found}

    def key_of(self, image_digest: str) -> str:
        """The content key of one embedding: digest of all that decides it."""
        return _digest([image_digest, self._generator_digest, self.settings_key])

    def _held(self, digests: Collection[str]) -> dict[str, Embedding]:
        return self._library.get_embeddings(
            list(digests),
            generator_digest=self._generator_digest,
            settings_key=self.settings_key,
        )

    def store(
        self,
        inputs: Sequence[Decoded],
        ws: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        metrics: Sequence[dict[str, float | None]],
    ) -> None:
        """Keeps new embeddings.

        Args:
            inputs: the inputs.
            ws: [N, num_ws, w_dim].
            metrics: of each reconstruction: psnr, and a perceptual distance by its name.
        """
        if not self.is_used:
            return
        self._library.put_embeddings(
            [self._embedding(*row) for row in zip(inputs, ws, metrics, strict=True)]
        )

    def _embedding(
        self,
        one: Decoded,
        ws: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        metrics: dict[str, float | None],
    ) -> Embedding:
        perceptual = next((name for name in metrics if name not in ("psnr", "num_steps")), None)
        return Embedding(
            image_digest=pixel_digest(one),
            generator_digest=self._generator_digest,
            settings_key=self.settings_key,
            ws=ws,
            perceptual_name=perceptual,
            perceptual_value=None if perceptual is None else metrics[perceptual],
            psnr=metrics["psnr"] or 0.0,
            num_steps=int(metrics["num_steps"] or 0),
        )


def networks_digest(editor: Editor) -> str:
    """What an embedding depends on beside the generator's weights and the settings.

    That is the encoder and the perceptual network: a class whose segmentation branch is trained
    anew keeps its embeddings.
    """
    bundle, perceptual = editor.bundle, editor.perceptual
    used = [
        [name, bundle.files[entry.file].sha256, entry.config.to_json()]
        for name, entry in sorted(bundle.networks.items())
        if name in ("encoder", "perceptual")
    ]
    # published weights take the place of the bundle's own
    measured_by = None if perceptual is None else perceptual.name
    return _digest([bundle.generator_config.to_json(), used, measured_by])


def pixel_digest(one: Decoded) -> str:
    """Digest of the decoded and fitted pixels: what an embedding depends on."""
    assert one.pixels is not None
    shape = "x".join(str(length) for length in one.pixels.shape)
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(one.pixels).tobytes()).hexdigest()


def _digest(values: object) -> str:
    return hashlib.sha256(canonical_json(values)).hexdigest()
