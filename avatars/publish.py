"""Puts what was measured of the starter library into its archive; the deltas stay as they are.

`python -m editvec.avatars.publish HOME` takes the values from a library that evaluated
the vectors. Equal values keep their day, so that measuring again what has not changed gives the
same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from editvec.avatars.default import STARTER_ARCHIVE
from editvec.json_codec import as_json
from editvec.registry.composition.pair_metrics import is_of_pair
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.metrics import Metric
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import ExchangeError
from editvec.registry.files import write_atomically
from editvec.registry.library.library import Library
from editvec.registry.sharing.archives import archive_bytes, read_archive

_PUBLISHED = (
    "success_attribute",
    "success_iou",
    "success_iou_unedited",
    "leakage_psnr",
    "leakage_perceptual",
    "reconstruction_psnr",
    "reconstruction_perceptual",
    "identity_similarity",
    "uncertainty",
    "uncertainty_unedited",
    "monotonicity",
)
"""Times are of one machine, and distances of sets from samples say nothing of renders."""
_DIGITS = 5
_OF_ONE_PLACE = ("evaluation_key", "seconds")


def publish(library: Library, archive: Path) -> None:
    """Gives every vector of an archive the metrics and the usable range that a library holds.

    Args:
        library: holds the vectors of the archive, evaluated.
        archive: is replaced.

    Raises:
        ExchangeError: the archive is damaged, or the library holds another vector at an address.
        VectorNotFoundError: the library lacks a vector of the archive.
    """
    held = read_archive(archive)
    records = []
    for fields in held.manifest.objects("vectors"):
        record = fields.content
        vector = library.get_vector(record["address"])
        if vector.delta_digest != record["delta_digest"]:
            raise ExchangeError(f"publish: {vector.address} is another vector in the library")
        record["metrics"] = list(_metrics(vector, record["metrics"]))
        record["scale_min"], record["scale_max"] = vector.scale_min, vector.scale_max
        records.append(record)
    write_atomically(archive, archive_bytes({"vectors": records}, held.entries))


def _metrics(vector: EditingVector, former: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What was measured when the vector was learned, then the newest of the evaluation."""
    yield from (one for one in former if one["sample_count"] == 1)
    known = {one["name"]: one for one in former if one["sample_count"] > 1}
    for metric in vector.latest_metrics:
        if metric.sample_count > 1 and (metric.name in _PUBLISHED or is_of_pair(metric)):
            record = _record(metric)
            before = known.get(metric.name, {})
            if {**before, "measured_at": record["measured_at"]} == record:
                record = before
            yield record


def _record(metric: Metric) -> dict[str, Any]:
    record: dict[str, Any] = as_json(metric)
    settings = {key: one for key, one in record["settings"].items() if key not in _OF_ONE_PLACE}
    rounded: dict[str, Any] = _rounded({**record, "settings": settings})
    return rounded


def _rounded(value: Any) -> Any:
    """The same with as many digits as another machine finds again."""
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    return value


@click.command()
@click.argument("home", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=STARTER_ARCHIVE,
    show_default=True,
)
def main(home: Path, archive: Path) -> None:
    """Put what the library in HOME measured into the archive of the starter library."""
    with Library.open(RegistryConfig.for_home(home)) as library:
        publish(library, archive)
    click.echo(archive)


if __name__ == "__main__":
    main()
