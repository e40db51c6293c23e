"""Evaluates a vector and stores what was measured with it."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from editvec.batch.evaluation.calibration import Calibration, calibrate
from editvec.batch.evaluation.measure import MeasuredEdits, OnProgress, measure
from editvec.batch.evaluation.probes import unlike_text
from editvec.batch.evaluation.sets import SetNetworks
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.evaluation.table import Table, tabulate
from editvec.batch.runs.plan import canonical_json
from editvec.engine.editor import Editor
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library
from editvec.registry.release import engine_version

EVALUATION_KEY = "evaluation_key"
"""In a metric's settings: digest of all that decides the evaluation."""


class Evaluation(NamedTuple):
    """An evaluated vector.

    Attributes:
        vector: as it is stored now.
        settings: how it was evaluated.
        measured: image by image.
        table: of all images.
        calibration: over scales, where they were asked for.
    """

    vector: EditingVector
    settings: EvaluateSettings
    measured: MeasuredEdits
    table: Table
    calibration: Calibration | None = None

    @property
    def unlike_text(self) -> str:
        """What is said of images that do not look like the class; empty without any."""
        measured = self.measured
        return unlike_text(measured.unlike, len(measured.names), self.vector.class_name)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the images' own rows with them."""
        return {
            "address": self.vector.address,
            "probe_set": self.settings.probe_set(),
            "scale": self.measured.scale,
            "settings": self.settings.to_json(),
            "measures": [one.to_json() for one in self.table.measures],
            "missing": [one._asdict() for one in self.table.missing],
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "skipped": self.measured.skipped,
            "unlike": self.measured.unlike,
            "items": {
                str(one.mode): dict(zip(self.measured.names, one.rows, strict=True))
                for one in self.measured.modes
            },
        }


def evaluate_vector(
    library: Library,
    editor: Editor,
    vector: EditingVector,
    settings: EvaluateSettings,
    *,
    sets: SetNetworks | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Measures a vector; stores nothing.

    Args:
        library: where it is.
        editor: the networks that it was made for.
        vector: of W or W+.
        settings: how.
        sets: networks and reference that several evaluations share; None makes them.
        on_progress: told how many images of how many are done.

    Raises:
        SettingsError, PlanError, RegistryError, EngineError: as `measure` does.
    """
    measured = measure(library, editor, vector, settings, sets=sets, on_progress=on_progress)
    found = Evaluation(vector, settings, measured, tabulate(measured, settings))
    if not settings.scales:
        return found
    calibration = calibrate(measured, settings, default_scale=vector.default_scale)
    if calibration.monotonicity is not None:
        found.table.measures.append(calibration.monotonicity)
    if calibration.usable is None:
        found.table.lack("usable range", calibration.reason)
    return found._replace(calibration=calibration)


def store_evaluation(library: Library, editor: Editor, found: Evaluation) -> Evaluation:
    """Stores what was measured; older values stay in the record, and a former range in the history.

    Raises:
        RegistryError: the library cannot keep it.
    """
    key = evaluation_key(editor, found.vector, found.settings)
    reason = f"evaluated on {found.settings.probe_set()}"
    # the metrics last: they say that the evaluation is whole
    if found.calibration is not None and found.calibration.usable is not None:
        library.set_scale_range(found.vector.address, *found.calibration.usable, reason=reason)
    vector = library.add_metrics(found.vector.address, metrics_of(found, key=key), reason=reason)
    return found._replace(vector=vector)


def metrics_of(found: Evaluation, *, key: str) -> list[NewMetric]:
    """The measures as the library stores them, each with its settings."""
    settings = {
        EVALUATION_KEY: key,
        "scale": found.measured.scale,
        "seed": found.settings.seed,
        "embed": None if found.settings.is_sampled else found.settings.embed,
    }
    probe_set = found.settings.probe_set()
    return [one.to_metric(probe_set, settings) for one in found.table.measures]


def evaluation_key(editor: Editor, vector: EditingVector, settings: EvaluateSettings) -> str:
    """Digest of all that decides an evaluation: equal keys mean the same measurement.

    Raises:
        PlanError: a folder cannot be listed, or holds no image.
    """
    parts = {
        "vector": vector.address,
        "delta": vector.delta_digest,
        "bundle": editor.bundle.bundle_digest,
        "engine": engine_version(),
        "settings": settings.to_json(),
        "probes": settings.files(),
    }
    return hashlib.sha256(canonical_json(parts)).hexdigest()
