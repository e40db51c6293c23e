"""Minutes of two workers, a broker and a database that are killed again and again.

Run after run is done meanwhile. EDITVEC_SOAK_SECONDS says for how long: four minutes if nobody says
it, twenty in `make soak`; 0 leaves the test out.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from editvec.registry.config import RegistryConfig
from editvec.registry.errors import DatabaseError
from editvec.registry.library.library import Library
from editvec.registry.tables.schema import upgrade
from tests.support.disturbances import VICTIMS, Stage, Victim, keys_of, require_whole
from tests.support.folder_runs import add_tiny_class, do, request
from tests.support.servers import PostgresServer, RedisServer

SECONDS = float(os.environ.get("EDITVEC_SOAK_SECONDS", "240"))
INPUTS, SCALES = 200, "smile=0:1:4"
OUTPUTS = ("imagefolder", "coco", "webdataset")
# Between two kills: a worker that was killed needs some seconds until it computes again.
SHORTEST, LONGEST = 4.0, 16.0
# One disturbance in so many is a server that goes away.
SERVERS_EVERY = 12


@contextmanager
def servers(tmp_path: Path) -> Iterator[tuple[RedisServer, PostgresServer]]:
    """A broker that forgets everything when it is killed, and a database that must not."""
    redis, database = RedisServer(tmp_path / "redis"), PostgresServer(tmp_path / "postgres")
    redis.start()
    database.start()
    try:
        yield redis, database
    finally:
        redis.kill()
        database.stop()
        shutil.rmtree(tmp_path / "postgres", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.skipif(SECONDS <= 0, reason="EDITVEC_SOAK_SECONDS is 0")
def test_runs_under_random_kills_end_as_if_undisturbed(
    tiny_bundle: Path, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    chance, source, home = random.Random(0), make_pictures(INPUTS), tmp_path / "home"
    done: list[Path] = []
    restarts = {"redis": 0, "postgresql": 0}
    with servers(tmp_path) as (redis, database):
        config = RegistryConfig(home=home, database_url=database.url, blob_url=str(home / "blobs"))
        upgrade(config)
        with Library.open(config) as library:
            add_tiny_class(library, tiny_bundle)
            do(library, request(source, tmp_path / "undisturbed", SCALES))
        keys = keys_of(tmp_path / "undisturbed")

        def disturb() -> None:
            if chance.randrange(SERVERS_EVERY):
                victim: Victim = chance.choice(VICTIMS)
                stage.kill(victim)
            elif chance.randrange(2):
                redis.kill()
                time.sleep(chance.uniform(0, 3))
                redis.start()
                restarts["redis"] += 1
            else:
                database.stop()
                time.sleep(chance.uniform(0, 3))
                database.start()
                restarts["postgresql"] += 1

        with Stage(
            home, chance=chance, workers=2, broker=redis.url, database=database.url
        ) as stage:
            ends_at = time.monotonic() + SECONDS
            while time.monotonic() < ends_at:
                out = tmp_path / f"out{len(done)}"
                words = ("batch", "run", source, out, "--edit", SCALES, "--chunk-size", "8")
                output = OUTPUTS[len(done) % len(OUTPUTS)]
                stage.begin(*words, "--write", output, "--workers", "celery")
                while not stage.is_over and time.monotonic() < ends_at:
                    time.sleep(chance.uniform(SHORTEST, LONGEST))
                    disturb()
                stage.wait(seconds=600)
                try:
                    require_whole(config, out, keys=keys)
                except DatabaseError as exc:
                    raise AssertionError(f"the database is gone: {database.log()}") from exc
                done.append(out)
    print(f"\n{len(done)} runs of {len(keys)} items in {SECONDS:.0f} s")
    print(f"killed {stage.killed}, restarted {restarts}")
    assert len(done) > 0
    assert sum(stage.killed.values()) > 0
