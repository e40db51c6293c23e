"""Runs of class `tiny` in this process, and what they leave in their output folders."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.registry.entities.vectors import NewVector
from editvec.registry.library.library import Library

Rows = list[dict[str, Any]]
_EXIF_IFD, _USER_COMMENT, _SOFTWARE, _ORIENTATION = 0x8769, 0x9286, 0x0131, 0x0112


def add_tiny_class(library: Library, bundle: Path) -> None:
    """Gives an empty library the class `tiny` and its vector `smile`."""
    model = library.add_bundle(bundle)
    smile = NewVector(class_name="tiny", name="smile", roi_labels=("mouth",))
    delta = np.random.default_rng(0).normal(size=(model.num_ws, model.w_dim))
    library.add_vector(smile, delta.astype(np.float32))


def request(
    source: Path | None, target: Path, *edits: str, force_scale: bool = False, **settings: Any
) -> RunRequest:
    return RunRequest(
        class_name="tiny",
        input_folder=source,
        output_folder=target,
        edits=[parse_edit(edit) for edit in edits],
        settings=RunSettings(**settings),
        force_scale=force_scale,
    )


def do(library: Library, wanted: RunRequest, **options: Any) -> RunRecord:
    return run_locally(library, open_run(library, wanted).run, **options)


def rows(target: Path, name: str = "metadata.jsonl") -> Rows:
    return [json.loads(line) for line in (target / name).read_text().splitlines()]


def pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(path))


def provenance_in(data: bytes) -> tuple[str, dict[str, Any]]:
    """The program and the provenance that a file names."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.format == "PNG":
            return image.text["Software"], json.loads(image.text["editvec"])  # type: ignore[attr-defined]
        exif = image.getexif()
        assert _ORIENTATION not in exif
        comment = exif.get_ifd(_EXIF_IFD)[_USER_COMMENT]
        assert comment.startswith(b"ASCII\0\0\0")
        return exif[_SOFTWARE], json.loads(comment[8:])


def read_shards(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Every sample as `webdataset` reads it, by source and recipe."""
    import webdataset

    shards = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    dataset = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
    samples = {}
    for sample in dataset:
        record = json.loads(sample["json"])
        assert record["key"] == sample["__key__"]
        assert (record["source"], record["recipe"]) not in samples
        samples[record["source"], record["recipe"]] = {**sample, "record": record}
    return samples
