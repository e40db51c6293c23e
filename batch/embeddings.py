"""The cache of embeddings across runs, kept where embedding costs more than a look-up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from batch.plan import RunPlan, canonical_json
from batch.reading import Decoded
from batch.settings import engine_version
from registry.entities import Embedding
from registry.store import Library


class EmbeddingCache:
    """Embeddings of one run's settings; the encoder alone is faster than any cache."""

    def __init__(self, library: Library, plan: RunPlan) -> None:
        self._library = library
        self._bundle_digest = plan.bundle_digest
        wanted = plan.settings.embedding
        self.is_used = plan.kind == "batch" and wanted.num_steps > 0
        key = [str(wanted), wanted.space.value, engine_version()]
        self._settings_key = hashlib.sha256(canonical_json(key)).hexdigest()

    def find(self, inputs: Sequence[Decoded]) -> dict[int, Embedding]:
        """The known embeddings of inputs, by their positions in the run."""
        if not self.is_used:
            return {}
        digests = {one.input.position: pixel_digest(one) for one in inputs}
        found = self._library.get_embeddings(
            list(digests.values()),
            bundle_digest=self._bundle_digest,
            settings_key=self._settings_key,
        )
        return {position: found[d] for position, d in digests.items() if d in found}

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
            bundle_digest=self._bundle_digest,
            settings_key=self._settings_key,
            ws=ws,
            perceptual_name=perceptual,
            perceptual_value=None if perceptual is None else metrics[perceptual],
            psnr=metrics["psnr"] or 0.0,
            num_steps=int(metrics["num_steps"] or 0),
        )


def pixel_digest(one: Decoded) -> str:
    """Digest of the decoded and fitted pixels: what an embedding depends on."""
    assert one.pixels is not None
    shape = "x".join(str(length) for length in one.pixels.shape)
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(one.pixels).tobytes()).hexdigest()
