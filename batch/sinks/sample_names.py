"""Names in WebDataset outputs: the keys of samples, and the shards that hold them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from editvec.batch.runs.entities import ItemRow

SHARDS = "shards"
_NAME_LENGTH, _RECIPE_LENGTH, _DIGEST_LENGTH = 40, 24, 24


def sample_key(recipe_name: str, output_name: str) -> str:
    """The key of a sample: readable, without dots, at most 90 ASCII characters, its own.

    With the longest suffix a member's name has 99 characters, which every tar holds; what a key
    leaves out is in the sample's JSON.
    """
    digest = hashlib.sha256(f"{recipe_name}\0{output_name}".encode()).hexdigest()
    words = [_words(output_name)[-_NAME_LENGTH:], _words(recipe_name)[:_RECIPE_LENGTH]]
    return "-".join([*words, digest[:_DIGEST_LENGTH]])


def record_name(image_name: str) -> str:
    """The name of the JSON beside an image of the same sample, with the same folder if any."""
    folder, slash, file = image_name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}.json"


def shard_path(shard: str) -> str:
    """Where a shard lies, relative to the output folder."""
    return f"{SHARDS}/{shard}.tar"


def shard_of(item: ItemRow) -> str | None:
    """The name of the shard that holds a done item; None while it is staged."""
    assert item.file_name is not None
    top, _, rest = item.file_name.partition("/")
    return rest.partition(".tar/")[0] if top == SHARDS else None


def base_of(shard: str) -> str:
    """What the versions of a shard have in common: ``000012`` of ``000012-2``."""
    return shard.partition("-")[0]


def next_version(base: str, known: Collection[str]) -> str:
    """The first name that is not known: ``000012``, ``000012-2``, ``000012-3``..."""
    name, number = base, 1
    while name in known:
        number += 1
        name = f"{base}-{number}"
    return name


def _words(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "x"
