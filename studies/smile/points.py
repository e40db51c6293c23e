"""The points of the smile benchmark: each is measured once, and kept in a file."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch

from editvec.avatars.default import BUNDLE_FOLDER, CLASS_NAME
from editvec.batch.evaluation.evaluate import Evaluation, evaluate_vector, evaluation_key
from editvec.batch.evaluation.measure import Row, measure
from editvec.batch.evaluation.sets import MIN_IMAGES, SetNetworks, distances
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.engine.bundle.bundle import load_bundle
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.files import write_atomically
from editvec.registry.library.library import Library
from studies.smile.faces import Faces
from studies.smile.report import OURS

ATTRIBUTE = "smiling"
_SHOWN = 6

Point = dict[str, Any]


class Place(NamedTuple):
    """A direction at one scale: the share of all faces that smile, and their mean identity."""

    scale: float
    accuracy: float
    identity: float


class Bench:
    """Measures points, and keeps each in a file.

    A point of `whole` takes all faces and no masks, so no leakage; one of `few` takes some, and
    measures everything. At scale 0 all directions are ours.
    """

    def __init__(self, out: Path, library: Library, faces: Faces, seed: int) -> None:
        self.out, self.library, self.faces, self.seed = out, library, faces, seed
        self._ours = library.get_vector(f"{CLASS_NAME}/smile")
        self._folder = out / "points"
        self._folder.mkdir(parents=True, exist_ok=True)
        loaded = load_bundle(BUNDLE_FOLDER)
        self.editor = Editor(loaded)
        self._without_masks = Editor(loaded._replace(segmentation=None))
        told = EvaluateSettings(reference=faces.held_out, seed=seed)
        self._sets = SetNetworks(self.editor, told)
        self._smiling = SetNetworks(self.editor, replace(told, reference=faces.smiling))

    def whole(self, name: str, vector: EditingVector, scale: float) -> Point:
        """All faces, edited in mode vector."""
        if scale == 0:
            name, vector = OURS, self._ours
        settings = self._settings(probe=self.faces.neutral, scale=scale)
        return self._kept(f"whole {name} {scale:g}", self._without_masks, vector, settings)

    def few(self, name: str, vector: EditingVector, scale: float, mode: str = "vector") -> Point:
        """Some faces, with masks and leakage."""
        settings = self._settings(
            probe=self.faces.few, masks=self.faces.wanted, scale=scale, modes=(mode,)
        )
        return self._kept(f"few {name} {mode} {scale:g}", self.editor, vector, settings)

    def sweep(self, name: str, vector: EditingVector, scales: Sequence[float]) -> list[Place]:
        """Accuracy and identity of all faces at some scales, and nothing else."""
        settings = self._settings(probe=self.faces.neutral, scale=scales[0], scales=tuple(scales))
        editor = self._without_masks
        key, path = self._find(
            f"sweep {name} {scales[0]:g} to {scales[-1]:g}", editor, vector, settings
        )
        known = self._known(key, path)
        if known is None:
            found = measure(self.library, editor, vector, settings, sets=self._sets)
            places = [
                _place(scale, rows)._asdict()
                for scale, rows in zip(settings.scales, found.sweep, strict=True)
            ]
            known = {"key": key, "vector": vector.address, "sweep": places}
            write_atomically(path, json.dumps(known, indent=1).encode())
        return [Place(**one) for one in known["sweep"]]

    def _find(
        self, name: str, editor: Editor, vector: EditingVector, settings: EvaluateSettings
    ) -> tuple[str, Path]:
        """The key of what is to be measured, and the file that keeps it."""
        words = name.replace(":", "-").split()
        return evaluation_key(editor, vector, settings), self._folder / f"{'-'.join(words)}.json"

    def _known(self, key: str, path: Path) -> Point | None:
        """What an earlier call measured; says so where there is nothing."""
        if path.exists() and (known := json.loads(path.read_text()))["key"] == key:
            return dict(known)
        click.echo(f"--- {path.stem}", err=True)
        return None

    def _settings(self, **changes: Any) -> EvaluateSettings:
        return EvaluateSettings(
            reference=self.faces.held_out, seed=self.seed, attribute=ATTRIBUTE, **changes
        )

    def _kept(
        self, name: str, editor: Editor, vector: EditingVector, settings: EvaluateSettings
    ) -> Point:
        key, path = self._find(name, editor, vector, settings)
        known = self._known(key, path)
        if known is not None:
            return known
        found = evaluate_vector(self.library, editor, vector, settings, sets=self._sets)
        mode = found.measured.modes[0]
        suffix = mode.mode.suffix
        measures = {one.name.removesuffix(suffix): one.to_json() for one in found.table.measures}
        point = {
            "key": key,
            "name": name,
            "vector": vector.address,
            "scale": settings.scale,
            "mode": str(mode.mode),
            "measures": measures | self._to_smiling(found),
        }
        shown = mode.pictures[:_SHOWN]
        before, after = [one.before for one in shown], [one.after for one in shown]
        np.savez_compressed(path.with_suffix(".npz"), before=before, after=after)
        write_atomically(path, json.dumps(point, indent=1).encode())
        return point

    def _to_smiling(self, found: Evaluation) -> dict[str, Any]:
        """FID and KID to the faces that smile."""
        (mode,) = found.measured.modes
        measures: dict[str, Any] = {}
        if len(mode.rows) < MIN_IMAGES or self.faces.smiling_count < MIN_IMAGES:
            return measures
        for network, parts in mode.features.items():
            reference = self._smiling.reference(network)
            known = distances(torch.cat(parts), reference, seed=self.seed)
            measures |= {
                f"{name}_{network.replace('/', '-')}_smiling": {
                    "value": value,
                    "interval": None if interval is None else list(interval),
                    "count": len(mode.rows),
                    "backbone": network,
                    "against": f"{self._smiling.reference_words}, n={len(reference)}",
                }
                for name, (value, interval) in known.items()
            }
        return measures


def _place(scale: float, rows: Sequence[Row]) -> Place:
    """Accuracy of those that did not smile before, and the identity of all."""
    smiling = [row["attribute"] > 0 for row in rows if row["attribute_unedited"] <= 0]
    identity = statistics.fmean(row["identity_similarity"] for row in rows)
    return Place(scale, sum(smiling) / max(len(smiling), 1), identity)


def place_of(point: Point) -> Place:
    """What a point says of accuracy and identity."""
    accuracy, identity = (
        float(point["measures"][name]["value"])
        for name in ("success_attribute", "identity_similarity")
    )
    return Place(float(point["scale"]), accuracy, identity)
