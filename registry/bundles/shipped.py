"""Classes that packages bring with them, and their starter libraries, by the names of the classes.

A package registers them as entry points:

    [project.entry-points."editvec.bundles"]
    avatars = "editvec.avatars.default:BUNDLE_FOLDER"     # a folder

    [project.entry-points."editvec.starters"]
    avatars = "editvec.avatars.default:STARTER_ARCHIVE"   # what `registry export` wrote
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from editvec.registry.errors import BundleFormatError

BUNDLES = "editvec.bundles"
STARTERS = "editvec.starters"


def shipped_bundles() -> dict[str, Path]:
    """The folders of the bundles that packages bring, by class; those that are really there.

    Raises:
        BundleFormatError: One that is registered cannot be loaded.
    """
    folders = {name: Path(load_entry(found)) for name, found in sorted(registered(BUNDLES).items())}
    return {name: folder for name, folder in folders.items() if (folder / "bundle.json").is_file()}


def how_to_add() -> str:
    """The commands that put a class into a library, for people who have none."""
    shipped = [f"`editvec model add {name}`" for name in shipped_bundles()]
    return " or ".join([*shipped, "`editvec model add FOLDER`"])


@cache
def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {found.name: found for found in entry_points(group=group)}


def load_entry(found: EntryPoint) -> Any:
    """What an entry point names.

    Raises:
        BundleFormatError: It cannot be loaded.
    """
    try:
        return found.load()
    except (ImportError, AttributeError) as exc:
        raise BundleFormatError(f"{found.group}: {found.name} = {found.value}: {exc}") from exc
