"""Is this installation fit to work? One finding per part, none of which changes anything."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from editvec.avatars import default
from editvec.batch.errors import BatchError
from editvec.batch.recipes.settings import broker_url
from editvec.batch.runs.requirements import networks_of
from editvec.batch.workers.broker import parse_broker_url
from editvec.engine.errors import EngineError
from editvec.masking import masked
from editvec.registry.blobs.opening import local_folder, open_blob_store
from editvec.registry.blobs.store import vanished
from editvec.registry.bundles.manifest import read_manifest, verify_files
from editvec.registry.bundles.shipped import how_to_add
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.errors import RegistryError
from editvec.registry.library.library import Library
from editvec.registry.maintenance.verification import recipe_fault
from editvec.registry.tables import schema
from editvec.registry.tables.database import parse_database_url, place_of

if TYPE_CHECKING:
    from editvec.registry.config import RegistryConfig

OLDEST_PYTHON = (3, 11)
_VECTORS_AT_A_TIME = 500
LIBRARIES = (
    "torch", "torchvision", "numpy", "pillow", "safetensors", "lpips", "sqlalchemy", "alembic",
    "celery", "fsspec", "click",
)  # fmt: skip
"""What the program cannot work without, by the names of the distributions."""


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    LACKING = "lacking"  # nothing is broken, but a feature is not to be had
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was found out about one part, in one line."""

    part: str
    state: State
    text: str


def examine(config: RegistryConfig) -> list[Finding]:
    """Look at every part of the installation and of a home folder.

    Nothing is created or changed: a home that does not exist yet is fine.

    Args:
        config: The home, database and blob store to look at.

    Returns:
        Findings: those about the installation, about the library, and what is missing for which
        feature.
    """
    checks: list[tuple[str, Callable[[RegistryConfig], str]]] = [
        ("python", _python),
        *((name, _library_check(name)) for name in LIBRARIES),
        ("device", _device),
        ("class avatars", _shipped_bundle),
        ("starter library", _starter_library),
        ("home", _home),
        ("database", _database),
        ("blob store", _blob_store),
        ("broker", _broker),
        ("library", _contents),
    ]
    return [
        *_run_checks(checks, config),
        *(Finding(lack.part, State.LACKING, lack.text) for lack in lacking(config)),
    ]


class _Problem(Exception):
    """A check found something broken; the message says what and what to do."""


def _run_checks(
    checks: list[tuple[str, Callable[[RegistryConfig], str]]], config: RegistryConfig
) -> Iterator[Finding]:
    for part, check in checks:
        try:
            yield Finding(part, State.OK, check(config))
        except (_Problem, RegistryError, EngineError, BatchError, OSError) as exc:
            yield Finding(part, State.PROBLEM, masked(" ".join(str(exc).split())))


# The installation.


