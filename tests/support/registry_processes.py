"""What the processes of the tests of the library do: importable without pytest."""

import time
from collections import Counter
from datetime import timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from sqlalchemy import inspect, select, update

# loaded once, by the process that all others are forked from
import editvec.registry.composition.compose
import editvec.registry.library.embeddings
import editvec.registry.library.inserts
import editvec.registry.library.parcels  # noqa: F401
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import Embedding, NewTerm
from editvec.registry.library.library import Library
from editvec.registry.maintenance.garbage import gc
from editvec.registry.maintenance.verification import verify
from editvec.registry.tables.database import open_engine, transaction
from editvec.registry.tables.models import HistoryRow
from editvec.registry.tables.schema import upgrade
from editvec.whole_files import digest_of
from tests.support.registry_fixtures import mask_pair, new_vector, random_delta


def add_vector(config: RegistryConfig, seed: int) -> int:
    """Adds a vector of its own delta under one name; returns the version that it got."""
    with Library.open(config) as library:
        return library.add_vector(new_vector("raced"), random_delta(seed)).version


def start_together(config: RegistryConfig, barrier: Barrier, answers: "Queue[Any]") -> None:
    """Opens a library when all others do; answers with its tables, or with what went wrong."""
    barrier.wait(timeout=60)
    try:
        if not config.is_embedded:
            upgrade(config)
        with Library.open(config) as library:
            answers.put(sorted(inspect(library.engine).get_table_names()))
    except Exception as exc:  # noqa: BLE001 (the test shows it)
        answers.put(f"{type(exc).__name__}: {exc}")


def claim_until_none_is_left(url: str, name: str) -> int:
    """What a worker does: claims 16 rows at a time by an UPDATE, one transaction each."""
    engine = open_engine(url)
    claimed = 0
    while True:
        with transaction(engine) as session:
            free = select(HistoryRow.id).where(HistoryRow.by == "").limit(16)
            ids = list(session.scalars(free))
            if not ids:
                break
            changed = session.execute(
                update(HistoryRow)
                .where(HistoryRow.id.in_(ids), HistoryRow.by == "")
                .values(by=name)
                .returning(HistoryRow.id)
            )
            claimed += len(changed.all())
    engine.dispose()
    return claimed


def move_alias(config: RegistryConfig, version: int) -> None:
    """Lets the alias `stable` of one vector stand for a version."""
    with Library.open(config) as library:
        library.set_alias(f"raced@{version}", "stable")


def add_and_compose(config: RegistryConfig, worker: int, seconds: float) -> Counter[str]:
    """Does everything that stores blobs, for so long; returns how often it did what."""
    done: Counter[str] = Counter()
    random = np.random.default_rng(worker)
    deadline = time.monotonic() + seconds
    with Library.open(config) as library:
        labels = library.get_class().labels
        library.add_vector(new_vector(f"own{worker}"), random_delta(worker))
        while not done or time.monotonic() < deadline:
            # what a command leaves that is killed before it names its blobs
            library.blobs.put(random.bytes(100))
            # a few seeds only: the same content comes from several processes at once
            shared = library.add_vector(
                new_vector("raced"),
                random_delta(int(random.integers(0, 400))),
                pairs=[mask_pair(labels, size=int(random.integers(8, 16)))],
            )
            terms = [
                NewTerm(address=f"own{worker}", scale=float(random.integers(1, 100))),
                NewTerm(address=shared.address, scale=0.5),
            ]
            library.compose("mixed", terms)
            library.set_alias(shared.address, "stable")
            preview = mask_pair(labels, size=int(random.integers(8, 64))).image_png
            library.set_preview(f"own{worker}@1", preview)
            library.put_embeddings([_embedding(int(random.integers(0, 400)))])
            done["rounds"] += 1
    return done


def collect_garbage(config: RegistryConfig, seconds: float) -> Counter[str]:
    """Deletes whatever nothing names at once, again and again; returns how much that was."""
    done: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    with Library.open(config) as library:
        while not done["deleted"] or time.monotonic() < deadline:
            report = gc(library, grace=timedelta(0), embeddings_limit=2000)
            done.update(rounds=1, deleted=len(report.blobs), evicted=report.evicted.count)
    return done


def verify_meanwhile(config: RegistryConfig, seconds: float) -> list[str]:
    """Verifies again and again; returns every fault that there seemed to be."""
    faults: list[str] = []
    deadline = time.monotonic() + seconds
    with Library.open(config) as library:
        while time.monotonic() < deadline:
            faults += [f"{one.kind} {one.users} {one.text}" for one in verify(library).faults]
    return faults


def _embedding(seed: int) -> Embedding:
    return Embedding(
        image_digest=digest_of(str(seed).encode()),
        generator_digest=digest_of(b"generator"),
        settings_key=digest_of(b"settings"),
        ws=random_delta(seed),
        perceptual_name=None,
        perceptual_value=None,
        psnr=20.0,
        num_steps=5,
    )
