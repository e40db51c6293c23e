"""The card of an output folder: it tells Hugging Face `datasets` which files are rows.

Without one, `datasets` guesses by names: files of an input or a recipe called `test` would become a
split of their own, and masks would become samples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from editvec.batch.runs.entities import RunRecord
from editvec.batch.sinks.files import FileWriter
from editvec.batch.sinks.ledger import Audit

CARD = "README.md"
SHEET = "contact_sheet.png"
# a second suffix, by which `datasets` may take an image for a text or an archive, or a folder that
# it leaves out
_MISLEADING = re.compile(r"\.[^/]*\.[^/.]*\Z|(?:\A|/)(?:\.|__)")


def is_misleading(file_name: str) -> bool:
    """True if `datasets` may not see by its name that a file is an image of ours."""
    return _MISLEADING.search(file_name) is not None


def card_of(run: RunRecord, patterns: Sequence[str]) -> bytes:
    """The card of a run.

    Args:
        run: the run.
        patterns: which files `datasets` is to read; plain characters and `*`.
    """
    paths = "".join(f'    - "{pattern}"\n' for pattern in patterns)
    text = f"""\
---
configs:
- config_name: default
  data_files:
  - split: train
    path:
{paths}---

# Edited images of class {run.plan.class_address}

{_signature(run)} It is all that Hugging Face `datasets` needs:
`load_dataset("FOLDER", split="train")`, with the path of this folder, gives a row for each image.
"""
    return text.encode()


def is_own_card(run: RunRecord) -> bool:
    """True if the output folder holds the card of this run."""
    try:
        text = (run.plan.output_folder / CARD).read_bytes()
    except OSError:
        return False
    return _signature(run).encode() in text


def write_card(writer: FileWriter, run: RunRecord, patterns: Sequence[str]) -> None:
    """Writes the card; leaves a file of that name alone that is not of this run.

    Raises:
        DiskFullError: no space is left.
    """
    path = run.plan.output_folder / CARD
    if not path.exists() or is_own_card(run):
        writer.write(path, card_of(run, patterns))


def check_card(found: Audit, run: RunRecord) -> None:
    """Adds what is wrong with the card of a finished run.

    Args:
        found: takes the problem.
        run: the run.
    """
    if not (run.plan.output_folder / CARD).exists():
        found.problems.append(f"missing: {CARD}")
    elif not is_own_card(run):
        found.problems.append(f"not of this run: {CARD}")


def _signature(run: RunRecord) -> str:
    return f"This card was written by `editvec` for run {run.id}."