def _python(_: RegistryConfig) -> str:
    text = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < OLDEST_PYTHON:
        raise _Problem(f"{text}; expected {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return text


def _library_check(name: str) -> Callable[[RegistryConfig], str]:
    def check(_: RegistryConfig) -> str:
        try:
            return version(name)
        except PackageNotFoundError as exc:
            raise _Problem("not installed; install editvec again") from exc

    return check


def _device(_: RegistryConfig) -> str:
    """What torch would compute on; importing it finds broken installations."""
    try:
        import torch

        if not torch.cuda.is_available():
            return f"cpu, {torch.get_num_threads()} threads (no CUDA device)"
        name = torch.cuda.get_device_name(0)
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        (torch.ones(1, device="cuda") + 1).item()
    except (ImportError, RuntimeError) as exc:
        raise _Problem(f"torch does not work: {exc}") from exc
    return f"cuda, {name}, {memory:.0f} GiB ({torch.cuda.device_count()} in all)"


def _shipped_bundle(_: RegistryConfig) -> str:
    manifest = read_manifest(default.BUNDLE_FOLDER)
    verify_files(default.BUNDLE_FOLDER, manifest)
    try:
        from editvec.engine.bundle.bundle import check_bundle
    except (ImportError, RuntimeError):
        pass  # told as a problem of torch
    else:
        check_bundle(default.BUNDLE_FOLDER)
    size = sum(file.size for file in manifest.files) / 2**20
    return (
        f"{manifest.resolution} x {manifest.resolution} pixels, {len(manifest.labels)} parts, "
        f"{len(manifest.files)} files verified, {size:.1f} MiB"
    )


def _starter_library(_: RegistryConfig) -> str:
    if not default.STARTER_ARCHIVE.is_file():
        raise _Problem(f"{default.STARTER_ARCHIVE} is missing; install editvec again")
    return f"{default.STARTER_ARCHIVE.name}, {default.STARTER_ARCHIVE.stat().st_size:,} bytes"


# The home folder.


def _home(config: RegistryConfig) -> str:
    if not config.home.exists():
        parent = next(parent for parent in config.home.parents if parent.exists())
        _require_writable(parent)
        return f"{config.home} (created on first use)"
    if not config.home.is_dir():
        raise _Problem(f"{config.home} is not a folder")
    _require_writable(config.home)
    return str(config.home)


def _database(config: RegistryConfig) -> str:
    place = place_of(parse_database_url(config.database_url))
    status = schema.current(config)
    if status.is_current:
        return f"{place}, revision {status.revision}"
    if config.is_embedded and status.revision in (None, *schema.known_revisions()):
        return f"{place}, revision {status.revision or 'none'} ({status.head} on first use)"
    raise _Problem(
        f"{place}: revision {status.revision or 'none'}, expected {status.head}; "
        "run `editvec db upgrade`"
    )


def _blob_store(config: RegistryConfig) -> str:
    folder = local_folder(config.blob_url)
    if folder is not None and "://" not in config.blob_url:
        if not folder.exists():
            return f"{folder} (created on first use)"
        _require_writable(folder)
    else:
        open_blob_store(config.blob_url).absence()  # asks the server
    return masked(config.blob_url)


def _broker(config: RegistryConfig) -> str:
    """Where messages to workers go; a folder is only looked at, a server is asked."""
    url = broker_url(config.home)
    folder = parse_broker_url(url).folder
    if folder is None:
        from editvec.batch.workers.app import create_app, require_broker

        require_broker(create_app(url))
        return masked(url)
    _require_writable(next(place for place in (folder, *folder.parents) if place.exists()))
    return f"{folder} (a folder, for workers of this machine)"


def _contents(config: RegistryConfig) -> str:
    """What the library holds, and whether the blobs of its classes are there."""
    if not schema.current(config).is_current:
        return f"empty; {how_to_add()} adds a class"
    with Library.open(config) as library:
        classes = library.classes()
        absence = library.blobs.absence()
        if classes and absence is not None:
            raise vanished(config.blob_url, absence)
        for model in classes:
            for file in model.files:
                if not library.blobs.has(file.digest):
                    raise _Problem(
                        f"class {model.address}: {file.name} is missing from the blob store; "
                        "run `editvec model add` with its bundle"
                    )
        if not classes:
            return f"empty; {how_to_add()} adds a class"
        count = _check_deltas(library)
    return f"{len(classes)} classes, {count} vectors"


def _check_deltas(library: Library) -> int:
    """Looks for the deltas of all vectors, and sums compositions, a page at a time.

    Returns:
        How many vectors there are.
    """
    count, query = 0, VectorQuery(retired=None, limit=_VECTORS_AT_A_TIME)
    while page := library.find_vectors(query):
        for vector in page:
            if not library.blobs.has(vector.delta_digest):
                raise _Problem(f"{vector.address}: its delta is missing from the blob store")
            if vector.terms and (fault := recipe_fault(library, vector)) is not None:
                raise _Problem(
                    f"{vector.address}: {fault}; compose it anew, `editvec registry verify` lists "
                    "all of them"
                )
        count += len(page)
        query = dataclasses.replace(query, after=page[-1].address)
    return count


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _Problem(f"{folder} is not writable")


# --- what is missing for which feature: nothing is broken, but something cannot be done here ---

_OF_CLASS = {
    "segmentation": (
        "no segmentation branch: no masks, no learning, no refining; `editvec train segmentation "
        "--class {name} PAIRS` makes one"
    ),
    "encoder": (
        "no encoder: embedding begins at w_avg and needs steps (--embed steps:200); `editvec train "
        "encoder --class {name} [PHOTOS]` makes one"
    ),
    "perceptual": (
        "no perceptual network: embedding and learning see squared errors alone; `editvec train "
        "encoder` lends it the shipped one"
    ),
}
_WEIGHTS = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}
"""How torchvision's weight files of the published trunks begin."""


class Lack(NamedTuple):
    """What is missing, and what cannot be done without it."""

    part: str
    text: str


def lacking(config: RegistryConfig) -> list[Lack]:
    """What is missing for which feature: on this machine, and of the latest version of each class.

    Args:
        config: The library to look at.
    """
    return [*_of_machine(), *_of_classes(config)]


def _of_machine() -> Iterator[Lack]:
    try:
        import torch
    except (ImportError, RuntimeError):
        return  # told as a problem of the library
    if not torch.cuda.is_available():
        yield Lack(
            "cuda",
            "no CUDA device: everything runs on the CPU; training a generator beyond 64 pixels "
            "takes weeks there",
        )
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    absent = [trunk for trunk, name in _WEIGHTS.items() if not any(folder.glob(f"{name}-*.pth"))]
    if absent:
        yield Lack(
            "lpips weights",
            f"{', '.join(absent)} not in {folder}: published LPIPS is downloaded when it is first "
            "asked for; until then distances are those of a class's own trunk",
        )
    if find_spec("sklearn") is None:
        yield Lack(
            "scikit-learn",
            "not installed: no `editvec discover interfacegan`; pip install 'editvec[discover]'",
        )


def _of_classes(config: RegistryConfig) -> Iterator[Lack]:
    try:
        if not schema.current(config).is_current:
            return
        with Library.open(config) as library:
            latest = {model.name: model for model in library.classes()}
            for model in latest.values():
                found = networks_of(library, model)
                for network, text in _OF_CLASS.items():
                    if network not in found:
                        part = f"class {model.address}"
                        yield Lack(part, text.format(name=model.name))
    except RegistryError:
        return  # told as a problem of the library
