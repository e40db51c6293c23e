"""The image folder: images, index-PNG masks and JSON lines that Hugging Face `datasets` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from editvec.batch.naming import MASK_SUFFIX
from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.runs.entities import ItemRow, RunRecord
from editvec.batch.runs.placements import OutputNames, Placement
from editvec.batch.runs.plan import RunPlan
from editvec.batch.runs.store import Runs
from editvec.batch.sinks import manifests
from editvec.batch.sinks.card import SHEET, is_misleading
from editvec.batch.sinks.encoding import encode_image, provenance
from editvec.batch.sinks.files import FileWriter, files_below
from editvec.batch.sinks.ledger import Audit, Ledger
from editvec.batch.sinks.sink import NewOutput
from editvec.registry.labels.label import Label
from editvec.registry.masks.png import encode_mask


class ImageFolderSink:
    """Writes every image and every mask as a file of its own."""

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

    def write_item(self, output: NewOutput) -> OutputNames:
        """Writes the image of one item, and its mask if it has one.

        Raises:
            DiskFullError: no space is left.
            OSError: a file cannot be written.
        """
        recipe = self.run.plan.recipes[output.recipe_position].name
        names = output_paths(self.run.plan, recipe, output.input.output_name)
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
        """Writes the manifest rows of one chunk; its files are at their place already."""
        path = self.run.work_folder / f"part-{chunk_position:05d}.jsonl"
        self.writer.write_parts(path, manifests.lines(map(self.row, rows)))
        return Placement()

    def row(self, item: ItemRow) -> dict[str, Any]:
        """The line of an item in metadata.jsonl."""
        source = item.input.source
        if self.run.plan.has_sources:
            # the unedited sample among the outputs
            paths = output_paths(self.run.plan, SOURCE_RECIPE, item.input.output_name)
            source = paths.image
        return manifests.manifest_row(self.run.plan, item, source=source)

    def write_manifests(self, runs: Runs, summary: dict[str, Any]) -> None:
        """Writes metadata.jsonl, rejected.jsonl, failed.jsonl and, last of all, run.json."""
        manifests.write_manifests(
            self.writer,
            self.run,
            runs,
            row=self.row,
            summary=summary,
            patterns=self.patterns(runs),
        )

    def patterns(self, runs: Runs) -> list[str]:
        """What `datasets` reads: the rows, and files by which it sees that they are of images.

        The rows name images and masks, whatever else is listed. Where a name may mislead it, the
        contact sheet says that these are images.
        """
        names = (item.file_name or "" for item in runs.items(self.run.id, states=["done"]))
        is_plain = not any(map(is_misleading, names))
        return [manifests.METADATA, "images/**" if is_plain else SHEET]

    def clean(self) -> None:
        """Removes temporary files."""
        self.writer.clean()

    def names_of(self, item: ItemRow) -> Sequence[str]:
        """The image and the mask of a done item."""
        return [name for name in (item.file_name, item.mask_file_name) if name is not None]

    def files(self) -> Iterator[str]:
        """Every file under images/ and masks/."""
        for top in ("images", "masks"):
            for name in files_below(self.folder / top):
                yield f"{top}/{name}"

    def check(self, found: Audit, ledger: Ledger, *, is_finished: bool) -> None:
        """Has nothing to add: files and metadata.jsonl are all there is."""


def encode(plan: RunPlan, labels: Sequence[Label], output: NewOutput) -> tuple[bytes, bytes | None]:
    """The bytes of the image, with its provenance, and of the mask if there is one.

    Raises:
        OSError: the image format cannot hold it.
    """
    record = provenance(
        plan,
        output.recipe_position,
        output.input.position,
        source_digest=output.source_digest,
        content_key=output.content_key,
    )
    image = encode_image(output.pixels, plan.settings.parsed_format, record, profile=output.profile)
    return image, None if output.mask is None else encode_mask(output.mask, labels)


def output_paths(plan: RunPlan, recipe_name: str, output_name: str) -> OutputNames:
    """Where the image and the mask of an item lie, relative to the output folder."""
    suffix = plan.settings.parsed_format.suffix
    return OutputNames(
        image=f"images/{recipe_name}/{output_name}{suffix}",
        mask=f"masks/{recipe_name}/{output_name}{MASK_SUFFIX}",
    )
